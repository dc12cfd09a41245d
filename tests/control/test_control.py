"""Plans, controllers and the agent's loop on systems whose best behaviour is known."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat.agents import BeliefAgent, rollout
from homeostat.control import (
    ActionSequences,
    ConstantAction,
    Factored,
    GaussianPlan,
    ModelPredictive,
    MostLikely,
    PreferredStates,
    Sampled,
    SquashedPlan,
    TargetState,
    active_inference,
    target_image,
)
from homeostat.core import PlanningContext
from homeostat.distributions import CategoricalParams, DiagonalGaussianParams, FullGaussian
from homeostat.inference.engines import MPPI, CrossEntropy, Enumerate, Gradient, NaturalGradient
from homeostat.inference.filters import GaussianBelief, Kalman, VariationalFilter
from homeostat.models.static import SpatialTransformer
from homeostat.objectives import Linearized, PathEnergy, PragmaticEpistemic, RiskAmbiguity
from homeostat.results import BadInputError
from tolerances import ALGEBRA, FINITE_DIFFERENCES
from worlds import GOAL, Plane, plane

MOVES = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=2)), jnp.int32)


def distance_cost(state, action):
    return jnp.sum((state - GOAL) ** 2) + 1e-3 * jnp.sum(jnp.asarray(action, state.dtype) ** 2)


PREFERENCE = TargetState(GOAL, 0.5)
AGENTS = {
    "exhaustive, two steps": active_inference(PREFERENCE, ActionSequences(MOVES, 2), engine=Enumerate(0.01)),
    "held action": active_inference(PREFERENCE, ConstantAction(MOVES, 2)),
    "pragmatic and epistemic": active_inference(PREFERENCE, ConstantAction(MOVES, 1), functional=PragmaticEpistemic()),
    "cross-entropy, factored": active_inference(
        PREFERENCE, Factored(jnp.asarray((-1, 0, 1), jnp.int32), 2, 2), engine=CrossEntropy(64, 8), num_steps=3
    ),
    "cross-entropy, Gaussian, cost": ModelPredictive(
        PathEnergy(distance_cost, num_paths=1), CrossEntropy(64, 8), SquashedPlan(2, 3), num_steps=4
    ),
    "path integral, Gaussian, cost": ModelPredictive(
        PathEnergy(distance_cost, num_paths=1, temperature=0.5), MPPI(128, 1.0), SquashedPlan(2, 3), num_steps=4
    ),
    "gradient, relaxed actions": active_inference(
        PREFERENCE, SquashedPlan(2, 3), engine=Gradient(optax.adam(0.2)), num_steps=20
    ),
}


SLOW = {"cross-entropy, Gaussian, cost", "held action"}
"""Variations on an agent that the quick suite has."""


@pytest.mark.parametrize(
    "agent", [pytest.param(agent, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, agent in AGENTS.items()]
)
def test_every_engine_reaches_a_target_on_the_shortest_path(agent, key):
    """Five diagonal unit steps are needed; every planner takes them and then stays."""
    run = eqx.filter_jit(lambda key: rollout(Plane(GOAL), BeliefAgent(plane(), Kalman(), agent), key=key, num_steps=8))
    episode = run(key)
    assert float(jnp.linalg.norm(episode.state - GOAL)) < 0.5
    reached = np.asarray(episode.trajectory.terminal)
    # Bounded continuous actions only approach a unit step, so they may need one more.
    assert reached[5:].all() and not reached[:4].any()


def test_decisions_explain_themselves(key):
    """Terms by name, the predicted path, and the same action from the raw minimum over plans."""
    belief = GaussianBelief(jnp.array([1.0, 1.0]), 0.2 * jnp.eye(2))
    context = PlanningContext(plane(), Kalman(), belief)
    agent = AGENTS["exhaustive, two steps"]
    decision, _ = eqx.filter_jit(agent.act)(context, agent.init(), key=key)
    account = decision.info.explanation
    np.testing.assert_allclose(account.beliefs.mean[1], belief.mean + jnp.sum(decision.info.actions, 0), atol=ALGEBRA)
    np.testing.assert_allclose(account.energy_nats, jnp.sum(RiskAmbiguity()(account.terms)), atol=ALGEBRA)
    np.testing.assert_array_equal(decision.action, decision.info.actions[0])
    paths = [np.cumsum(pair, axis=0) for pair in itertools.product(np.asarray(MOVES), repeat=2)]
    costs = [((np.ones(2) + p - np.asarray(GOAL)) ** 2).sum() for p in paths]
    best = ((np.ones(2) + np.cumsum(np.asarray(decision.info.actions), 0) - np.asarray(GOAL)) ** 2).sum()
    np.testing.assert_allclose(best, min(costs), atol=ALGEBRA)


def test_plans_of_equal_energy_are_sampled_equally_often(key):
    """Indifferent to the second coordinate, the agent moves it in every direction; the mode never would."""
    context = PlanningContext(plane(), Kalman(), GaussianBelief(jnp.zeros(2), 0.2 * jnp.eye(2)))
    careless = TargetState(GOAL, jnp.array([0.5, jnp.inf]))
    agent = active_inference(careless, ConstantAction(MOVES, 1), engine=Enumerate(0.01), choice=Sampled())
    act = jax.jit(jax.vmap(lambda k: agent.act(context, agent.init(), key=k)[0].action))
    actions = np.asarray(act(jr.split(key, 300)))
    assert (actions[:, 0] == 1).all()
    counts = np.bincount(actions[:, 1] + 1, minlength=3)
    # Three equal chances in 300: five standard deviations are 41.
    assert np.all(np.abs(counts - 100) < 41)
    steady = active_inference(careless, ConstantAction(MOVES, 1), choice=MostLikely())
    first = jax.jit(jax.vmap(lambda k: steady.act(context, steady.init(), key=k)[0].action))(jr.split(key, 2))
    np.testing.assert_array_equal(first[0], first[1])


def test_a_mixture_of_places_sends_the_agent_to_the_nearer_one(key):
    places = jnp.array([[4.0, 0.0], [-2.0, 0.0]])
    mixture = dist.MixtureSameFamily(
        dist.Categorical(probs=jnp.array([0.5, 0.5])),
        dist.MultivariateNormal(places, scale_tril=0.3 * jnp.eye(2)[None]),
    )
    agent = active_inference(PreferredStates(mixture), ActionSequences(MOVES, 1))
    run = eqx.filter_jit(lambda key: rollout(Plane(GOAL), BeliefAgent(plane(), Kalman(), agent), key=key, num_steps=4))
    np.testing.assert_allclose(run(key).state, places[1], atol=ALGEBRA)


def test_make_it_look_like_this(key):
    """A goal image pulls a sprite that overlaps it; the risk is least at the pose behind the image."""
    blob = jnp.exp(-0.5 * (jnp.linspace(-2, 2, 16)[:, None] ** 2 + jnp.linspace(-2, 2, 16)[None, :] ** 2))
    sprite = SpatialTransformer(blob, log_sigma=jnp.log(0.15))
    goal = jnp.array([0.0, 0.0, 0.4, -0.3])
    preference = target_image(sprite.image(goal), 0.15)

    @jax.jit
    def risk(loc):
        belief = GaussianBelief(loc, 0.01 * jnp.eye(4))
        return preference.compare(Linearized(), sprite, belief, key=key).risk_nats

    at_goal = float(risk(goal))
    for offset in ([0.0, 0.0, 0.3, 0.0], [0.0, 0.0, 0.0, -0.3], [0.8, 0.0, 0.0, 0.0]):
        near, far = float(risk(goal + 0.5 * jnp.array(offset))), float(risk(goal + jnp.array(offset)))
        assert at_goal < near < far
    with pytest.raises(BadInputError, match="above zero"):
        target_image(jnp.zeros((4, 4)), 0.0)


def test_plans_decode_shift_and_start():
    sequences = ActionSequences(MOVES, 3, 1.0)
    value = jnp.array([0, 4, 8])
    np.testing.assert_array_equal(sequences.decode(value), MOVES[value])
    logits = jnp.log(jnp.full((3, 9), 0.1 / 8).at[jnp.arange(3), value].set(0.9))
    shifted = sequences.shift(CategoricalParams(logits))
    np.testing.assert_array_equal(sequences.mode(shifted)[:2], value[1:])
    np.testing.assert_allclose(shifted.logits[2], 0.0, atol=ALGEBRA)
    halved = ActionSequences(MOVES, 3, 0.5).shift(CategoricalParams(logits))
    np.testing.assert_allclose(halved.logits, 0.5 * shifted.logits, atol=ALGEBRA)

    held = ConstantAction(MOVES, 4)
    np.testing.assert_array_equal(held.decode(jnp.array(5)), jnp.tile(MOVES[5], (4, 1)))
    np.testing.assert_allclose(held.shift(CategoricalParams(jnp.arange(9.0))).logits, 0.0, atol=ALGEBRA)

    factored = Factored(jnp.array([-1, 0, 1]), 2, 2)
    np.testing.assert_array_equal(factored.decode(jnp.array([[0, 2], [1, 1]])), [[-1, 1], [0, 0]])
    assert factored.family.shape == (2, 2)

    unbounded = GaussianPlan(2, 3, 0.3)
    moved = unbounded.shift(DiagonalGaussianParams(jnp.arange(6.0), jnp.full(6, -5.0)))
    np.testing.assert_allclose(moved.loc, [2.0, 3.0, 4.0, 5.0, 0.0, 0.0], atol=ALGEBRA)
    np.testing.assert_allclose(moved.log_scale, np.log(0.3), atol=ALGEBRA)
    np.testing.assert_allclose(unbounded.decode(jnp.arange(6.0)), np.arange(6.0).reshape(3, 2), atol=ALGEBRA)

    bounded = SquashedPlan(1, 2, low=-2.0, high=4.0)
    samples = jax.jit(jax.vmap(bounded.family(bounded.init()).sample))(jr.split(jr.key(0), 200))
    assert float(jnp.min(samples)) > -2.0 and float(jnp.max(samples)) < 4.0
    np.testing.assert_allclose(bounded.mode(DiagonalGaussianParams(jnp.zeros(2), jnp.zeros(2))), 1.0, atol=ALGEBRA)
    box = SquashedPlan(2, 2, low=jnp.array([-2.0, 0.0]), high=(4.0, 1.0))
    middle = box.decode(box.mode(DiagonalGaussianParams(jnp.zeros(4), jnp.zeros(4))))
    np.testing.assert_allclose(middle, [[1.0, 0.5], [1.0, 0.5]], atol=ALGEBRA)
    narrow = DiagonalGaussianParams(jnp.full(2, 0.7), jnp.full(2, -9.0))
    np.testing.assert_allclose(bounded.mode(narrow), bounded.family(narrow).sample(jr.key(1)), atol=FINITE_DIFFERENCES)


def test_a_variational_filter_predicts_like_the_exact_one(key):
    variational = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(2))
    model, belief = plane(), GaussianBelief(jnp.array([1.0, 1.0]), 0.2 * jnp.eye(2))
    plans = ConstantAction(MOVES, 2)
    objective = active_inference(PREFERENCE, plans).objective
    energies = [
        jax.jit(
            jax.vmap(
                lambda i, f=f: (
                    objective.explain(plans.decode(i), PlanningContext(model, f, belief), key=key).energy_nats
                )
            )
        )(jnp.arange(9))
        for f in (Kalman(), variational)
    ]
    np.testing.assert_allclose(*energies, atol=ALGEBRA)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(BadInputError, match="horizon of at least one"):
        ActionSequences(MOVES, 0)
    with pytest.raises(BadInputError, match="in \\[0, 1\\]"):
        Factored(jnp.arange(3), 2, 1, memory=1.5)
    with pytest.raises(BadInputError, match="at least one engine step"):
        active_inference(PREFERENCE, ConstantAction(MOVES, 1), num_steps=0)
    with pytest.raises(BadInputError, match="one period for each coordinate"):
        TargetState(jnp.zeros(3), 1.0, jnp.ones(2))
