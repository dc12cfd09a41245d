"""What an agent prefers: a target state, a distribution over states, a distribution over observations, an image."""

from typing import final

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ..core import AbstractBelief, AbstractModel
from ..inference import nearest_offset
from ..objectives import AbstractEstimator, AbstractPreference, Preferred
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key, Scalar


@final
class TargetState(AbstractPreference):
    """p~(s) = prod_i N(s_i; target_i, scale_i^2), angles on the branch of the target nearest to the state.

    The nearest branch stands for the whole wrapped Gaussian: what the others would add is below exp(-period^2 / (8
    scale^2)) of the density where it matters.

    Attributes:
        target: g, [d].
        scale: standard deviation of each coordinate, in its unit. Infinite where a coordinate does not matter: it then
            adds nothing to the pragmatic value, and the risk holds up to a constant.
        periods: period of each coordinate, infinite where it has none; a shape's symmetry goes here.
    """

    target: Float[Array, " d"]
    scale: Float[Array, " d"]
    periods: Float[Array, " d"]

    def __init__(self, target: Array, scale: Array | float, periods: Array | None = None):
        """A single scale serves for all coordinates; no periods means none.

        Raises:
            BadInputError: shapes do not agree, or a scale or period is not positive.
        """
        self.target = jnp.asarray(target)
        shape = self.target.shape
        self.scale = jnp.broadcast_to(jnp.asarray(scale, self.target.dtype), shape)
        self.periods = jnp.full(shape, jnp.inf, self.target.dtype) if periods is None else jnp.asarray(periods)
        if self.target.ndim != 1 or self.periods.shape != shape:
            raise BadInputError(
                f"Expected a target [d] with one period for each coordinate, got shapes {shape} and {self.periods.shape}."
            )
        for name, values in (("scale", self.scale), ("period", self.periods)):
            if not isinstance(values, jax.core.Tracer) and not bool(jnp.all(values > 0.0)):  # pyright: ignore[reportAttributeAccessIssue]
                raise BadInputError(f"Expected every {name} above zero (infinite for none), got {values.tolist()}.")

    def log_prob(self, state: Float[Array, " d"]) -> Scalar:
        """log p~(s), in nats."""
        offset = nearest_offset(state - self.target, self.periods)
        matters = jnp.isfinite(self.scale)
        scale = jnp.where(matters, self.scale, 1.0)
        log_density = -0.5 * ((offset / scale) ** 2 + jnp.log(2.0 * jnp.pi)) - jnp.log(scale)
        return jnp.sum(jnp.where(matters, log_density, 0.0))

    def compare(
        self, estimator: AbstractEstimator, model: AbstractModel, belief: AbstractBelief, *, key: Key
    ) -> Preferred:
        return _compare_states(self.log_prob, estimator, belief, key=key)


@final
class PreferredStates(AbstractPreference):
    """p~(s) is any distribution over states, such as a mixture of places to be.

    Attributes:
        distribution: p~(s).
    """

    distribution: Distribution

    def compare(
        self, estimator: AbstractEstimator, model: AbstractModel, belief: AbstractBelief, *, key: Key
    ) -> Preferred:
        return _compare_states(self.distribution.log_prob, estimator, belief, key=key)


@final
class PreferredOutcomes(AbstractPreference):
    """p~(x) is any distribution over observations.

    Attributes:
        distribution: p~(x).
    """

    distribution: Distribution

    def compare(
        self, estimator: AbstractEstimator, model: AbstractModel, belief: AbstractBelief, *, key: Key
    ) -> Preferred:
        # One key for both: where they are sampled, risk and pragmatic value see the same observations.
        return Preferred(
            estimator.outcome_divergence(model, belief, self.distribution, key=key),
            estimator.expected_log_density(model, belief, self.distribution, key=key),
        )


def target_image(image: Float[Array, "height width"], scale: float = 0.15) -> PreferredOutcomes:
    """Make it look like this: p~(x) = N(image, scale^2) for every pixel.

    The energy compares pixels, so it only points the way where the predicted sprite overlaps the one in the image. From far
    away, infer the state behind the image and make that the `TargetState`.

    Args:
        image: what to see.
        scale: standard deviation of a pixel, in units of intensity.
    """
    if scale <= 0.0:
        raise BadInputError(f"Expected a pixel scale above zero, got {scale}.")
    return PreferredOutcomes(dist.Normal(image, jnp.asarray(scale, image.dtype)).to_event(image.ndim))


def _compare_states(log_preference, estimator: AbstractEstimator, belief: AbstractBelief, *, key: Key) -> Preferred:
    points = estimator.points(belief, key=key)
    # A state that is impossible may be forbidden, too: zero times infinity counts as nothing.
    values = jax.vmap(log_preference)(points.values)
    pragmatic = jnp.sum(jnp.where(points.weights > 0.0, points.weights * values, 0.0))
    return Preferred(-estimator.state_entropy(belief, key=key) - pragmatic, pragmatic)
