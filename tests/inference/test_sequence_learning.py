"""Variational filtering EM against loops written out, and learning by it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
import pytest

from homeostat.distributions import Cubature, Delta, DiagonalGaussian, MonteCarlo
from homeostat.inference import ModelWithFilter, SequenceBatch, StreamBatch, filter, filtering_descent
from homeostat.inference.engines import (
    BoundLogScale,
    Data,
    Direct,
    Estimate,
    InferenceGradient,
    Iterative,
    LearnedSGD,
    LogGradient,
    Residual,
)
from homeostat.inference.filters import Kalman, MomentMatching, SampledHistories, VariationalFilter
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.nn import MLP
from homeostat.objectives import Annealing
from homeostat.results import BadInputError
from problems import mapping, remembering
from tolerances import ALGEBRA

BATCH, TIME, RATE = 3, 5, 0.1
LENGTHS = (5, 2, 4)


def identity(x):
    return x


def stopped(x):
    return jax.lax.stop_gradient(x)


class Reads(eqx.Module):
    """A point for the state, from the observation and the model's carry."""

    network: eqx.Module

    def __call__(self, args):
        return self.network(jnp.concatenate([args.observation, args.context.carry]))


def points(**options):
    """A learner in which nothing is random: its posteriors are points."""
    method = VariationalFilter(
        Direct(Reads(mapping(5, 2, key=jr.key(4)))), Delta(2), 1, MonteCarlo(1), SampledHistories(1)
    )
    return filtering_descent(ModelWithFilter(remembering(), method), optax.sgd(RATE), **options)


@pytest.fixture
def batch() -> SequenceBatch:
    values, actions = jr.normal(jr.key(1), (BATCH, TIME, 2)), jr.normal(jr.key(2), (BATCH, TIME - 1, 1))
    return SequenceBatch(values, actions, jnp.array(LENGTHS))


def energy(model, carry, state, x):
    return -model.prior(carry).log_prob(state) - model.emission_given(carry, state).log_prob(x)


def written_out(learned, batch, detach=stopped, cuts=(), lengths=LENGTHS):
    """Sum of step energies of point posteriors, with gradients cut off where the learner says it cuts them."""
    model, encoder, total = learned.model, learned.filter.engine.encoder.network, 0.0
    for index, length in enumerate(lengths):
        carry = model.init_carry()
        for t in range(length):
            if t in cuts:
                carry = stopped(carry)
            x = batch.observations[index, t]
            state = encoder(jnp.concatenate([x, detach(carry)]))
            total += energy(model, carry, state, x)
            if t < TIME - 1:
                carry = model.next_carry(carry, detach(state), x, batch.actions[index, t])
    return total


def gradient_of(descent, batch):
    """From one update by plain descent, which is the gradient times the rate."""
    state = descent.init(key=jr.key(0))
    after, metrics = eqx.filter_jit(lambda s, b: descent.update(s, b, key=jr.key(0)))(state, batch)
    before, after = (eqx.filter(s.learned, eqx.is_inexact_array) for s in (state, after))
    return jax.tree.map(lambda a, b: (a - b) / RATE, before, after), metrics


def close(a, b, tolerance=ALGEBRA):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(jnp.all(jnp.abs(x - y) < tolerance) for x, y in pairs)


CASES = {
    "local": ({}, {}),
    "through time": ({"detach": identity}, {"detach": identity}),
    "truncated": ({"truncation": 2}, {"cuts": (2, 4)}),
    "truncated, through time": ({"truncation": 3, "detach": identity}, {"cuts": (3,), "detach": identity}),
    "recomputed": ({"rematerialize": eqx.filter_checkpoint}, {}),
}


VARIATIONS = ("truncated, through time", "recomputed")
"""Combinations of what the other cases try one by one."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in VARIATIONS else ()) for n in CASES])
def test_gradients_flow_where_they_should(batch, name):
    """Through ragged sequences: of the model through its carries, of the encoder within a step unless it is asked to."""
    options, reference = CASES[name]
    descent = points(**options)
    found, metrics = gradient_of(descent, batch)
    value, expected = eqx.filter_jit(eqx.filter_value_and_grad(written_out))(descent.learned, batch, **reference)
    assert close(found, jax.tree.map(lambda leaf: leaf / sum(LENGTHS), expected))
    assert jnp.abs(metrics.free_energy_nats - value / sum(LENGTHS)) < ALGEBRA
    assert any(jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(found.filter))


def test_an_encoder_may_learn_at_every_step(batch):
    """Its numbers change while the sequences go by; the model's change at the end."""
    descent = points(online=optax.sgd(0.05))
    state = descent.init(key=jr.key(0))
    after, _ = eqx.filter_jit(lambda s, b: descent.update(s, b, key=jr.key(0)))(state, batch)
    model, encoder = descent.learned.model, descent.learned.filter.engine.encoder.network
    carries = [model.init_carry()] * BATCH

    @eqx.filter_grad
    def slope(network, carries, observations):
        states = [network(jnp.concatenate([x, h])) for x, h in zip(observations, carries, strict=True)]
        return sum(energy(model, h, z, x) for x, h, z in zip(observations, carries, states, strict=True)) / len(carries)

    for t in range(TIME):
        going = [index for index, length in enumerate(LENGTHS) if length > t]
        observations = [batch.observations[index, t] for index in going]
        old = encoder
        gradient = slope(old, [carries[index] for index in going], observations)
        encoder = eqx.apply_updates(old, jax.tree.map(lambda g: -0.05 * g, gradient))
        for index, x in zip(going, observations, strict=True):
            if t < TIME - 1:
                state_at = old(jnp.concatenate([x, carries[index]]))
                carries[index] = model.next_carry(carries[index], state_at, x, batch.actions[index, t])
    assert close(
        eqx.filter(after.learned.filter.engine.encoder.network, eqx.is_inexact_array),
        eqx.filter(encoder, eqx.is_inexact_array),
    )
    assert not close(after.learned.model, model, 1e-6)


