"""Learning a model with an engine: which iterations teach what, and that one gradient can serve twice."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
import pytest

from homeostat.distributions import (
    Cubature,
    DiagonalGaussian,
    Hierarchical,
    Ladder,
    LeaveOneOut,
    MonteCarlo,
    ScoreFunction,
)
from homeostat.flows import ConditionalFlow
from homeostat.inference import (
    AllIterations,
    FirstIteration,
    LastIteration,
    ModelWithEngine,
    Weigh,
    free_energy_descent,
    start_at_prior,
)
from homeostat.inference.engines import (
    BoundLogScale,
    Chain,
    Data,
    Direct,
    Estimate,
    Gated,
    Gradient,
    InferenceGradient,
    Iterative,
    LevelwiseIterative,
    Normalized,
    PredictionErrors,
    WeightedErrors,
)
from homeostat.models.static import Bernoulli, LearnedLevel, latent_gaussian
from homeostat.nn import GRU, MLP
from homeostat.objectives import (
    Annealing,
    Beta,
    DistortionConstraint,
    DualVariable,
    Evidence,
    FreeBits,
    FreeEnergy,
    RateConstraint,
    Weighted,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA

PIXELS, DIMS, BATCH = 6, (2, 1), 4
DIM = sum(DIMS)


def the_model():
    return latent_gaussian(
        Bernoulli((PIXELS,)), DIMS, key=jr.key(1), mapping=partial(MLP, width=5, depth=1), units=1, top=LearnedLevel
    )


def shared_engine(**options):
    encodings = (
        Normalized(Estimate(), 2),
        Normalized(InferenceGradient(), 2),
        WeightedErrors(),
        Data(lambda a: a.observation),
    )
    network = MLP(4 * DIM + PIXELS + DIM + PIXELS, 4 * DIM, 5, 1, key=jr.key(2))
    return Iterative(network, encodings, Gated(), bound=BoundLogScale(), **options)


def levelwise_engine(build=partial(MLP, width=3, depth=1)):
    levels = [
        Iterative(build(5 * d + below, 4 * d, key=jr.key(3)), (Estimate(), InferenceGradient(), PredictionErrors()))
        for d, below in zip(DIMS, (PIXELS, DIMS[0]), strict=True)
    ]
    return LevelwiseIterative(tuple(levels), DIMS)


@pytest.fixture
def batch():
    return jr.bernoulli(jr.key(4), 0.4, (BATCH, PIXELS)).astype(float)


def learner(engine, **options):
    options = {"expectation": Cubature(), "num_steps": 3} | options
    family = options.pop("family", DiagonalGaussian(DIM))
    return free_energy_descent(ModelWithEngine(the_model(), engine), family, optax.adam(1e-2), **options)


def close(a, b, tolerance=ALGEBRA):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(jnp.allclose(x, y, rtol=0.0, atol=tolerance) for x, y in pairs)


@eqx.filter_jit
def slope(descent, batch, key, weighting=None):
    return descent.problem.slope(descent.learned, None, batch, Weigh(descent.weighting, weighting), key=key)


@pytest.mark.parametrize("build", [shared_engine, levelwise_engine], ids=["shared", "levelwise"])
def test_one_gradient_serves_twice_without_changing_any(build, batch, key):
    """Energies that the next iteration has computed anyway, against energies written out and differentiated anew."""
    descent = learner(build(), weighting=Beta(0.7))
    found = slope(descent, batch, key)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def written_out(learned):
        fixed = jax.lax.stop_gradient(eqx.filter(learned.model, eqx.is_array))
        model = eqx.combine(fixed, learned.model)
        family = DiagonalGaussian(DIM)

        def one(x, k):
            params, state, total, args = family.init(), learned.engine.start(), 0.0, Evidence(x)
            objective = Weighted(FreeEnergy(model, Cubature()), Beta(0.7))
            for _ in range(3):
                params, state, _ = learned.engine.step(objective, family, params, args, state, key=k)
                total += objective(family(params), args, key=k) / 3
            params = jax.lax.stop_gradient(params)
            return total, Weighted(FreeEnergy(learned.model, Cubature()), Beta(0.7))(family(params), args, key=k)

        total = jax.vmap(one)(batch, jr.split(key, BATCH))
        return jnp.mean(total[0]) + jnp.mean(total[1])

    value, gradient = written_out(descent.learned)
    assert close(found.gradient, gradient)
    assert jnp.isfinite(value)
    assert any(jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(found.gradient.engine))
    assert any(jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(found.gradient.model))


def test_unrolled_iterations_teach_the_network_about_later_ones(batch, key):
    detached, unrolled = (learner(shared_engine(**options)) for options in ({}, {"detach": lambda x: x}))
    separate = slope(detached, batch, key)
    through = slope(unrolled, batch, key)
    assert close(separate[1], through[1])
    assert not close(separate[0].engine, through[0].engine, 1e-6)


def test_a_recurrent_network_learns_through_its_memory(batch, key):
    """What it keeps in the first iteration is taught by the second."""
    descent = learner(levelwise_engine(partial(GRU, width=3)), num_steps=2)
    gradient, terms, *_ = slope(descent, batch, key)
    assert all(jnp.any(level.network.cell.weight_hh != 0.0) for level in gradient.engine.levels)
    assert jnp.isfinite(terms.free_energy_nats)


class Reads(eqx.Module):
    network: MLP

    def __call__(self, args):
        return self.network(args.observation)


def encoder():
    return Direct(Reads(MLP(PIXELS, 2 * DIM, 5, 1, key=jr.key(5))))


def test_credits_say_which_iteration_teaches(batch, key):
    """A refined encoder learns from its own estimate, and the model from the refined one."""
    engine = Chain((encoder(), Gradient(optax.sgd(0.1))), (1,))
    semi = learner(engine, num_steps=4, engine_weights=FirstIteration(), model_weights=LastIteration())
    alone = learner(engine, num_steps=1)
    gradients = slope(semi, batch, key)
    first = slope(alone, batch, key)
    assert close(gradients[0].engine, first[0].engine)
    assert not close(gradients[0].model, first[0].model, 1e-6)
    assert gradients[1].free_energy_nats < first[1].free_energy_nats
    with_every = learner(engine, num_steps=2, engine_weights=AllIterations(), model_weights=AllIterations())
    assert with_every.problem.engine_weights.weights(2) == (0.5, 0.5)


def test_training_lowers_the_bound_and_reports_it_apart_from_the_weighting(batch, key):
    descent = learner(shared_engine(), expectation=MonteCarlo(2), weighting=Beta(4.0), start=start_at_prior)
    update = eqx.filter_jit(descent.update)
    state, first = update(descent.init(key=key), batch, key=key)
    for k in jr.split(key, 60):
        state, last = update(state, batch, key=k)
    assert last.weighted_nats < first.weighted_nats
    assert jnp.allclose(last.free_energy_nats, last.distortion_nats + last.rate_nats)
    assert jnp.allclose(last.weighted_nats, last.distortion_nats + 4.0 * last.rate_nats)


@pytest.mark.parametrize(
    "weighting",
    [
        Annealing(optax.linear_schedule(0.0, 1.0, 10)),
        FreeBits(0.5, num_levels=2),
        DistortionConstraint(3.0, DualVariable(speed=0.5)),
        RateConstraint(0.2, DualVariable(speed=0.5)),
    ],
    ids=lambda w: type(w).__name__,
)
def test_weightings_with_a_state_move_it(weighting, batch, key):
    descent = learner(shared_engine(), weighting=weighting, num_steps=1)
    start = descent.init(key=key)
    state, metrics = eqx.filter_jit(descent.update)(start, batch, key=key)
    moved = zip(jax.tree.leaves(start.weighting), jax.tree.leaves(state.weighting), strict=True)
    assert any(jnp.any(a != b) for a, b in moved)
    assert jnp.isfinite(metrics.weighted_nats)
    assert metrics.failed_step == -1


def test_a_ladder_needs_no_other_encoder_and_reaches_the_top_down_prior(batch, key):
    model = the_model()
    descent = free_energy_descent(
        ModelWithEngine(model, encoder()), Ladder(model.levels), optax.adam(1e-2), expectation=MonteCarlo(4)
    )
    gradient, terms, *_ = slope(descent, batch, key)
    assert isinstance(model.initial(), Hierarchical)
    assert terms.rates_nats.shape == (2,)
    assert jnp.all(terms.rates_nats >= 0.0)
    assert any(jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(gradient.engine))


def test_the_score_function_trains_an_encoder_without_differentiating_samples(batch, key):
    """Its mean gradient over many keys is the pathwise one."""
    engine = encoder()
    keys = jr.split(key, 400)

    def gradients(expectation):
        descent = learner(engine, expectation=expectation, num_steps=1)
        flat = lambda k: jax.flatten_util.ravel_pytree(  # noqa: E731
            eqx.filter(slope(descent, batch, k).gradient.engine, eqx.is_array)
        )[0]
        return eqx.filter_jit(lambda keys: jax.lax.map(flat, keys, batch_size=50))(keys)

    score, path = gradients(ScoreFunction(8, LeaveOneOut())), gradients(MonteCarlo(8))
    error = jnp.sqrt(jnp.var(score, axis=0) / 400 + jnp.var(path, axis=0) / 400)
    difference = jnp.abs(jnp.mean(score, axis=0) - jnp.mean(path, axis=0))
    assert jnp.mean(difference <= 2.0 * error + ALGEBRA) > 0.9
    assert jnp.all(difference <= 5.0 * error + ALGEBRA)
    assert jnp.mean(jnp.var(score, axis=0)) > jnp.mean(jnp.var(path, axis=0))


def test_a_number_that_is_not_finite_stops_training_and_keeps_the_last_good_model(batch, key):
    descent = learner(shared_engine(), num_steps=2)
    update = eqx.filter_jit(descent.update)
    good, _ = update(descent.init(key=key), batch, key=key)
    bad, metrics = update(good, batch.at[1, 2].set(jnp.nan), key=key)
    assert metrics.failed_step == 1
    assert bool(bad.failure.distortion)
    assert close(eqx.filter(bad.learned, eqx.is_array), eqx.filter(good.learned, eqx.is_array), 0.0)
    later, metrics = update(bad, batch, key=key)
    assert metrics.failed_step == 1
    assert close(eqx.filter(later.learned, eqx.is_array), eqx.filter(good.learned, eqx.is_array), 0.0)


def test_bad_numbers_of_steps_and_starts_are_refused():
    with pytest.raises(BadInputError, match="at least one engine step"):
        learner(shared_engine(), num_steps=0)
    with pytest.raises(BadInputError, match="standard_start"):
        start_at_prior(the_model(), DiagonalGaussian(DIM + 1), key=jr.key(0))


def test_shared_weights_of_a_family_are_learned_with_the_rest(batch, key):
    """The weights of a conditional flow, whose context comes from the encoder."""
    family = ConditionalFlow(DIM, 2, num_layers=1, width=4, key=key)
    model = latent_gaussian(Bernoulli((PIXELS,)), (DIM,), key=jr.key(1), mapping=partial(MLP, width=5, depth=1))
    engine = Direct(Reads(MLP(PIXELS, 2 * DIM + 2, 5, 1, key=jr.key(5))))
    descent = free_energy_descent(ModelWithEngine(model, engine, family), family, optax.adam(1e-2), MonteCarlo(4))
    state, metrics = eqx.filter_jit(descent.update)(descent.init(key=key), batch, key=key)
    assert metrics.failed_step == -1
    before, after = (jax.tree.leaves(eqx.filter(f, eqx.is_inexact_array)) for f in (family, state.learned.family))
    assert any(jnp.any(a != b) for a, b in zip(before, after, strict=True))
