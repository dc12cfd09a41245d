"""Objectives that come from the predictions of a model, which can be wrong by an error and curve with a known sign."""

import abc
from typing import NamedTuple, TypeVar

from ..core import AbstractObjective
from ..typing import Array, Distribution, Float, Key

Args = TypeVar("Args")


class Errors(NamedTuple):
    """Prediction errors of a distribution, at the data and at the latents; flat vectors.

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


class AbstractPredictive(AbstractObjective[Args]):
    """An energy of predictions, for engines that read their errors or their curvature."""

    @abc.abstractmethod
    def errors(self, distribution: Distribution, args: Args, *, key: Key) -> Errors:
        """Prediction errors under q, of the data and of the latents."""

    @abc.abstractmethod
    def curvature(self, value: Float[Array, " d"], args: Args, *, key: Key) -> Float[Array, "d d"]:
        """A symmetric curvature of U at `value`, positive definite where the predictions allow it, else the Hessian."""
