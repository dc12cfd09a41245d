"""The parts of the control experiments, on tasks whose answer is known."""

import itertools
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.core import PlanningContext
from homeostat.environments import DSprites, Fovea, PixelNoise
from homeostat.experiments.dsprites import _reaching as reaching, _searching as searching, control, epistemic
from homeostat.experiments.dsprites._interaction import LATTICE_EXPLORATION, Interaction
from homeostat.experiments.dsprites._learning import regress_online
from homeostat.experiments.dsprites._sprites import CLASS_STEP, in_classes, similarity_of, sprite_models
from homeostat.inference.filters import ParticleBelief
from homeostat.models.sequential import LinearDynamics
from homeostat.models.static import SpriteCoordinates
from homeostat.objectives import NestedMonteCarlo
from tolerances import ALGEBRA, AUTODIFF, FLOAT32

STEP = np.asarray(CLASS_STEP)


def test_dynamics_are_learned_from_noisy_interactions(key):
    """B is one class a move, A the identity, and the noise of inference ends up in L."""
    rng = np.random.default_rng(0)
    actions = rng.integers(-1, 2, (30, 12, 4))
    path = np.concatenate([np.zeros((30, 1, 4)), np.cumsum(actions[:, :-1], axis=1)], axis=1) * STEP
    locs = path + rng.standard_normal((30, 1, 4)) + 0.02 * STEP * rng.standard_normal(path.shape)
    data = Interaction(jnp.asarray(locs), jnp.zeros((30, 12, 4, 4)), jnp.asarray(actions[:, :-1], float), jnp.zeros(0))
    learned = regress_online(data).expected()
    matrix, gain, scale_tril = learned.matrix, learned.control, learned.scale_tril
    # 330 transitions with noise 0.02 sqrt(2) classes: a coefficient's standard error is 0.002 classes.
    np.testing.assert_allclose(gain / STEP[:, None], np.eye(4), atol=5 * 0.02 * 2**0.5 / (330 * 2 / 3) ** 0.5)
    np.testing.assert_allclose(matrix, np.eye(4), atol=0.01)
    assert np.all(np.asarray(jnp.diagonal(scale_tril)) < 0.1 * STEP)


def test_exploration_stays_inside_the_lattice():
    """Near an end the action turns around, so that no move is clipped."""
    for scale, x in itertools.product((0, 1, 5), (0, 31)):
        latents = jnp.array([0.0, scale, 7.0, x, 15.0])
        place = in_classes(SpriteCoordinates(), SpriteCoordinates().inverse(similarity_of(latents)))
        draw = eqx.filter_jit(jax.vmap(lambda k, z=place: LATTICE_EXPLORATION(z, jnp.zeros(4), key=k)))
        actions = draw(jr.split(jr.key(scale), 64))
        after = np.asarray(latents)[None, 1:] + np.asarray(actions)
        assert after[:, 0].min() >= 0 and after[:, 0].max() <= 5
        assert after[:, 2].min() >= 0 and after[:, 2].max() <= 31
        assert len(np.unique(np.asarray(actions)[:, 3])) == 3


def test_arrival_counts_the_first_time_and_settling_the_last():
    distance = np.array([[2, 1, 0, 1], [3, 2, 2, 2], [0, 1, 0, 0]])
    np.testing.assert_array_equal(reaching.arrival(distance), [2, np.inf, 0])
    at_goal = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]], bool)
    np.testing.assert_array_equal(searching.settled(at_goal), [3, np.inf, 0, 2])


def test_target_forgives_the_symmetry_of_the_shape():
    for shape, order in enumerate((4, 2, 1)):
        target = reaching.target(jnp.zeros(4), jnp.asarray(shape), 0.5)
        turned = jnp.array([0.0, 2.0 / order, 0.0, 0.0])
        np.testing.assert_allclose(target.log_prob(turned), target.log_prob(jnp.zeros(4)), atol=ALGEBRA)
        assert float(target.log_prob(0.5 * turned)) < float(target.log_prob(turned)) - 1.0


@pytest.fixture(scope="module")
def settings():
    """Two episodes near their goals, with perception replaced by the truth."""
    environment, coordinates = DSprites(), SpriteCoordinates()
    latents = jnp.array([[0, 2, 39, 10, 12], [2, 4, 5, 20, 9]], jnp.int32)
    goals = jnp.array([[0, 4, 2, 13, 12], [2, 1, 2, 18, 13]], jnp.int32)
    state = eqx.filter_jit(jax.vmap(lambda start, goal: environment.initial_at(start, goal, key=jr.key(0))))(
        latents, goals
    )
    locs = eqx.filter_jit(jax.vmap(lambda row: coordinates.inverse(similarity_of(row))))(latents)
    goal_locs = eqx.filter_jit(jax.vmap(lambda row: coordinates.inverse(similarity_of(row))))(goals)
    return reaching.PerceivedTask(state, latents[:, 0], locs, goal_locs)


def test_control_from_pixels_takes_a_shortest_path(settings, key):
    """With true dynamics every step counts down, across the seam of the ring and up to the square's symmetry."""
    dynamics = LinearDynamics(jnp.eye(4), jnp.diag(jnp.asarray(STEP)), 0.05 * jnp.diag(jnp.asarray(STEP)))
    episodes = reaching.play(
        partial(control.exhaustive_agent, control.Config()), sprite_models(), dynamics, settings, settings.goal_loc,
        filter_steps=3, tolerance=0.5, key=key,
    )  # fmt: skip
    distance = np.asarray(episodes.distance)
    for row in distance:
        expected = np.maximum(row[0] - np.arange(len(row)), 0)
        np.testing.assert_array_equal(row, expected)
    assert distance[:, 0].tolist() == [3, 4]
    assert reaching.pose_error(episodes).max() < 0.25
    # The noise of a pixel is the same everywhere: ambiguity is a constant, and the risk falls on the way.
    np.testing.assert_allclose(np.ptp(episodes.terms.ambiguity_nats), 0.0, atol=AUTODIFF)
    risk = np.asarray(episodes.terms.risk_nats)
    for row, shortest in zip(risk, distance[:, 0], strict=True):
        assert np.all(np.diff(row[:shortest]) < 0.0)


