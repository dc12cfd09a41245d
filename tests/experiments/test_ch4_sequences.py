"""Parts of the experiments on music, speech and video: a given first step, clips, choice by validation, configurations."""

import itertools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from homeostat import viz
from homeostat.data import Sequences, SequenceSplits, SplitIndices
from homeostat.distributions import Cubature, FullGaussian
from homeostat.experiments import Registry
from homeostat.experiments.ch4 import cost, iterations, music, speech, video
from homeostat.experiments.ch4._clips import (
    Clips,
    Portion,
    as_grey,
    as_real,
    independent_notes_nats,
    independent_values_nats,
    recordings,
)
from homeostat.experiments.ch4._contest import (
    Amortized,
    Contender,
    KeepBest,
    Score,
    Standing,
    Update,
    contenders,
    even_batch,
    stage_name,
)
from homeostat.experiments.ch4._primed import ConditionedOnFirst, primed, scored_steps
from homeostat.inference import FilteringDescent, ModelWithFilter, filter
from homeostat.inference.engines import NaturalGradient, ScaledGradient
from homeostat.inference.filters import SampledHistories, VariationalFilter, srnn_filter
from homeostat.models.sequential import (
    SRNN_MUSIC,
    SRNN_SPEECH,
    SVG_KTH,
    VRNN_SPEECH,
    SRNNSizes,
    music_density,
    speech_density,
    srnn,
    video_density,
)
from homeostat.models.static import Bernoulli
from problems import remembering
from tolerances import ALGEBRA, AUTODIFF

EXPERIMENTS = {"music": music, "speech": speech, "video": video, "iterations": iterations, "cost": cost}
SIZES = SRNNSizes(2, 3, 3, 1, 1)
NOTES = Bernoulli((4,))


def tiny(*, key):
    return srnn(NOTES, SIZES, key=key)


@pytest.fixture(scope="module")
def learned():
    model = tiny(key=jr.key(1))
    return ModelWithFilter(ConditionedOnFirst(model), srnn_filter(model, SIZES, key=jr.key(2)))


def splits_of(parts):
    sequences = [Sequences(part, name=f"part {index}") for index, part in enumerate(parts)]
    bounds = np.cumsum([0, *map(len, parts)])
    return SequenceSplits("made", *sequences, SplitIndices(*(np.arange(*bounds[i : i + 2]) for i in range(3))))


@pytest.fixture(scope="module")
def data():
    """Steps that say where they come from: sequence s, step t is 10 s + t in every entry."""
    lengths = ((7, 3, 5, 6), (5, 8), (9, 4, 4, 2))
    parts = [
        [
            np.full((length, 4), 10 * s, np.uint8) + np.arange(length, dtype=np.uint8)[:, None]
            for s, length in enumerate(each)
        ]
        for each in lengths
    ]
    return recordings(splits_of(parts), Portion(4, num_groups=2), as_real, NOTES)


# --------------------------------------------------------------------------------------------------- a given first step


def test_the_first_step_moves_the_memory_and_is_not_scored(learned, key):
    rolls = (jr.uniform(jr.key(3), (2, 4, 4)) < 0.5).astype(jnp.result_type(float))
    batch = primed(rolls, jnp.asarray([4, 3]))
    run = eqx.filter_jit(
        lambda values, actions: filter(learned.filter, learned.model, values, actions, key=key, mask=batch.mask[0])
    )
    found = run(rolls[0], jax.tree.map(lambda leaf: leaf[0], batch.actions))
    energies = found.info.free_energy_nats
    assert energies[0] == 0.0 and jnp.all(energies[1:] != 0.0)
    model = learned.model.model
    expected = model.memory(rolls[0, 0], model.memory.init())[1].top
    got = found.predictions.past.carry.memory.hidden[1, 0, -1]
    np.testing.assert_allclose(got, expected, rtol=ALGEBRA)
    # Afterwards what was observed is remembered, not what was given.
    second = model.memory(rolls[0, 1], model.memory(rolls[0, 0], model.memory.init())[1])[1].top
    np.testing.assert_allclose(found.predictions.past.carry.memory.hidden[2, 0, -1], second, rtol=ALGEBRA)
    np.testing.assert_array_equal(scored_steps(batch.lengths), [3.0, 2.0])


