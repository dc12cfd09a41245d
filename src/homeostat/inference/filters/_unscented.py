"""Sigma-point filters: moments of the means at a few points of the belief."""

from typing import final

import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractSequentialModel, FilterInfo
from ...distributions import AbstractExpectation, Cubature, GaussHermite, SigmaPoints
from ...results import BadInputError
from ...typing import Action, Array, Callable, Distribution, Float, Key, Observation
from ._beliefs import GaussianBelief
from ._joint import AbstractGaussianFilter, JointGaussian, flatten, markov, moments_of, side_by_side, update


@final
class Unscented(AbstractGaussianFilter):
    """A Kalman filter of the moments that a rule of points gives to f(z) and z, z ~ belief; no derivatives are taken.

    `SigmaPoints` makes it the unscented filter, `Cubature` the cubature filter and `GaussHermite` the Gauss-Hermite filter.
    Emissions with independent entries that are not Gaussian enter with their mean and variance, averaged over the points.
    Exact for `LinearGaussian`; otherwise `free_energy_nats` is minus the log density under the Gaussian of matching moments,
    which bounds nothing.

    Attributes:
        rule: which points.

    References:
        Sarkka and Svensson, "Bayesian Filtering and Smoothing", 2nd edition, 2023, Algorithm 8.1 and Sec. 8.6; in square-root
        form, which asks for positive weights.
    """

    rule: AbstractExpectation = SigmaPoints()

    def __check_init__(self):
        if not isinstance(self.rule, Cubature | SigmaPoints | GaussHermite):
            raise BadInputError(
                f"Expected a rule with fixed points (SigmaPoints, Cubature, GaussHermite), got {type(self.rule).__name__}: "
                f"random points do not have the moments of the belief."
            )

    def transition_joint(
        self, model: AbstractSequentialModel, belief: GaussianBelief, action: Action = None
    ) -> JointGaussian:
        return self._joint(lambda state: markov(model).transition(state, action), belief, None)

    def update(
        self,
        model: AbstractSequentialModel,
        belief: GaussianBelief,
        observation: Observation,
        *,
        key: Key | None = None,
    ) -> tuple[GaussianBelief, FilterInfo]:
        """Condition on one observation, an array, a `Masked` or a `Measurement`; NaN entries are missing."""
        seen = flatten(observation)
        return update(belief, self._joint(markov(model).emission, belief, seen.noise), seen)

    def _joint(
        self,
        conditional: Callable[[Array], Distribution],
        belief: GaussianBelief,
        own_noise: Float[Array, "m m"] | None,
    ) -> JointGaussian:
        """The joint of z ~ belief and y | z from the weighted deviations at the points."""
        # The points are fixed, so the key that every rule is given has no effect.
        points = self.rule.points(belief.distribution, key=jr.key(0))
        moments = jax.vmap(lambda state: moments_of(conditional(state)))(points.values)
        roots = jnp.sqrt(points.weights)
        mean = points.weights @ moments.loc
        spread = (roots[:, None] * (moments.loc - mean[None, :])).T
        inner = (roots[:, None] * (points.values - belief.loc[None, :])).T
        if own_noise is not None:
            noise = own_noise
        elif moments.noise.ndim == 2:
            noise = jnp.diag(jnp.sqrt(points.weights @ moments.noise**2))
        else:
            noise = side_by_side(roots[:, None, None] * moments.noise)
        zeros = jnp.zeros((inner.shape[0], noise.shape[1]), inner.dtype)
        return JointGaussian(mean, jnp.concatenate([spread, noise], axis=1), jnp.concatenate([inner, zeros], axis=1))
