"""The joint Gaussian of a state and what depends on it, as square roots; prediction, update and smoothing are read off it.

    z = m + Z eps,   y = n + Y eps,   eps ~ N(0, I),   tria[Y; Z] = [[S, 0], [G, D]]

gives N(n, S S^T) for y, the gain K = G S^-1 of z on y, and the conditional covariance D D^T, without a subtraction. Taylor
expansion puts Y = [H L, R] and Z = [L, 0]; points with positive weights put their weighted deviations side by side.
"""

import abc
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular

from ...core import AbstractFilter, AbstractMarkovModel, AbstractSequentialModel, FilterInfo
from ...distributions import gaussian_moments, is_gaussian, known_entries, positive_tria
from ...models.sequential import Measurement
from ...results import BadInputError
from ...typing import Action, Array, Bool, Distribution, Float, Key, Observation, Scalar
from ._beliefs import GaussianBelief

MISSING_SCALE = 1.0
"""Standard deviation of what stands in for a missing entry, with a residual of zero and apart from all others: any will do."""


class JointGaussian(NamedTuple):
    """Square roots of the joint covariance of a state z and of y.

    Attributes:
        mean: n, [m].
        outer: Y, [m, columns].
        inner: Z, [d, columns].
    """

    mean: Float[Array, " m"]
    outer: Float[Array, "m columns"]
    inner: Float[Array, "d columns"]

    def marginal(self) -> GaussianBelief:
        """p(y)."""
        return GaussianBelief(self.mean, positive_tria(self.outer))


class Moments(NamedTuple):
    """Mean of a flattened distribution, and its noise: standard deviations [m] or a lower factor [m, m]."""

    loc: Float[Array, " m"]
    noise: Float[Array, " m"] | Float[Array, "m m"]


class Backward(NamedTuple):
    """p(z | y) = N(gain y + offset, tril tril^T)."""

    offset: Float[Array, " d"]
    gain: Float[Array, "d m"]
    tril: Float[Array, "d d"]


class AbstractGaussianFilter(AbstractFilter):
    """A filter with Gaussian beliefs that puts a joint Gaussian in the place of (z_t, z_{t+1}); smoothers read it."""

    stochastic: ClassVar[bool] = False

    @abc.abstractmethod
    def transition_joint(
        self, model: AbstractSequentialModel, belief: GaussianBelief, action: Action = None
    ) -> JointGaussian:
        """The joint of z_t ~ belief and z_{t+1}."""

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> GaussianBelief:
        return GaussianBelief(*gaussian_moments(markov(model).initial()))

    def predict(
        self, model: AbstractSequentialModel, belief: GaussianBelief, action: Action = None, *, key: Key | None = None
    ) -> GaussianBelief:
        """The marginal of z_{t+1} in that joint."""
        return self.transition_joint(model, belief, action).marginal()


def markov(model: AbstractSequentialModel) -> AbstractMarkovModel:
    """The model, if its next state depends on the last one alone."""
    if not isinstance(model, AbstractMarkovModel):
        raise BadInputError(
            f"Expected a Markov model (initial, transition, emission), got {type(model).__name__}, which carries its past along: use "
            f"`Particle` or `VariationalFilter`."
        )
    return model


def moments_of(distribution: Distribution) -> Moments:
    """Mean and noise of any distribution of independent entries, or of a Gaussian; event axes are flattened."""
    if is_gaussian(distribution) and jnp.ndim(getattr(distribution, "scale_tril", 0.0)) == 2:
        return Moments(*gaussian_moments(distribution))
    base = getattr(distribution, "base_dist", distribution)
    category = isinstance(base, dist.CategoricalLogits | dist.CategoricalProbs)
    if category or base.event_shape != () or distribution.batch_shape != ():
        raise BadInputError(
            f"Expected a Gaussian or independent entries, got {type(base).__name__}: use `Particle` or `VariationalFilter`."
        )
    mean, variance = (jnp.broadcast_to(part, distribution.event_shape).ravel() for part in (base.mean, base.variance))
    return Moments(mean, jnp.sqrt(variance))


class FlatObservation(NamedTuple):
    """One observation, flattened: its entries, which of them are known, and a noise of its own where it brings one."""

    value: Float[Array, " m"]
    observed: Bool[Array, " m"]
    noise: Float[Array, "m m"] | None


def flatten(observation: Observation) -> FlatObservation:
    """An array, a `Masked` or a `Measurement` as a vector."""
    noise = None
    if isinstance(observation, Measurement):
        observation, noise = observation.value, observation.scale_tril
    value, observed = known_entries(observation)
    value = jnp.asarray(value)
    observed = jnp.ones(value.shape, bool) if observed is None else observed
    return FlatObservation(jnp.where(observed, value, jnp.zeros_like(value)).ravel(), observed.ravel(), noise)


def update(belief: GaussianBelief, joint: JointGaussian, seen: FlatObservation) -> tuple[GaussianBelief, FilterInfo]:
    """Condition z on y = x, with what is missing left out."""
    size, dim = joint.outer.shape[0], joint.inner.shape[0]
    if seen.value.shape != (size,):
        raise BadInputError(
            f"Expected one observation with {size} entries, got {seen.value.shape[0]}: for a sequence use `filter`, for a "
            f"batch of sequences map it with `jax.vmap`."
        )
    outer = jnp.where(seen.observed[:, None], joint.outer, 0.0)
    apart = jnp.diag(jnp.where(seen.observed, 0.0, MISSING_SCALE).astype(outer.dtype))
    rows = jnp.concatenate([outer, apart], axis=1)
    inner = jnp.concatenate([joint.inner, jnp.zeros((dim, size), outer.dtype)], axis=1)
    factor = positive_tria(jnp.concatenate([rows, inner]))
    residual = jnp.where(seen.observed, seen.value - joint.mean, 0.0)
    whitened = solve_triangular(factor[:size, :size], residual, lower=True)
    loc = belief.loc + factor[size:, :size] @ whitened
    return GaussianBelief(loc, factor[size:, size:]), FilterInfo(_energy(factor[:size, :size], whitened, seen.observed))


def backward(belief: GaussianBelief, joint: JointGaussian) -> Backward:
    """p(z_t | z_{t+1}); not finite where the prediction of z_{t+1} is certain in some direction."""
    size = joint.outer.shape[0]
    factor = positive_tria(jnp.concatenate([joint.outer, joint.inner]))
    gain = solve_triangular(factor[:size, :size], factor[size:, :size].T, lower=True, trans=1).T
    return Backward(belief.loc - gain @ joint.mean, gain, factor[size:, size:])


def side_by_side(factors: Float[Array, "n m k"]) -> Float[Array, "m nk"]:
    """Factors of several covariances next to each other: a root of their sum."""
    return jax.lax.reshape(jnp.moveaxis(factors, 0, 1), (factors.shape[1], factors.shape[0] * factors.shape[2]))


def _energy(factor: Float[Array, "m m"], whitened: Float[Array, " m"], observed: Bool[Array, " m"]) -> Scalar:
    """-log N(x; y, S S^T) of the observed entries in nats; exactly zero where there are none."""
    scales = jnp.log(jnp.diagonal(factor)) + 0.5 * jnp.log(2.0 * jnp.pi)
    return 0.5 * jnp.sum(whitened**2) + jnp.sum(jnp.where(observed, scales, 0.0))