def test_streams_go_on_where_they_ended(batch):
    """Two pieces, as one truncated pass of which the pieces are the chunks; a stream that begins anew forgets."""
    descent = points()
    frozen = filtering_descent(descent.learned, optax.set_to_zero(), num_streams=BATCH)
    update = eqx.filter_jit(lambda s, b: frozen.update(s, b, key=jr.key(0)))
    actions = batch.actions
    first = StreamBatch(batch.observations[:, :2], actions[:, :2])
    fresh = jnp.array([False, False, True])
    second = StreamBatch(batch.observations[:, 2:4], actions[:, 2:4], fresh)
    state, one = update(frozen.init(key=jr.key(0)), first._replace(fresh=jnp.zeros(BATCH, bool)))
    state, two = update(state, second)
    going = SequenceBatch(batch.observations[:2, :4], actions[:2, :4])
    expected = written_out(descent.learned, going, lengths=(4, 4))
    anew = (
        SequenceBatch(batch.observations[2:, :2], actions[2:, :2]),
        SequenceBatch(batch.observations[2:, 2:4], actions[2:, 2:4]),
    )
    expected += sum(written_out(descent.learned, piece, lengths=(2,)) for piece in anew)
    assert jnp.abs(2 * BATCH * (one.free_energy_nats + two.free_energy_nats) - expected) < ALGEBRA
    with pytest.raises(BadInputError, match="3 streams"):
        frozen.update(state, jnp.zeros((2, 2, 2)), key=jr.key(0))


def features(args):
    return args.observation


def iterative(detach, num_steps=3):
    network = mapping(10, 4, key=jr.key(3))
    encodings = (Estimate(), InferenceGradient(), Data(features))
    method = VariationalFilter(
        Iterative(network, encodings, Residual(0.1), detach),
        DiagonalGaussian(2),
        num_steps,
        Cubature(),
        SampledHistories(2),
    )
    return filtering_descent(ModelWithFilter(remembering(), method), optax.sgd(RATE))


def test_one_gradient_serves_twice_without_changing_any(batch):
    """The thrifty path, which an engine that detaches by the usual function takes, against plain differentiation."""
    fast, fast_metrics = gradient_of(iterative(jax.lax.stop_gradient), batch)
    slow, slow_metrics = gradient_of(iterative(stopped), batch)
    assert close(fast, slow)
    assert close(fast_metrics, slow_metrics)
    assert any(jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(fast.filter))


def test_annealing_and_failures(batch):
    method = iterative(jax.lax.stop_gradient, 1).learned
    descent = filtering_descent(method, optax.sgd(RATE), weighting=Annealing(lambda step: 0.5 * step))
    update = eqx.filter_jit(lambda s, b: descent.update(s, b, key=jr.key(0)))
    first, metrics = update(descent.init(key=jr.key(0)), batch)
    assert jnp.abs(metrics.weighted_nats - metrics.distortion_nats) < ALGEBRA
    _, metrics = update(first, batch)
    assert jnp.abs(metrics.weighted_nats - metrics.distortion_nats - 0.5 * metrics.rate_nats) < ALGEBRA
    broken = batch._replace(actions=batch.actions.at[0, 0].set(jnp.inf))
    after, metrics = update(first, broken)
    assert metrics.failed_step == 1.0
    kept = (eqx.filter(state.learned, eqx.is_array) for state in (first, after))
    assert close(*kept)


def test_what_is_learned_online_is_kept_only_if_finite(batch):
    descent = points(online=optax.sgd(1e300))
    before = descent.init(key=jr.key(0))
    after, metrics = eqx.filter_jit(lambda s, b: descent.update(s, b, key=jr.key(0)))(before, batch)
    assert metrics.failed_step == 0.0
    assert close(*(eqx.filter(state.learned, eqx.is_array) for state in (before, after)))


