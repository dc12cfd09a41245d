"""Learning and judging linear dynamics of tracked latents: what the dynamics experiment computes, without its records."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ...inference import (
    Parts,
    RauchTungStriebel,
    expectation_maximization,
    filter,
    predictive_log_likelihood,
    smooth,
    transition_moments,
)
from ...inference.filters import GaussianBelief, Kalman
from ...models.sequential import BayesianLinearDynamics, LinearDynamics, LinearGaussian, Measurement, Periodic
from ...models.static import SpriteCoordinates
from ...results import BadInputError
from ...typing import Array, Float, Key, Scalar
from ._interaction import Interaction
from ._sprites import CLASS_STEP


class LearnedDynamics(NamedTuple):
    """A learned model in plain arrays.

    Attributes:
        dynamics: A, B, L and c.
        initial: mean and factor of the first state.
        evidence_nats: log evidence a frame along the EM steps.
    """

    dynamics: tuple[Array, Array, Array, Array]
    initial: tuple[Array, Array]
    evidence_nats: Float[Array, " steps"]


def kalman() -> Kalman:
    """The exact filter for measured z, whose second coordinate is an angle."""
    return Kalman(Periodic(SpriteCoordinates().periods))


def model_of(dynamics: LinearDynamics, initial: tuple[Array, Array] | None = None) -> LinearGaussian:
    """The state space of measured z: the first four coordinates are seen, each measurement brings its own noise."""
    dim = dynamics.dim
    mean, factor = (jnp.zeros(dim), jnp.eye(dim)) if initial is None else initial
    return LinearGaussian(mean, factor, dynamics, jnp.eye(4, dim), jnp.eye(4))


@eqx.filter_jit
def learn(start: LinearGaussian, train: Interaction, parts: Parts, num_steps: int) -> LearnedDynamics:
    """Exact EM on the tracked latents with their noises."""
    learned = expectation_maximization(
        start, train.measurements, train.actions, parts=parts, smoother=RauchTungStriebel(kalman()), num_steps=num_steps
    )
    model, frames = learned.model, train.values.shape[0] * train.values.shape[1]
    known = model.dynamics
    assert isinstance(known, LinearDynamics)  # Exact EM learns no other.
    dynamics = (known.matrix, known.control, known.scale_tril, known.offset)
    return LearnedDynamics(dynamics, (model.initial_mean, model.initial_scale_tril), learned.log_evidence_nats / frames)


@eqx.filter_jit
def regress(model: LinearGaussian, train: Interaction) -> BayesianLinearDynamics:
    """Conjugate posterior of A, B and L from the expected moments of smoothed latents."""
    smoother = RauchTungStriebel(kalman())

    def moments(value, factor, actions):
        return transition_moments(smooth(smoother, model, Measurement(value, factor), actions), actions)

    pooled = jax.vmap(moments)(train.values, train.scale_trils, train.actions).pool()
    prior = BayesianLinearDynamics.prior(4, 4, noise_scale=0.02)
    return prior.update_moments(pooled.without_constant(4), pooled.count)


@eqx.filter_jit
def regress_online(train: Interaction) -> BayesianLinearDynamics:
    """The same posterior from the measured values alone, one transition after the other, as if they were exact."""
    before, after = train.values[:, :-1], train.values[:, 1:]
    after = Periodic(SpriteCoordinates().periods).nearest(after, before)
    data = tuple(leaf.reshape(-1, 4) for leaf in (before, train.actions, after))
    # A transition that was not tracked becomes one of zeros, which teaches nothing about A and B.
    known = jnp.all(jnp.isfinite(data[0]) & jnp.isfinite(data[2]), axis=1, keepdims=True)
    data = tuple(jnp.where(known, leaf, 0.0) for leaf in data)
    prior = BayesianLinearDynamics.prior(4, 4, noise_scale=0.02)
    return jax.lax.scan(lambda belief, datum: (belief.update(*datum), None), prior, data)[0]


@eqx.filter_jit
def score(
    candidates: LinearGaussian, test: Interaction, horizon: int, *, key: Key
) -> tuple[Float[Array, "candidates sequences"], Float[Array, "candidates sequences"]]:
    """Mean log-likelihoods of each held-out sequence in nats, one step and `horizon` steps ahead, under stacked candidates."""

    def one(model, value, factor, actions):
        observations = Measurement(value, factor)
        filtered = filter(kalman(), model, observations, actions, key=key, throw=False)
        far = predictive_log_likelihood(kalman(), model, filtered, observations, actions, horizon=horizon, key=key)
        return -jnp.mean(filtered.info.free_energy_nats[1:]), jnp.mean(far)

    def each(model):
        return jax.vmap(lambda *sequence: one(model, *sequence))(test.values, test.scale_trils, test.actions)

    return eqx.filter_vmap(each)(candidates)


@eqx.filter_jit
def forecast(
    model: LinearGaussian, value: Array, factor: Array, actions: Array, seen: int, *, key: Key
) -> GaussianBelief:
    """Beliefs of the filter on one sequence of which it sees nothing after frame `seen`."""
    hidden = jnp.where(jnp.arange(value.shape[0])[:, None] <= seen, value, jnp.nan)
    beliefs = filter(kalman(), model, Measurement(hidden, factor), actions, key=key).beliefs
    if not isinstance(beliefs, GaussianBelief):
        raise BadInputError(f"Expected Gaussian beliefs from a Kalman filter, got {type(beliefs).__name__}.")
    return beliefs


@eqx.filter_jit
def evidence(model: LinearGaussian, data: Interaction, *, key: Key) -> Scalar:
    """Log evidence a frame, in nats."""

    def one(value, factor, actions):
        return filter(kalman(), model, Measurement(value, factor), actions, key=key).free_energy_nats

    return -jnp.mean(jax.vmap(one)(data.values, data.scale_trils, data.actions)) / data.values.shape[1]


def first_guess() -> LinearGaussian:
    """Standing still, with noise of half a class, and no idea of what actions do."""
    return model_of(LinearDynamics(jnp.eye(4), jnp.zeros((4, 4)), jnp.diag(0.5 * jnp.asarray(CLASS_STEP))))
