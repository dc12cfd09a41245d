"""Filters: recursive beliefs about a hidden state."""

from ._beliefs import GaussianBelief as GaussianBelief, ParticleBelief as ParticleBelief
from ._kalman import Kalman as Kalman
from ._particle import Particle as Particle
from ._variational import VariationalFilter as VariationalFilter
