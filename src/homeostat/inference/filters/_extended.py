"""The extended Kalman filter: models linearised by their derivatives."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractSequentialModel, FilterInfo
from ...results import BadInputError
from ...typing import Action, Array, Callable, Distribution, Float, Key, Observation
from ._beliefs import GaussianBelief
from ._joint import AbstractGaussianFilter, JointGaussian, Moments, flatten, markov, moments_of, update


@final
class Extended(AbstractGaussianFilter):
    """A Kalman filter of the first-order expansions f(z) + F (z' - z) of the means around the current estimate.

    Needs means with derivatives; the noise may depend on the state and is taken at the same point. Emissions with independent
    entries that are not Gaussian (counts, binary pixels) enter with their mean and variance. Exact for `LinearGaussian`;
    otherwise `free_energy_nats` is minus the log density under the linearised model, which bounds nothing.

    Attributes:
        num_iterations: expansions of the emission for each observation, every one after the first around the estimate that the
            one before gave (the iterated filter, a Gauss-Newton search for the mode).

    References:
        Sarkka and Svensson, "Bayesian Filtering and Smoothing", 2nd edition, 2023, Algorithms 7.4 and 7.10.
    """

    num_iterations: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_iterations < 1:
            raise BadInputError(f"Expected at least one iteration, got num_iterations={self.num_iterations}.")

    def transition_joint(
        self, model: AbstractSequentialModel, belief: GaussianBelief, action: Action = None
    ) -> JointGaussian:
        return _linearised(lambda state: markov(model).transition(state, action), belief, belief.loc, None)

    def update(
        self,
        model: AbstractSequentialModel,
        belief: GaussianBelief,
        observation: Observation,
        *,
        key: Key | None = None,
    ) -> tuple[GaussianBelief, FilterInfo]:
        """Condition on one observation, an array, a `Masked` or a `Measurement`; NaN entries are missing."""
        seen, emission = flatten(observation), markov(model).emission
        # The evidence of the first expansion is that of a prediction made before the observation was known.
        posterior, info = update(belief, _linearised(emission, belief, belief.loc, seen.noise), seen)
        for _ in range(self.num_iterations - 1):
            posterior, _ = update(belief, _linearised(emission, belief, posterior.loc, seen.noise), seen)
        return posterior, info


def _linearised(
    conditional: Callable[[Array], Distribution],
    belief: GaussianBelief,
    point: Float[Array, " d"],
    own_noise: Float[Array, "m m"] | None,
) -> JointGaussian:
    """The joint of z ~ belief and y | z, with the mean of y expanded around `point`."""

    def mean_and_moments(state: Array) -> tuple[Array, Moments]:
        moments = moments_of(conditional(state))
        return moments.loc, moments

    jacobian, moments = jax.jacfwd(mean_and_moments, has_aux=True)(point)
    noise = moments.noise if own_noise is None else own_noise
    noise = jnp.diag(noise) if noise.ndim == 1 else noise
    mean = moments.loc + jacobian @ (belief.loc - point)
    outer = jnp.concatenate([jacobian @ belief.scale_tril, noise], axis=1)
    inner = jnp.concatenate([belief.scale_tril, jnp.zeros((point.shape[0], noise.shape[1]), noise.dtype)], axis=1)
    return JointGaussian(mean, outer, inner)