def test_memory_of_training_is_constant_under_truncation():
    """What the compiler sets aside for an update grows by no more than a rearranged copy of the sequences."""

    def memory(time, **options):
        descent = points(**options)
        arrays, rest = eqx.partition(descent.init(key=jr.key(0)), eqx.is_array)
        data = SequenceBatch(jnp.zeros((BATCH, time, 2)), jnp.zeros((BATCH, time - 1, 1)))
        update = jax.jit(lambda a, b: eqx.filter(descent.update(eqx.combine(a, rest), b, key=jr.key(0)), eqx.is_array))
        held = update.lower(arrays, data).compile().memory_analysis().temp_size_in_bytes
        return held, sum(leaf.nbytes for leaf in jax.tree.leaves(data))

    (short, few), (long, many) = memory(20, truncation=10), memory(400, truncation=10)
    assert long - short < 2 * (many - few)
    assert memory(400)[0] - short > 10 * (long - short)


class Systems(NamedTuple):
    """Scalar linear systems, one for each sequence, with what they emit."""

    models: LinearGaussian
    observations: jax.Array


def systems(key, number, time):
    """Random decay, gain and noises."""

    def one(k):
        decay_key, noise_key, gain_key, seen_key, sample_key = jr.split(k, 5)
        between = lambda k, low, high: jr.uniform(k, (1, 1), minval=low, maxval=high)  # noqa: E731
        dynamics = LinearDynamics(between(decay_key, 0.3, 0.95), None, between(noise_key, 0.4, 1.0))
        gain, noise = between(gain_key, 0.5, 1.2), between(seen_key, 0.5, 1.0)
        model = LinearGaussian(jnp.zeros(1), jnp.ones((1, 1)), dynamics, gain, noise)
        return Systems(model, model.sample(jnp.zeros((time - 1, 0)), key=sample_key).observations)

    return eqx.filter_jit(jax.vmap(one))(jr.split(key, number))


class Timid(eqx.Module):
    """A network whose steps by `LearnedSGD` are small at first, sigmoid(-2) of the gradient."""

    network: MLP

    def __call__(self, inputs):
        return self.network(inputs) + jnp.array([0.0, 0.0, -2.0, -2.0], inputs.dtype)


@pytest.mark.slow
def test_a_filter_learns_what_random_linear_systems_have_in_common(key):
    """Trained on many systems it comes close to the Kalman filter on others, in two iterations from the gradient."""
    network = Timid(MLP(6, 4, 32, 1, key=jr.key(7), activation=jax.nn.tanh, output_gain=0.1))
    engine = Iterative(network, (Estimate(), LogGradient()), LearnedSGD(), bound=BoundLogScale(-5.0, 2.0))
    method = VariationalFilter(engine, DiagonalGaussian(1), 2, Cubature(), MomentMatching())
    example = jax.tree.map(lambda leaf: leaf[0], systems(key, 1, 2).models)
    descent = filtering_descent(ModelWithFilter(example, method), optax.adam(optax.exponential_decay(1e-2, 300, 0.3)))
    arrays, static = eqx.partition(descent.init(key=key), eqx.is_array)

    @jax.jit
    def train(arrays, keys):
        def body(arrays, k):
            drawn = systems(k, 64, 6)
            batch = SequenceBatch(drawn.observations, models=drawn.models)
            after, metrics = descent.update(eqx.combine(arrays, static), batch, key=k)
            return eqx.filter(after, eqx.is_array), metrics

        return jax.lax.scan(body, arrays, keys)

    trained, _ = train(arrays, jr.split(key, 800))
    learned = eqx.combine(trained, static).learned
    assert close(eqx.filter(learned.model, eqx.is_array), example)
    unseen = systems(jr.key(99), 64, 6)

    @jax.jit
    def compare(arrays):
        method = eqx.combine(arrays, static).learned.filter

        def one(model, x):
            exact, found = (filter(f, model, x, key=key, throw=False) for f in (Kalman(), method))
            scale = jnp.sqrt(exact.beliefs.covariance[:, 0, 0])
            gap = found.info.free_energy_nats - exact.info.free_energy_nats
            errors = jnp.abs(found.beliefs.loc - exact.beliefs.loc)[:, 0] / scale
            ratios = found.beliefs.covariance[:, 0, 0] / scale**2
            return gap, errors, jnp.abs(ratios - 1.0)

        return jax.tree.map(jnp.mean, jax.vmap(one)(*unseen))

    after = compare(trained)
    assert after[0] < 0.02
    assert after[1] < 0.05
    assert after[2] < 0.1


def test_unusable_batches_are_refused(batch):
    descent = points()
    state = descent.init(key=jr.key(0))
    bad = {
        "leading axes": SequenceBatch(jnp.zeros(3)),
        "actions": batch._replace(actions=batch.actions[:, 1:]),
        "lengths": batch._replace(lengths=jnp.array([1, 2])),
        "lengths from": batch._replace(lengths=jnp.array([1, 2, 9])),
        "a mask": batch._replace(mask=jnp.ones((BATCH, 2), bool)),
    }
    for match, sequences in bad.items():
        with pytest.raises(BadInputError, match=match):
            descent.update(state, sequences, key=jr.key(0))
    with pytest.raises(BadInputError, match="through time"):
        points(online=optax.sgd(0.1), detach=identity)
    with pytest.raises(BadInputError, match="truncation"):
        points(truncation=0)
