"""Models of sequences: linear dynamics, their composition with any emission, and coordinates on a circle."""

from ._bayesian_dynamics import BayesianLinearDynamics as BayesianLinearDynamics
from ._linear_dynamics import LinearDynamics as LinearDynamics
from ._linear_gaussian import LinearGaussian as LinearGaussian, Measurement as Measurement, Trajectory as Trajectory
from ._periodic import Periodic as Periodic
from ._second_order import in_displacement_coordinates as in_displacement_coordinates, second_order as second_order
from ._state_space import StateSpace as StateSpace
from ._validation import scale_tril_of as scale_tril_of