# ------------------------------------------------------------------------------------------------------------- the fovea


@pytest.fixture(scope="module")
def fields():
    return searching.receptive_fields()


def grid_belief(gaze):
    places = jnp.stack(jnp.meshgrid(jnp.arange(32.0), jnp.arange(32.0), indexing="ij"), -1).reshape(-1, 2)
    particles = jnp.concatenate([places, jnp.broadcast_to(jnp.asarray(gaze, float)[None], (1024, 2))], axis=1)
    return ParticleBelief(particles, jnp.full(1024, -jnp.log(1024.0)))


def test_the_model_of_the_fovea_is_the_world(fields, key):
    """Without noise, what the model predicts is what the retina shows, before and after a move."""
    world = searching.Retina(Fovea(PixelNoise(DSprites(), 0.0), window=16, stride=4))
    model = searching.GazeModel(fields, jnp.asarray(0.1))
    state = world.environment.initial_at([2, 0, 0, 17, 6], [2, 0, 0, 3, 3], key=key)
    hidden = jnp.array([17.0, 6.0, 6.0, 6.0])
    rng = np.random.default_rng(0)
    for _ in range(12):
        np.testing.assert_allclose(
            model.emission(hidden).base_dist.loc, world.observation(state, key=key), atol=FLOAT32
        )
        action = jnp.asarray(np.concatenate([[0, 0], rng.integers(-1, 2, 4)]), jnp.int32)
        state = world.transition(state, action, key=key)
        hidden = model.transition(hidden, action).sample(key)
        np.testing.assert_allclose(hidden[:2], state.world.latents[3:], atol=ALGEBRA)
        np.testing.assert_allclose(4.0 * hidden[2:], state.corner, atol=ALGEBRA)


def test_the_filter_is_bayes_rule_on_the_grid(fields, key):
    model = searching.GazeModel(fields, jnp.asarray(0.1))
    belief = grid_belief([5.0, 4.0])
    seen = model.emission(jnp.array([14.0, 9.0, 5.0, 4.0])).sample(key)
    posterior, info = searching.EXACT.update(model, belief, seen)
    views = np.asarray(fields)[:, :, 4:8, 5:9].reshape(1024, 16)
    log_likelihood = (
        -0.5 * ((np.asarray(seen).reshape(16) - views) / 0.1) ** 2 - np.log(0.1) - 0.5 * np.log(2 * np.pi)
    ).sum(1)
    evidence = np.mean(np.exp(log_likelihood))
    np.testing.assert_allclose(np.exp(posterior.log_weights), np.exp(log_likelihood) / 1024 / evidence, atol=FLOAT32)
    np.testing.assert_allclose(info.free_energy_nats, -np.log(evidence), rtol=FLOAT32)
    moved = searching.EXACT.predict(model, posterior, jnp.array([0, 0, 1, -1, 0, 1]), key=key)
    np.testing.assert_allclose(moved.log_weights, posterior.log_weights, atol=ALGEBRA)
    np.testing.assert_allclose(moved.particles[33], [2.0, 0.0, 5.0, 5.0], atol=ALGEBRA)


@pytest.mark.slow
def test_the_epistemic_term_moves_the_gaze_to_where_there_is_something_to_see(fields, key):
    """From an empty corner the informed agent looks inwards; without the term every gaze is as good as another."""
    model, belief = searching.GazeModel(fields, jnp.asarray(0.1)), grid_belief([0.0, 0.0])
    config, goal = epistemic.Config(num_outcomes=32), jnp.array([2, 0, 0, 25, 25], jnp.int32)

    def gaze_moves(weight):
        agent = epistemic.make_agent(config, goal, weight)
        act = jax.jit(
            jax.vmap(lambda k: agent.act(PlanningContext(model, searching.EXACT, belief), agent.init(), key=k)[0])
        )
        return act(jr.split(key, 12))

    curious, careless = gaze_moves(1.0), gaze_moves(0.0)
    # Imagined observations make a rough estimate, which need not be right every time; chance is a third.
    assert np.mean(np.asarray(curious.action)[:, 4:] == 1) > 0.7
    assert len(np.unique(np.asarray(careless.action)[:, 4:], axis=0)) > 3
    # Both move the sprite towards the goal as far as they can know.
    np.testing.assert_array_equal(curious.action[:, 2:4], 1)
    np.testing.assert_array_equal(careless.action[:, 2:4], 1)
    # With many imagined observations the estimate is sharp: the look further in is worth more.
    value = jax.jit(lambda belief: NestedMonteCarlo(512).information(model, belief, key=key).epistemic_nats)
    assert float(value(grid_belief([2.0, 2.0]))) > float(value(grid_belief([0.0, 0.0]))) + 0.2


def test_the_sweep_covers_every_place(fields):
    """A hand-made reference is only worth something if it sees every position of the sprite at some time."""
    gaze, seen = np.zeros(2, int), np.zeros((32, 32), bool)
    for move in epistemic.sweep(32):
        gaze = np.clip(gaze + move, 0, searching.GAZES - 1)
        view = np.asarray(fields)[:, :, gaze[1] : gaze[1] + 4, gaze[0] : gaze[0] + 4]
        seen |= view.sum((2, 3)) > 1.0
    assert seen.all()
