"""Agents that learn from reward: on probes whose values are known, with every engine, and to the same bits after a kill."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from homeostat.agents import (
    ActingLoader,
    ActorCritic,
    SoftActorCritic,
    direct_policy,
    flat_size,
    flat_state,
    iterative_policy,
    to_action,
)
from homeostat.control import (
    DivergenceTarget,
    FixedTemperature,
    LearnedPrior,
    NStep,
    Retrace,
    UniformPrior,
    default_target,
    dense_critics,
    policy_family,
)
from homeostat.core import Bounded
from homeostat.environments import (
    FunctionalWorlds,
    action_probe,
    aim_probe,
    constant_probe,
    delay_probe,
    state_probe,
    truncation_probe,
)
from homeostat.environments.adapters import gymnasium_worlds
from homeostat.inference import FirstIteration
from homeostat.inference.engines import MPPI, Chain, CrossEntropy, Gradient, StopGradient
from homeostat.nn import MLP
from homeostat.results import BadInputError
from homeostat.train import fit

DISCOUNT = 0.9
WIDTH = 32


def learner_for(worlds, name: str = "direct", returns=NStep(1), learned_prior: bool = False, **options):
    """An agent for some worlds, with one of several engines."""
    spec, size = worlds.action_spec, flat_size(worlds.observation_spec)
    family, keys = policy_family(spec), jax.random.split(jax.random.key(0), 4)
    direct = direct_policy(family, size, key=keys[0], width=WIDTH)
    engine, num_steps, weights = {
        "direct": (direct, 1, None),
        "iterative": (iterative_policy(family, size, key=keys[1], width=WIDTH), 2, None),
        "semi-amortized": (Chain((direct, StopGradient(Gradient(optax.adam(0.05)))), (1,)), 4, FirstIteration()),
        "gradient": (Gradient(optax.adam(0.1)), 20, None),
        "cross-entropy": (CrossEntropy(32, 6), 3, None),
        "path integral": (MPPI(64), 2, None),
    }[name]
    prior = UniformPrior(spec)
    if learned_prior:
        prior = LearnedPrior(MLP(size, 2 * family.dim, WIDTH, 1, key=keys[3]), family)
    critics = dense_critics(size, 1, key=keys[2], width=WIDTH)
    temperature, adam = options.pop("temperature", FixedTemperature(0.01)), optax.adam(3e-3)
    if weights is not None:
        options["engine_weights"] = weights
    learned = ActorCritic(engine, family, prior, critics)
    return SoftActorCritic(
        learned,
        temperature,
        adam,
        adam,
        returns=returns,
        discount=DISCOUNT,
        target_rate=0.05,
        num_steps=num_steps,
        **options,
    )


def trained(environment, *args, num_steps: int = 600, **options):
    """The state of an agent after training in four copies of a world."""
    worlds = FunctionalWorlds(environment, 4)
    learner = learner_for(worlds, *args, **options)
    loader = ActingLoader(worlds, learner, batch_size=64, capacity=4_000, warmup=400, updates_per_step=0.25)
    return learner, fit(learner, loader, num_steps=num_steps, key=jax.random.key(1), every=num_steps // 2)


def values(state, seen: float, action: float) -> np.ndarray:
    return np.asarray(eqx.filter_jit(state.learned.critics)(jnp.array([seen]), jnp.array([action])))


def test_acting_remembers_what_was_done_and_counts_what_ended():
    """Episodes of one step: every second row of the buffer began another one, and no update learns from it."""
    worlds = FunctionalWorlds(aim_probe(), 2)
    learner = learner_for(worlds)
    loader = ActingLoader(worlds, learner, batch_size=16, capacity=40, warmup=20, updates_per_step=0.5)
    acting = loader.arguments()
    state = loader.init(key=jax.random.key(0))
    rows = state.replay.experience
    num = int(state.replay.current_index)
    assert num == 10 and not bool(state.replay.is_full)
    np.testing.assert_array_equal(rows.idle[:, :num], np.arange(num)[None, :] % 2 == np.ones((2, 1)))
    np.testing.assert_array_equal(rows.terminal[:, :num], ~rows.idle[:, :num])
    np.testing.assert_allclose(rows.reward[rows.idle], 0.0)
    acted = ~rows.idle[:, :num]
    seen, done = rows.state[:, :num, 0][acted], rows.action[:, :num, 0][acted]
    np.testing.assert_allclose(rows.reward[:, :num][acted], -((done - 0.5 * seen) ** 2), atol=1e-6)
    # Uniform over [-1, 1].
    np.testing.assert_allclose(rows.log_prob[:, :num], -np.log(2.0), atol=1e-6)
    learned = learner.init(key=jax.random.key(1))
    experience, after = eqx.filter_jit(lambda s: acting.next(s, learned, key=jax.random.key(2)))(state)
    assert int(after.replay.current_index) == num + 1
    assert experience.segments.reward.shape == (16, 2)
    assert int(experience.episodes.count) == 2 and int(experience.episodes.total_steps) == 2
    np.testing.assert_allclose(
        experience.episodes.total_return, np.sum(after.replay.experience.reward[:, num]), atol=1e-6
    )


@pytest.mark.slow
def test_a_policy_learns_to_aim(key):
    """The direct engine, everything at once: a policy that depends on the state, values of it, and what is reported."""
    learner, result = trained(aim_probe(), num_steps=400)
    state, history = result.state, result.history
    agent = learner.agent(state, explore=False)
    act = eqx.filter_jit(agent.act)
    for seen in (-1.0, 1.0):
        decision, _ = act(agent.init(key=key), jnp.array([seen]), key=key)
        np.testing.assert_allclose(decision.action, 0.5 * seen, atol=0.1)
        np.testing.assert_allclose(values(state, seen, 0.5 * seen), 0.0, atol=0.03)
        np.testing.assert_allclose(values(state, seen, -0.5 * seen), -1.0, atol=0.2)
    # Four worlds of one step each, every second step of which begins another episode.
    np.testing.assert_allclose(history.episodes, 2.0)
    np.testing.assert_allclose(history.episode_steps, 2.0)
    assert history.episode_return[-1] > -0.1
    np.testing.assert_array_equal(history.failed_step, -1.0)


PROBES = {
    "constant": (constant_probe, [(0.0, 0.0, 1.0)]),
    "state": (state_probe, [(-1.0, 0.0, -1.0), (1.0, 0.0, 1.0)]),
    "delay": (delay_probe, [(0.0, 0.0, DISCOUNT), (1.0, 0.0, 1.0)]),
    "action": (action_probe, [(0.0, 0.5, 0.0), (0.0, -0.5, -1.0)]),
    "aim": (aim_probe, [(-1.0, -0.5, 0.0), (1.0, 0.5, 0.0)]),
    "truncation": (truncation_probe, [(0.0, 0.0, 1.0 / (1.0 - DISCOUNT))]),
}


@pytest.mark.slow
@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize(
    "engine", ["direct", "iterative", "semi-amortized", "gradient", "cross-entropy", "path integral"]
)
def test_every_engine_learns_what_every_probe_asks(probe, engine):
    """Values within 5 %, or 0.05, of the exact ones."""
    make, expected = PROBES[probe]
    # A value that is an eternity of rewards takes as many updates to grow.
    _, result = trained(make(), engine, num_steps=1600 if probe == "truncation" else 800)
    for seen, action, value in expected:
        # Away from what a policy does, little is seen.
        tolerance = 0.2 if value == -1.0 and probe == "action" else 0.05
        np.testing.assert_allclose(values(result.state, seen, action), value, rtol=0.05, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("returns", [NStep(3), Retrace(3)])
def test_longer_returns_learn_the_same_values(returns):
    _, result = trained(delay_probe(), "direct", returns, num_steps=800)
    np.testing.assert_allclose(values(result.state, 0.0, 0.0), DISCOUNT, atol=0.05)
    np.testing.assert_allclose(values(result.state, 1.0, 0.0), 1.0, atol=0.05)
    _, result = trained(truncation_probe(2), "direct", returns, num_steps=1600)
    np.testing.assert_allclose(values(result.state, 0.0, 0.0), 1.0 / (1.0 - DISCOUNT), rtol=0.05)


@pytest.mark.slow
def test_a_learned_prior_comes_to_expect_what_the_policy_does():
    """The divergence from it, which charges surprise alone, falls below that from the uniform one."""
    _, uniform = trained(aim_probe(), num_steps=800)
    _, learned = trained(aim_probe(), num_steps=800, learned_prior=True)
    assert learned.history.divergence_nats[-1] < 0.5 * uniform.history.divergence_nats[-1]
    temperature = DivergenceTarget(default_target(1))
    _, adapted = trained(aim_probe(), num_steps=800, temperature=temperature)
    assert adapted.history.temperature[-1] != 1.0


@pytest.mark.slow
def test_worlds_on_the_host_are_acted_in_from_compiled_code():
    """CartPole: choices instead of boxes, and episodes that are longer after learning than before."""
    worlds = gymnasium_worlds("CartPole-v1", 2)
    spec, size = worlds.action_spec, flat_size(worlds.observation_spec)
    family, keys = policy_family(spec), jax.random.split(jax.random.key(0))
    from homeostat.distributions import Enumeration
    from homeostat.objectives import SoftReturn

    engine = direct_policy(family, size, key=keys[0], width=64, bound=None)
    critics = dense_critics(size, 2, key=keys[1], width=64, discrete=True)
    learned = ActorCritic(engine, family, UniformPrior(spec), critics)
    adam, energy = optax.adam(3e-3), SoftReturn(Enumeration())
    temperature = DivergenceTarget(default_target(2, discrete=True))
    learner = SoftActorCritic(learned, temperature, adam, adam, objective=energy, value=energy, target_rate=0.02)
    loader = ActingLoader(worlds, learner, batch_size=64, capacity=10_000, warmup=500, updates_per_step=0.5)
    history = fit(learner, loader, num_steps=3_000, key=jax.random.key(1), every=500).history
    length = history.episode_steps / history.episodes
    assert length[-1] > 3.0 * length[0], length


def test_an_observation_of_parts_is_one_vector():
    spec = {"choice": Bounded((), 1, 3, True), "place": Bounded((2,)), "picture": Bounded((1, 2), 0, 255, True)}
    seen = {"choice": jnp.asarray(2), "place": jnp.array([5.0, -1.0]), "picture": jnp.array([[255, 0]], jnp.uint8)}
    np.testing.assert_allclose(flat_state(spec, seen), [0.0, 1.0, 0.0, 1.0, 0.0, 5.0, -1.0], atol=1e-6)
    assert flat_size(spec) == 7
    assert int(to_action(spec["choice"], jnp.asarray(2))) == 3
    assert to_action(Bounded((1, 2), -1.0, 1.0), jnp.zeros(2)).shape == (1, 2)


def test_numbers_that_do_not_fit_are_refused():
    worlds = FunctionalWorlds(aim_probe(), 4)
    learner = learner_for(worlds)
    with pytest.raises(BadInputError, match="whole number of updates"):
        ActingLoader(worlds, learner, updates_per_step=0.3)
    with pytest.raises(BadInputError, match="a buffer for the warm-up"):
        ActingLoader(worlds, learner, capacity=10)
    with pytest.raises(BadInputError, match="warm-up of at least"):
        ActingLoader(worlds, learner, warmup=0)
    with pytest.raises(BadInputError, match="discount between 0 and 1"):
        eqx.tree_at(lambda l: l.discount, learner, 1.5).__check_init__()
