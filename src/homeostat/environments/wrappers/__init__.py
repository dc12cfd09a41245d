"""Partial observation: wrappers that change what is seen of a world, not the world."""

from ._fovea import Fovea as Fovea, FoveaObservation as FoveaObservation, FoveaState as FoveaState
from ._observation import (
    AbstractObservationWrapper as AbstractObservationWrapper,
    Occluders as Occluders,
    Patch as Patch,
    PixelNoise as PixelNoise,
)
