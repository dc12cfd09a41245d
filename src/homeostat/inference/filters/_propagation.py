"""How a variational filter carries what it believes about the past to the next step.

    F_t = E_{q(z_{<t})}[ E_{q(z_t)}[-log p(x_t | h_t, z_t)] + KL(q(z_t) || p(z_t | h_t)) ]

is the expected step bound, minus Eq. 4.7 averaged as in Eq. 4.5. `MomentMatching` puts one Gaussian prediction in the place of
p(z_t | h_t), which takes a Markov model; `SampledHistories` draws z_{<t}, so that every past has its own carry h_t, prior and
posterior, as q(z_t | x_{<=t}, z_{<t}) in Eq. 4.4 asks.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import (
    AbstractBelief,
    AbstractFamily,
    AbstractMarkovModel,
    AbstractSequentialModel,
    AbstractVectorBelief,
    Points,
    Snapshot,
    require_key,
)
from ...distributions import (
    AbstractExpectation,
    AbstractGaussianFamily,
    Cubature,
    FullGaussian,
    any_observed,
    gaussian_moments,
    is_factorised,
    is_gaussian,
    known_entries,
    positive_tria,
)
from ...results import BadInputError
from ...typing import Action, Array, Carry, Distribution, Float, Key, Observation, PyTree, Scalar
from ._beliefs import GaussianBelief
from ._history import History, example_of, first_past, next_carries, remember, repeat
from ._joint import markov, side_by_side
from ._memory import AbstractMemory


class AbstractPropagation(eqx.Module):
    """What is kept of the past, and how one step of inference runs for each part of it.

    A filter calls `init`, and then in turn `map` and `posterior` for an observation and `predict` for an action; `with_moments` completes a
    prediction with its moments, for readers.
    """

    @abc.abstractmethod
    def init(self, model: AbstractSequentialModel, memory: AbstractMemory | None, *, key: Key | None) -> AbstractBelief:
        """What is known before anything was seen.

        Raises:
            BadInputError: the model is of a kind that this propagation cannot carry.
        """

    @abc.abstractmethod
    def with_moments(
        self, model: AbstractSequentialModel, family: AbstractFamily, belief: AbstractBelief, *, key: Key | None
    ) -> AbstractBelief:
        """The prediction with its moments filled in."""

    @abc.abstractmethod
    def map(self, step: Callable[[Carry, PyTree, Key], Any], belief: AbstractBelief, *, key: Key) -> Any:
        """`step(carry, memory, key)` for every past, its results with a leading axis where there are several."""

    @abc.abstractmethod
    def posterior(
        self,
        model: AbstractSequentialModel,
        family: AbstractFamily,
        belief: AbstractBelief,
        params: PyTree,
        memory: PyTree,
        observation: Observation,
        *,
        key: Key,
    ) -> AbstractBelief:
        """The belief after x_t, from the posterior's parameters for every past; the prediction if nothing was observed."""

    @abc.abstractmethod
    def predict(
        self, model: AbstractSequentialModel, belief: AbstractBelief, action: Action, *, key: Key
    ) -> AbstractBelief:
        """The prediction of the next state, not yet described."""


@final
class MomentMatching(AbstractPropagation):
    """One Gaussian: the prediction has the mean and covariance of z' = transition(z), z ~ belief. For Markov models.

    Attributes:
        expectation: rule for the expectation over the belief; the default is exact for linear dynamics.
    """

    expectation: AbstractExpectation = Cubature()

    def init(self, model: AbstractSequentialModel, memory: AbstractMemory | None, *, key: Key | None) -> GaussianBelief:
        if not isinstance(model, AbstractMarkovModel):
            raise BadInputError(
                f"Expected a Markov model (an AbstractModel) for a prediction by MomentMatching, got {type(model).__name__}, "
                f"which remembers more than its state: pass propagation=SampledHistories(1), or use `Particle`."
            )
        moments = gaussian_moments(model.initial())
        return GaussianBelief(moments.loc, moments.scale_tril, None if memory is None else memory.init())

    def with_moments(self, model, family, belief: GaussianBelief, *, key):
        return belief

    def map(self, step: Callable[[Carry, PyTree, Key], Any], belief: GaussianBelief, *, key: Key) -> Any:
        return step(belief.distribution, belief.memory, key)

    def posterior(self, model, family, belief: GaussianBelief, params, memory, observation, *, key):
        moments = gaussian_moments(family(params))
        some = any_observed(known_entries(observation).observed)
        loc, scale_tril = jax.tree.map(
            lambda new, old: jnp.where(some, new, old), tuple(moments), (belief.loc, belief.scale_tril)
        )
        return GaussianBelief(loc, scale_tril, memory)

    def predict(self, model, belief: GaussianBelief, action, *, key):
        """The Gaussian with the mean and covariance of z' = transition(z), z ~ belief."""
        points = self.expectation.points(belief.distribution, key=key)
        moments = jax.vmap(lambda state: gaussian_moments(markov(model).transition(state, action)))(points.values)
        mean = points.weights @ moments.loc
        roots = jnp.sqrt(points.weights)
        spread = (roots[:, None] * (moments.loc - mean[None, :])).T
        noise = side_by_side(roots[:, None, None] * moments.scale_tril)
        return GaussianBelief(mean, positive_tria(jnp.concatenate([spread, noise], axis=1)), belief.memory)