# -------------------------------------------------------------------------------------------------------------- clips


def test_clips_are_pieces_of_their_sequences(data):
    assert data.train.values.shape == (3, 7, 4) and list(data.train.lengths) == [7, 5, 6]
    starts = set()
    for seed in range(40):
        batch = data.prepare(Clips(*map(jnp.asarray, data.train)), key=jr.key(seed))
        values = np.asarray(batch.observations)
        assert values.shape == (3, 4, 4) and not bool(jnp.any(batch.mask[:, 0])) and bool(jnp.all(batch.mask[:, 1:]))
        np.testing.assert_array_equal(np.diff(values, axis=1), 1.0)
        np.testing.assert_array_equal(values[:, 0] // 10, np.array([0, 2, 3])[:, None] * np.ones((1, 4)))
        starts |= set(values[0, 0, :1] % 10)
    assert starts == {0.0, 1.0, 2.0, 3.0}


def test_validation_clips_and_test_groups_hold_every_sequence(data):
    np.testing.assert_array_equal(data.validation.values[:, :, 0], [[0, 1, 2, 3], [10, 11, 12, 13], [14, 15, 16, 17]])
    lengths = np.concatenate([group.lengths for group in data.test])
    assert sorted(lengths) == [2, 4, 4, 9]
    assert [group.values.shape[1] for group in data.test] == [4, 9]


def test_short_recordings_stay_where_most_are_short():
    generator = np.random.default_rng(0)
    parts = [[generator.standard_normal((length, 3)) for length in (3, 4, 9)] for _ in range(3)]
    made = recordings(splits_of(parts), Portion(6, 2, 2, 2), as_real, speech_density(3, 0.01))
    assert list(made.train.lengths) == [3, 4] and made.train.values.shape == (2, 6, 3)
    batch = made.prepare(Clips(*map(jnp.asarray, made.train)), key=jr.key(0))
    assert list(batch.lengths) == [3, 4]
    np.testing.assert_array_equal(batch.observations[0, :3], parts[0][0].astype(np.float32))
    assert list(made.validation.lengths) == [3, 4]


def test_scores_without_memory_are_those_of_independent_entries():
    rolls = [np.array([[1, 0], [1, 0], [0, 0]], np.uint8), np.array([[0, 0], [1, 0]], np.uint8)]
    notes = recordings(splits_of([rolls[:1], rolls[:1], rolls]), Portion(2, num_groups=1), as_real, Bernoulli((2,)))
    frequency = np.array([3.0, 1.0]) / 5.0
    steps = np.array([[1, 0], [0, 0], [1, 0]])
    expected = -np.mean(np.sum(np.log(np.where(steps, frequency, 1.0 - frequency)), axis=1))
    assert independent_notes_nats(notes) == pytest.approx(expected)
    values = np.round(np.random.default_rng(1).standard_normal((400, 3)) / 0.01) * 0.01
    wave = recordings(splits_of([[values]] * 3), Portion(4, num_groups=1), as_real, speech_density(3, 0.01))
    entropy = 1.5 * np.log(2.0 * np.pi * np.e * values.var(axis=0).mean()) - 3.0 * np.log(0.01)
    assert independent_values_nats(wave) == pytest.approx(entropy, abs=0.05)
    frames = video.bouncing_squares(3, 4)
    grey = recordings(
        splits_of([frames[:1], frames[:1], frames]), Portion(2, num_groups=1), as_grey, video_density(16, 16)
    )
    assert 0.0 < independent_values_nats(grey) / 256.0 < np.log(256.0)


# ----------------------------------------------------------------------------------------------------------- training


@pytest.mark.slow
def test_the_best_by_validation_is_kept(learned, data, key):
    rolls = data.sequences(Clips(data.validation.values % 2, data.validation.lengths))

    # A rate so large that later numbers are worse than earlier ones.
    learner = FilteringDescent(learned, optax.sgd(5.0), detach=lambda x: x, prepare=lambda batch, *, key: rolls)
    keeper = KeepBest(learner, rolls, 2)
    update = eqx.filter_jit(keeper.update)
    batch = Clips(*map(jnp.asarray, data.train))
    state = eqx.filter_jit(keeper.init)(key=key)
    assert state.validation_nats == jnp.inf
    seen, best = [], []
    for step in range(6):
        state, _ = update(state, batch, key=jr.fold_in(key, step))
        best.append(float(state.validation_nats))
        seen.append(state.inner.learned)
    assert best[0] == np.inf
    looks = best[1::2]
    assert np.isfinite(looks).all() and looks == sorted(looks, reverse=True) and best[2::2] == looks[:-1]
    place = 2 * looks.index(looks[-1]) + 1
    assert eqx.tree_equal(state.learned, seen[place])
    assert int(state.failure.step) == -1


def test_batches_leave_no_rest_where_they_can():
    assert [even_batch(*pair) for pair in ((150, 128), (20, 8), (7, 8), (11, 4), (40, 32))] == [75, 5, 7, 4, 20]


def test_contenders_share_the_model_and_differ_in_the_filter(key):
    every = contenders(
        lambda model, *, key: srnn_filter(model, SIZES, key=key), Amortized(4, 1, Update.learned_sgd), (1, 2), 8
    )
    assert [each.name for each in every] == ["baseline", "AVF, 1 iteration", "AVF, 2 iterations"]
    assert [each.published for each in every] == [True, False, False]
    model = eqx.filter_jit(tiny)(key=key)
    learned_sgd = every[2].filter(model, key=key)
    assert learned_sgd.num_steps == 2
    assert (
        isinstance(learned_sgd.engine.update, ScaledGradient) and float(learned_sgd.engine.update.factor) == 1.0 / 8.0
    )
    gated = Amortized(4, 1, reads_observation=True).build(model, 1, 8, key=key)
    assert gated.engine.network.projection.weight.shape == (4, 4 * 2 + 4)


def test_standings_weigh_steps_or_sequences(learned):
    score = Score(np.array([[10.0, 90.0]]), np.array([[10.0, 30.0]]), np.array([2.0]))
    standing = Standing(Contender("baseline", 0, srnn_filter), score, 1, learned)
    np.testing.assert_allclose(standing.nats, [2.5])
    np.testing.assert_allclose(standing.nats_of_sequences, [2.0])


# --------------------------------------------------------------------------------------------------------- iterations


@pytest.mark.slow
def test_energies_along_iterations_end_where_inference_ends(key):
    """One natural-gradient step is exact where the step is linear and Gaussian, so that a second changes nothing."""
    method = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(2), 2, Cubature(), SampledHistories(1))
    values = jr.normal(jr.key(4), (3, 4, 2))
    model = remembering()
    clips = primed(values, jnp.asarray([4, 4, 3]))
    path = iterations.energy_path(ModelWithFilter(ConditionedOnFirst(model), method), clips, key=key)
    assert path.shape == (3,)
    assert path[1] < path[0]
    np.testing.assert_allclose(path[2], path[1], rtol=AUTODIFF)
    np.testing.assert_allclose(iterations.improvement(np.array([4.0, 3.0, 2.0])), [0.0, 25.0, 50.0])


