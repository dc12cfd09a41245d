"""Variational filtering: predict with the model, then run any engine on the free energy of the new observation."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractEngine, AbstractFilter, AbstractModel, FilterInfo
from ...distributions import (
    AbstractExpectation,
    AbstractGaussianFamily,
    Cubature,
    FullGaussian,
    gaussian_moments,
    positive_tria,
)
from ...objectives import Evidence, FreeEnergy
from ...results import BadInputError
from ...typing import Action, Key, Observation, PyTree
from .._infer import infer
from ._beliefs import GaussianBelief


@final
class VariationalFilter(AbstractFilter):
    """q_t = engine(F_t) with F_t(q) = E_q[-log p(x_t | z)] + KL(q || prediction), started at the prediction.

    With `Iterative(network)` this is amortized variational filtering; with `Direct(encoder)` the filtering side of
    recurrent latent variable models; with `NaturalGradient(rate=1.0)` one step is a Kalman update where the model is
    linear and Gaussian. The prediction matches the mean and covariance of the transition over the belief, at points that are
    exact for linear dynamics.

    Attributes:
        engine: any engine.
        family: a Gaussian family over the state.
        num_steps: engine steps for each observation.
        expectation: rule for E_q in the free energy.
        prediction: rule for the expectation over the previous belief.

    References:
        Marino, Cvitkovic and Yue, "A general method for amortizing variational filtering", NeurIPS 2018, Algorithm 1.
    """

    engine: AbstractEngine
    family: AbstractGaussianFamily
    num_steps: int = eqx.field(static=True, default=1)
    expectation: AbstractExpectation = Cubature()
    prediction: AbstractExpectation = Cubature()

    def __check_init__(self):
        if not isinstance(self.family, AbstractGaussianFamily):
            raise BadInputError(
                f"Expected a Gaussian family (DiagonalGaussian or FullGaussian), got {type(self.family).__name__}: the "
                f"prediction that a step starts from is Gaussian."
            )

    def init(self, model: AbstractModel, *, key: Key | None = None) -> GaussianBelief:
        return GaussianBelief(*gaussian_moments(model.initial()))

    def predict(self, model: AbstractModel, belief: GaussianBelief, action: Action, *, key: Key) -> GaussianBelief:
        """The Gaussian with the mean and covariance of z' = transition(z), z ~ belief."""
        points = self.prediction.points(belief.distribution, key=key)
        moments = jax.vmap(lambda state: gaussian_moments(model.transition(state, action)))(points.values)
        mean = points.weights @ moments.loc
        roots = jnp.sqrt(points.weights)
        spread = (roots[:, None] * (moments.loc - mean[None, :])).T
        # Columns of every conditional factor side by side: their outer products add up to the mean conditional covariance.
        noise = jnp.moveaxis(roots[:, None, None] * moments.scale_tril, 0, 1).reshape(mean.shape[0], -1)
        return GaussianBelief(mean, positive_tria(jnp.concatenate([spread, noise], axis=1)))

    def update(
        self, model: AbstractModel, belief: GaussianBelief, observation: Observation, *, key: Key
    ) -> tuple[GaussianBelief, FilterInfo]:
        """Run the engine on the free energy of one observation."""
        posterior = infer(
            FreeEnergy(model, self.expectation),
            self.engine,
            self.family,
            Evidence(observation, belief.distribution),
            key=key,
            params=self._start(belief),
            num_steps=self.num_steps,
            throw=False,
        )
        return GaussianBelief(*gaussian_moments(posterior.distribution)), FilterInfo(posterior.energy_nats)

    def _start(self, belief: GaussianBelief) -> PyTree:
        if isinstance(self.family, FullGaussian):
            return self.family.from_scale_tril(belief.loc, belief.scale_tril)
        return self.family.from_moments(belief.loc, belief.covariance)