@final
class MixtureBelief(AbstractVectorBelief):
    """(1/n) sum_i q(z_t | x_{<=t}, z_{<t}^i): one component for every sampled past. Sequences have a leading time axis.

    Attributes:
        past: carries and the last observation, [n].
        memory: what the filter itself remembers with each past; None for most.
        states: z_t^i, the draw from each component with which its past goes on, [n, d]; zeros in a prediction.
        loc: mean of each component, [n, d]; None while undescribed.
        scale: standard deviations [n, d], or lower Cholesky factors [n, d, d], as the family has them.
    """

    finite: ClassVar[bool] = False
    past: History
    memory: PyTree
    states: Array
    loc: Float[Array, "... n d"] | None
    scale: Float[Array, "... n d"] | Float[Array, "... n d d"] | None

    @property
    def mean(self) -> Float[Array, "... d"]:
        return jnp.mean(self._described()[0], axis=-2)

    @property
    def covariance(self) -> Float[Array, "... d d"]:
        loc, factors = self._described()
        centred = loc - jnp.mean(loc, axis=-2, keepdims=True)
        between = jnp.swapaxes(centred, -1, -2) @ centred / loc.shape[-2]
        if factors.ndim == loc.ndim:
            variances = jnp.mean(factors**2, axis=-2)
            identity = jnp.eye(loc.shape[-1], dtype=loc.dtype)
            return between + variances[..., None] * jnp.broadcast_to(identity, (*variances.shape, loc.shape[-1]))
        return between + jnp.mean(factors @ jnp.swapaxes(factors, -1, -2), axis=-3)

    def sample(self, *, key: Key) -> Float[Array, " d"]:
        """A draw from one component, chosen at random."""
        loc, factors = self._described()
        index_key, noise_key = jr.split(key)
        index = jr.randint(index_key, (), 0, loc.shape[0])
        noise = jr.normal(noise_key, loc.shape[1:], loc.dtype)
        factor = factors[index]
        return loc[index] + (factor * noise if factor.ndim == 1 else factor @ noise)

    def points(self, *, key: Key) -> Points:
        """Cubature points of every component."""
        points = jax.vmap(lambda loc, factor: _component(loc, factor).points(key=key))(*self._described())
        return Points(
            points.values.reshape(-1, points.values.shape[-1]), points.weights.reshape(-1) / self.states.shape[0]
        )

    def entropy(self) -> Scalar:
        """Of the Gaussian of the same mean and covariance, an upper bound."""
        return _component(self.mean, jnp.linalg.cholesky(self.covariance)).entropy()

    def snapshot(self, *, key: Key) -> Snapshot:
        """One of the sampled pasts."""
        index = jr.randint(key, (), 0, self.states.shape[0])
        chosen = jax.tree.map(lambda leaf: leaf[index], (self.states, self.past.carry, self.past.observation))
        return Snapshot(*chosen)

    def _described(self) -> tuple[Array, Array]:
        if self.loc is None or self.scale is None:
            raise BadInputError(
                "Expected a described belief, got one within a learner: call `with_moments` of the propagation."
            )
        return self.loc, self.scale


