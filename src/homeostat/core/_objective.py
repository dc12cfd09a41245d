"""An objective is an energy in nats over a variable; lower is better.

    objective(q) = E_{z ~ q}[ pointwise(z) + log q(z) ]

`pointwise` is all that gradient-free engines may ask for; the expectation is what variational engines descend. `args` is
what the problem depends on, apart from what is optimised: an observation and its prior, or a belief to plan from.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax

from ..results import BadInputError
from ..typing import Array, Distribution, Energy, Float, Key, PyTree


class Errors(NamedTuple):
    """What a distribution predicts wrongly, at the data and at the latents; flat vectors.

    Attributes:
        observation: E_q[x - mu_x].
        latent: E_q[z - mu_p].
        weighted_observation: eps_x = E_q[(x - mu_x) / sigma_x^2].
        weighted_latent: eps_z = E_q[(z - mu_p) / sigma_p^2].
    """

    observation: Float[Array, " m"]
    latent: Float[Array, " d"]
    weighted_observation: Float[Array, " m"]
    weighted_latent: Float[Array, " d"]


class AbstractObjective(eqx.Module):
    """A functional of a distribution, and the energy of a point under it."""

    @abc.abstractmethod
    def pointwise(self, value: Array, args: PyTree, *, key: Key) -> Energy:
        """Energy U(z) of one point, in nats."""

    @abc.abstractmethod
    def __call__(self, distribution: Distribution, args: PyTree, *, key: Key) -> Energy:
        """E_q[U(z) + log q(z)], in nats."""

    def curvature(self, value: Float[Array, " d"], args: PyTree, *, key: Key) -> Float[Array, "d d"]:
        """A symmetric curvature of U at `value`; the Hessian unless an objective knows a positive definite one."""
        return jax.hessian(lambda z: self.pointwise(z, args, key=key))(value)

    def errors(self, distribution: Distribution, args: PyTree, *, key: Key) -> Errors:
        """Prediction errors under q, for engines that read them.

        Raises:
            BadInputError: the energy does not come from predictions.
        """
        raise BadInputError(
            f"Expected an energy with prediction errors, such as `FreeEnergy`, got {type(self).__name__}: use an engine that "
            f"reads gradients instead."
        )
