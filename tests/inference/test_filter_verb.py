"""The verb `filter` on ragged and incomplete sequences, and forecasts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
import pytest

from homeostat.core import AbstractSmoother
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import filter, forecast, infer, length_mask, sample_sequence, smooth
from homeostat.inference.engines import Gradient, NaturalGradient
from homeostat.inference.filters import Kalman, Particle, SampledHistories, VariationalFilter
from homeostat.inference.smoothers import ParticleSmoother
from homeostat.models.sequential import LinearDynamics, LinearGaussian, Measurement, StateSpace
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import RESULTS, BadInputError
from problems import evidence, linear_model, remembering
from references import affine_sequence, conjugate
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

TIME = 5


@pytest.fixture
def model() -> LinearGaussian:
    dynamics = LinearDynamics(jnp.array([[0.9, 0.2], [-0.1, 0.8]]), jnp.array([[0.5], [1.0]]), 0.3 * jnp.eye(2))
    return LinearGaussian(jnp.ones(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.5], [0.0, 1.0]]), 0.4 * jnp.eye(2))


@pytest.fixture
def actions(key):
    return jr.normal(key, (TIME - 1, 1))


@pytest.fixture
def observations():
    return jr.normal(jr.key(1), (TIME, 2))


METHODS = {
    "Kalman": Kalman(),
    "variational": VariationalFilter(NaturalGradient(1.0), FullGaussian(2)),
    "particle": Particle(16),
}


@pytest.mark.parametrize("name", METHODS)
def test_padded_sequences_agree_with_short_ones(model, observations, actions, key, name):
    """A batch padded with nonsense, its lengths as a mask, against each sequence by itself."""
    lengths = jnp.array([3, TIME, 1])
    mask = length_mask(lengths, TIME)
    batch = jnp.where(mask[:, :, None], observations[None], 1e6)
    run = lambda x, m: filter(METHODS[name], model, x, actions, key=key, mask=m)  # noqa: E731
    padded = eqx.filter_jit(jax.vmap(run))(batch, mask)
    whole = filter(METHODS[name], model, observations, actions, key=key)
    assert jnp.abs(padded.info.free_energy_nats[1] - whole.info.free_energy_nats).max() < ALGEBRA
    for row, length in enumerate(lengths.tolist()):
        # What comes before is the same whether or not the sequence goes on.
        assert jnp.abs((padded.info.free_energy_nats[row] - whole.info.free_energy_nats)[:length]).max() < ALGEBRA
        assert jnp.all(jnp.abs(padded.info.free_energy_nats[row, length:]) < ALGEBRA)
        assert jnp.all(jnp.isfinite(padded.beliefs.mean[row] if name != "particle" else padded.beliefs.particles[row]))


def test_a_sequence_may_have_one_step_or_nothing_observed(model, observations, actions, key):
    one = filter(Kalman(), model, observations[:1], key=key)
    assert one.beliefs.loc.shape == (1, 2)
    for method in METHODS.values():
        nothing = filter(method, model, observations, actions, key=key, mask=jnp.zeros(TIME, bool))
        assert jnp.abs(nothing.free_energy_nats) < ALGEBRA


def test_a_mask_and_nan_mean_the_same(model, observations, actions, key):
    mask = jnp.ones((TIME, 2), bool).at[1, 0].set(False).at[3].set(False)
    by_mask = filter(Kalman(), model, observations, actions, key=key, mask=mask)
    by_nan = filter(Kalman(), model, jnp.where(mask, observations, jnp.nan), actions, key=key)
    assert jnp.all(by_mask.beliefs.loc == by_nan.beliefs.loc)
    measured = Measurement(observations, jnp.broadcast_to(0.4 * jnp.eye(2), (TIME, 2, 2)))
    own = filter(Kalman(), model, measured, actions, key=key, mask=mask)
    assert jnp.abs(own.info.free_energy_nats - by_nan.info.free_energy_nats).max() < ALGEBRA


def test_counts_have_a_mask_for_want_of_nan(key):
    counts = StateSpace(
        dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1),
        lambda z, a: dist.Normal(0.9 * z, 0.2).to_event(1),
        lambda z: dist.Poisson(jnp.exp(z)).to_event(1),
    )
    observations = jnp.array([[1, 0], [2, 2], [0, 1]])
    mask = jnp.ones((3, 2), bool).at[1, 0].set(False)
    masked = filter(Particle(32), counts, observations, key=key, mask=mask)
    by_nan = filter(Particle(32), counts, jnp.where(mask, observations, jnp.nan), key=key)
    complete = filter(Particle(32), counts, observations, key=key)
    assert jnp.abs(masked.info.free_energy_nats - by_nan.info.free_energy_nats).max() < ALGEBRA
    assert jnp.abs(masked.info.free_energy_nats[1] - complete.info.free_energy_nats[1]) > 0.01


def test_masks_and_lengths_that_do_not_fit_are_refused(model, observations, actions, key):
    for mask in (jnp.ones(TIME - 1, bool), jnp.ones((TIME, 3), bool), jnp.ones(TIME)):
        with pytest.raises(BadInputError, match="Boolean mask"):
            filter(Kalman(), model, observations, actions, key=key, mask=mask)
    with pytest.raises(BadInputError, match="lengths from 1 to 5"):
        length_mask(jnp.array([2, 6]), TIME)
    with pytest.raises(BadInputError, match="at least one step"):
        length_mask(jnp.array([1]), 0)
    with pytest.raises(BadInputError, match="length at least 1"):
        filter(Kalman(), model, observations[:0], key=key)


def test_sampled_sequences_have_the_moments_of_the_joint(key):
    model, actions, number = remembering(), jnp.ones((2, 1)), 4_000
    drawn = eqx.filter_jit(jax.vmap(lambda k: sample_sequence(model, 3, actions, key=k)))(jr.split(key, number))
    exact = affine_sequence(model, actions, 3)
    for values, mean, roots in (
        (drawn.states, exact.state_mean, exact.state_roots),
        (drawn.observations, exact.observation_mean, exact.observation_roots),
    ):
        variance = jnp.sum(roots**2, axis=-1)
        error = jnp.sqrt(variance / number)
        assert jnp.all(jnp.abs(jnp.mean(values, axis=0) - mean) < MONTE_CARLO_STANDARD_ERRORS * error)
        ratio = jnp.var(values, axis=0) / variance
        assert jnp.all(jnp.abs(ratio - 1.0) < MONTE_CARLO_STANDARD_ERRORS * (2.0 / number) ** 0.5)


def test_forecasts_agree_with_exact_predictions(model, observations, actions, key):
    """Mean and quantiles of futures against the Gaussian that the Kalman filter predicts, three steps on."""
    known, number = 2, 4_000
    filtered = filter(Kalman(), model, observations[:known], actions[: known - 1], key=key)
    ahead = actions[known - 1 :]
    found = forecast(model, filtered, ahead, horizon=3, key=key, num_samples=number, probabilities=(0.1, 0.5, 0.9))
    silent = jnp.concatenate([observations[:known], jnp.full((3, 2), jnp.nan)])
    exact = filter(Kalman(), model, silent, actions, key=key).predictions
    emission, noise = model.emission_matrix, model.emission_scale_tril
    means = exact.loc[known:] @ emission.T
    covariances = emission @ exact.covariance[known:] @ emission.T + (noise @ noise.T)[None]
    scales = jnp.sqrt(jnp.diagonal(covariances, axis1=1, axis2=2))
    assert found.observations.shape == (number, 3, 2)
    assert jnp.all(jnp.abs(found.mean - means) < MONTE_CARLO_STANDARD_ERRORS * scales / number**0.5)
    normal = dist.Normal(means, scales)
    for level, quantile in zip(found.probabilities, found.quantiles, strict=True):
        # The share of mass below an empirical quantile has the variance p (1 - p) / n.
        error = (level * (1.0 - level) / number) ** 0.5
        assert jnp.all(jnp.abs(normal.cdf(quantile) - level) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_forecasts_go_on_from_sampled_pasts(key):
    """For a model that is not Markov, from a belief in the middle of a padded sequence."""
    model, actions = remembering(), jnp.ones((TIME - 1, 1))
    observations = jr.normal(jr.key(3), (TIME, 2))
    method = VariationalFilter(NaturalGradient(1.0), FullGaussian(2), propagation=SampledHistories(2_000))
    mask = length_mask(jnp.array(2), TIME)
    filtered = filter(method, model, observations, actions, key=key, mask=mask)
    found = forecast(model, filtered, actions[1:3], horizon=2, key=key, num_samples=2_000, at=1)
    # Nothing was observed after the second step, so that the filter's own predictions say the same.
    expected = filtered.predictions.mean[2:4]
    spread = jnp.sqrt(jnp.var(found.states, axis=0))
    error = spread * (2.0 / 2_000) ** 0.5
    assert jnp.all(jnp.abs(jnp.mean(found.states, axis=0) - expected) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_impossible_forecasts_are_refused(model, observations, actions, key):
    belief = Kalman().init(model)
    with pytest.raises(BadInputError, match="horizon"):
        forecast(model, belief, horizon=0, key=key)
    with pytest.raises(BadInputError, match="2 actions"):
        forecast(model, belief, actions, horizon=2, key=key)
    with pytest.raises(BadInputError, match="quantiles"):
        forecast(model, belief, actions[:2], horizon=2, key=key, probabilities=(0.5, 1.5))
    with pytest.raises(BadInputError, match="keeps the past"):
        forecast(remembering(), belief, actions[:2], horizon=2, key=key)
    with pytest.raises(BadInputError, match="4 actions"):
        sample_sequence(model, TIME, actions[1:], key=key)


def test_filtering_one_observation_is_inferring_it(key):
    """A step in time is the static problem of its model, with the first prediction as the prior."""
    static = linear_model()
    prior, observation = static.initial(), evidence().observation
    sequence = StateSpace(prior, LinearDynamics(0.9 * jnp.eye(2), jnp.zeros((2, 1)), jnp.eye(2)), static)
    for engine, steps in ((NaturalGradient(1.0), 1), (Gradient(optax.sgd(0.05)), 7)):
        method = VariationalFilter(engine, FullGaussian(2), steps)
        found = filter(method, sequence, observation[None], jnp.zeros((0, 1)), key=key)
        start = FullGaussian(2).from_scale_tril(prior.loc, prior.scale_tril)
        inferred = infer(
            FreeEnergy(static, Cubature()),
            engine,
            FullGaussian(2),
            Evidence(observation),
            key=key,
            params=start,
            num_steps=steps,
        )
        assert jnp.abs(found.beliefs.loc[0] - inferred.distribution.loc).max() < ALGEBRA
        assert jnp.abs(found.beliefs.scale_tril[0] - inferred.distribution.scale_tril).max() < ALGEBRA
        assert jnp.abs(found.free_energy_nats - inferred.energy_nats) < ALGEBRA
        if steps == 1:
            exact = conjugate(static, observation)
            assert jnp.abs(found.beliefs.loc[0] - exact.mean).max() < ALGEBRA
            assert jnp.abs(found.free_energy_nats + exact.log_evidence) < ALGEBRA


class Filtered(AbstractSmoother):
    """A smoother of somebody's own, exact and without a key."""

    stochastic = False

    def smooth(self, model, observations, actions=None, *, key=None, throw=True):
        return filter(Kalman(), model, observations, actions, key=jr.key(0), throw=throw)


def test_a_smoother_says_whether_it_needs_a_key(model, observations, actions):
    found = smooth(Filtered(), model, observations, actions)
    assert found.beliefs.loc.shape == (TIME, 2)
    with pytest.raises(BadInputError, match="Expected a key: ParticleSmoother"):
        smooth(ParticleSmoother(Particle(8), 4), model, observations, actions)


def test_the_outcome_of_a_filter_comes_with_its_numbers(model, observations, actions, key):
    far = observations.at[2].set(1e200)
    info = filter(Particle(8), model, far, actions, key=key, throw=False).info
    assert (info.result == RESULTS.degenerate_weights).tolist() == [False, False, True, False, False]
    with pytest.raises(eqx.EquinoxRuntimeError, match="No particle can explain an observation"):
        filter(Particle(8), model, far, actions, key=key)
    assert bool(jnp.all(filter(Kalman(), model, observations, actions, key=key).info.result == RESULTS.successful))
