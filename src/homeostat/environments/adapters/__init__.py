"""Gymnasium's interfaces to the worlds of this package."""

from ._functional import FunctionalSprites as FunctionalSprites
from ._gymnasium import SpritesEnv as SpritesEnv
from ._options import build_world as build_world
from ._registration import ENV_ID as ENV_ID, register as register
from ._spaces import decode_action as decode_action, space_of as space_of
from ._vector import SpritesVectorEnv as SpritesVectorEnv