# ---------------------------------------------------------------------------------------------------------- sequences


def test_generated_sequences_are_what_they_say():
    songs = music.generated_music(8)
    assert songs.train.shape == (88,) and len(songs.test) == 2
    steps = songs.train.read(0).values
    assert set(np.unique(steps)) == {0, 1} and steps.sum(axis=1).min() >= 3
    sounds = speech.generated_speech(8, 50)
    scale = float(sounds.standardization.scale)
    stored = sounds.standardization.restore(sounds.train.read(0).values) * 32768.0
    np.testing.assert_allclose(stored, np.round(stored), atol=0.05)
    made = speech.digitised(sounds, Portion(6, num_groups=1), (-10.0, 15.0))
    assert made.density.bin_width == pytest.approx(1.0 / (32768.0 * scale))
    squares = video.bouncing_squares(2, 6)
    np.testing.assert_array_equal((squares == 200).sum(axis=(2, 3)), 16)
    assert np.any(squares[0, 0] != squares[0, 1])
    config = replace(video.Config.for_scale("smoke"), averaging=2)
    averaged = video.load(config, video.Video.squares)
    assert averaged.train.shape == (8, 8)
    whole = video.load(replace(config, averaging=1), video.Video.squares)
    first, second = (splits.test.read(0).values.astype(float) for splits in (averaged, whole))
    np.testing.assert_allclose(first.mean(axis=(1, 2)), second.mean(axis=(1, 2)), atol=0.5)