def _component(loc: Array, factor: Array) -> GaussianBelief:
    """N(loc, factor factor^T), of deviations or of a Cholesky factor."""
    return GaussianBelief(loc, jnp.diag(factor) if factor.ndim == 1 else factor)


@final
class SampledHistories(AbstractPropagation):
    """n samples of the latents so far, each with its own carry and its own posterior. For any sequential model.

    With n = 1 this is how VRNN, SRNN and SVG are filtered and trained; more samples make the estimate of the bound less noisy.

    Attributes:
        num_samples: n.

    References:
        Marino (thesis), Eqs. 4.4, 4.5 and 4.7.
    """

    num_samples: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_samples < 1:
            raise BadInputError(f"Expected at least one sample of the past, got num_samples={self.num_samples}.")

    def init(self, model: AbstractSequentialModel, memory: AbstractMemory | None, *, key: Key | None) -> MixtureBelief:
        start = None if memory is None else repeat(memory.init(), self.num_samples)
        past, state = first_past(model, self.num_samples), example_of(model)[0]
        states = jnp.zeros((self.num_samples, *state.shape), state.dtype)
        return MixtureBelief(past, start, states, None, None)

    def with_moments(self, model, family, belief: MixtureBelief, *, key):
        key = require_key(key, "samples of the past are random")
        full = isinstance(family, FullGaussian)
        keys = jr.split(key, self.num_samples)
        loc, scale = jax.vmap(lambda carry, k: _moments(model.prior(carry), full, key=k))(belief.past.carry, keys)
        return MixtureBelief(belief.past, belief.memory, belief.states, loc, scale)

    def map(self, step: Callable[[Carry, PyTree, Key], Any], belief: MixtureBelief, *, key: Key) -> Any:
        return jax.vmap(step)(belief.past.carry, belief.memory, jr.split(key, self.num_samples))

    def posterior(self, model, family, belief: MixtureBelief, params, memory, observation, *, key):
        value, observed = known_entries(observation)
        some, full = any_observed(observed), isinstance(family, FullGaussian)

        def one(carry: Carry, flat: PyTree, one_key: Key) -> tuple[Array, Array, Array]:
            draw_key, moment_key = jr.split(one_key)
            prior = model.prior(carry)
            q = family.given(prior)(flat)

            def drawn(distribution: Distribution) -> tuple[Array, Array, Array]:
                return (distribution.sample(draw_key), *_moments(distribution, full, key=moment_key))

            return jax.tree.map(lambda new, old: jnp.where(some, new, old), drawn(q), drawn(prior))

        draw_key, fill_key = jr.split(key)
        states, loc, scale = jax.vmap(one)(belief.past.carry, params, jr.split(draw_key, self.num_samples))
        past = remember(model, belief.past, states, value, observed, key=fill_key)
        return MixtureBelief(past, memory, states, loc, scale)

    def predict(self, model, belief: MixtureBelief, action, *, key):
        """Every carry one step further, from its own draw of z_t."""
        past = next_carries(model, belief.past, belief.states, action)
        return MixtureBelief(past, belief.memory, belief.states, None, None)


def _moments(distribution: Distribution, full: bool, *, key: Key) -> tuple[Array, Array]:
    """Mean with standard deviations or factor; one draw stands in where a distribution has no moments in closed form."""
    if is_factorised(distribution) and not full:
        base = distribution.base_dist
        shape = distribution.event_shape
        return jnp.broadcast_to(base.loc, shape), jnp.broadcast_to(base.scale, shape)
    if is_gaussian(distribution):
        moments = gaussian_moments(distribution)
        if full:
            return moments.loc, moments.scale_tril
        return moments.loc, jnp.sqrt(jnp.sum(moments.scale_tril**2, axis=1))
    sample = distribution.sample(key)
    return sample, jnp.zeros((*sample.shape, *sample.shape[-1:]) if full else sample.shape, sample.dtype)


def require_gaussian_family(family: AbstractFamily) -> None:
    """Refuse families without which a Gaussian prediction cannot be taken up."""
    if not isinstance(family, AbstractGaussianFamily):
        raise BadInputError(
            f"Expected a Gaussian family (DiagonalGaussian or FullGaussian), got {type(family).__name__}: the "
            f"prediction that a step starts from is Gaussian. Other families go with propagation=SampledHistories(n)."
        )