@pytest.mark.slow
def test_sprites_move(key):
    frames = video.moving_sprites(2, 6, key=key)
    assert frames.shape == (2, 6, 64, 64) and set(np.unique(frames)) == {0, 255}
    for sequence in frames:
        assert all(np.any(a != b) for a, b in itertools.pairwise(sequence[1:]))


def test_pictures_have_a_panel_for_each_moment():
    rolls = [np.eye(5), 0.5 * np.eye(5), np.zeros((5, 5))]
    assert len(viz.plot_prediction_update_rolls(*rolls).axes) == 3
    assert len(viz.plot_prediction_update_waves(*rolls).axes) == 3
    left, right = viz.plot_iterations([1, 2], np.array([3.0, 2.0]), np.array([np.nan, 0.1]), np.array([0.0, 5.0])).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["1", "2"]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.0, 5.0])


# ------------------------------------------------------------------------------------------------------ configurations


def test_the_scale_of_the_thesis_has_its_sizes():
    assert music.Config.for_scale("paper").sizes.sizes() == SRNN_MUSIC
    paper = speech.Config.for_scale("paper")
    assert paper.srnn.sizes() == SRNN_SPEECH and paper.vrnn.sizes() == VRNN_SPEECH
    assert cost.Config.for_scale("paper").sizes.sizes() == SRNN_SPEECH
    assert video.Sizes().sizes() == SVG_KTH
    assert paper.vrnn_amortized.update is Update.learned_sgd
    contest = music.prepare(music.Config.for_scale("smoke"), music.Music.generated)
    epochs = music.prepare(replace(music.Config.for_scale("smoke"), epochs=3), music.Music.generated)
    assert contest.training.num_steps == 120 and epochs.training.num_steps == 9
    assert contest.data.density == music_density()
    names = [stage_name(contest, each, 0) for each in contest.contenders]
    assert names == ["generated-baseline-0", "generated-AVF-1-iteration-0"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_scale_has_its_configuration_and_its_claims(name):
    registry = Registry()
    (summary,) = registry.find(f"ch4/{name}")
    loaded = registry.load(summary)
    assert all(claim.id.startswith(f"{name}/") for claim in loaded.claims)
    assert loaded.asserted("small") and loaded.asserted("paper")
    smoke, small, paper = (loaded.config.for_scale(scale) for scale in ("smoke", "small", "paper"))
    assert smoke != small != paper
    assert summary.minutes.smoke < summary.minutes.small < summary.minutes.paper


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke_runs_keep_their_claims(name, tmp_path):
    from homeostat.cli import main

    assert main(["run", f"ch4/{name}", "--scale", "smoke", "--out", str(tmp_path / "run")]) == 0


def test_turns_are_taken_in_order():
    calls, advanced = [], []
    functions = [lambda name=name: calls.append(name) for name in "ab"]
    seconds = cost.take_turns(functions, 2, lambda: advanced.append(1))
    assert seconds.shape == (2, 2) and np.all(seconds >= 0.0)
    assert calls == list("ababab") and len(advanced) == 6


def test_the_tasks_of_the_cost_are_counted():
    config = cost.Config.for_scale("smoke")
    every = cost.tasks(config, key=jr.key(0))
    assert len(every) == 5 and all(callable(each.run) for each in every)
    dim, memory, width = config.sizes.dim, config.sizes.memory_width, config.sizes.width
    assert every[0].weights == width * (200 + memory + 1) + 2 * dim * (width + 1) == every[1].weights
