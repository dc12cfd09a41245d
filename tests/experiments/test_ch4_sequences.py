"""Parts of the experiments on music, speech and video: tasks, methods, choice by validation, configurations."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat import viz
from homeostat.data import Clips, Sequences, SequenceSplits, SplitIndices, sequence_arrays
from homeostat.distributions import Cubature, FullGaussian
from homeostat.experiments import Registry
from homeostat.experiments.ch4 import cost, iterations, music, speech, video
from homeostat.experiments.kit import (
    Method,
    Reporting,
    Result,
    SequenceTask,
    SequenceTraining,
    Training,
    Update,
    UpdateNetwork,
    filtering_methods,
    nats_per_step,
    stage_name,
)
from homeostat.experiments.kit._sequences import SequenceScores, even_batch, nats_per_step_of_sequences
from homeostat.inference import ModelWithFilter, condition_on_first, filtering_descent
from homeostat.inference.engines import NaturalGradient, ScaledGradient
from homeostat.inference.filters import SampledHistories, VariationalFilter, srnn_filter
from homeostat.models.sequential import (
    SRNN_MUSIC,
    SRNN_SPEECH,
    SVG_KTH,
    VRNN_SPEECH,
    ConditionedOnFirst,
    SRNNSizes,
    music_density,
    srnn,
)
from homeostat.models.static import Bernoulli
from problems import remembering
from tolerances import AUTODIFF

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
def task():
    """Steps that say where they come from: sequence s, step t is 10 s + t in every entry."""
    lengths = ((7, 3, 5, 6), (5, 8), (9, 4, 4, 2))
    parts = [
        [
            np.full((length, 4), 10 * s, np.uint8) + np.arange(length, dtype=np.uint8)[:, None]
            for s, length in enumerate(each)
        ]
        for each in lengths
    ]
    return SequenceTask("made", sequence_arrays(splits_of(parts), 4, num_groups=2), tiny, NOTES)


# --------------------------------------------------------------------------------------------------------------- data


def test_batches_are_crops_of_training_sequences_after_a_given_step(task):
    starts = set()
    crops = eqx.filter_jit(task.crops)
    for seed in range(40):
        batch = crops(Clips(*map(jnp.asarray, task.data.train)), key=jr.key(seed))
        values = np.asarray(batch.observations)
        assert values.shape == (3, 4, 4) and not bool(jnp.any(batch.mask[:, 0])) and bool(jnp.all(batch.mask[:, 1:]))
        np.testing.assert_array_equal(np.diff(values, axis=1), 1.0)
        np.testing.assert_array_equal(values[:, 0] // 10, np.array([0, 2, 3])[:, None] * np.ones((1, 4)))
        starts |= set(values[0, 0, :1] % 10)
    assert starts == {0.0, 1.0, 2.0, 3.0}
    train, test = task.steps()
    assert train.shape == (7 + 5 + 6, 4) and sorted(test[:, 0].tolist())[:3] == [1.0, 2.0, 3.0]


# ----------------------------------------------------------------------------------------------------------- training


def test_batches_leave_no_rest_where_they_can():
    assert [even_batch(*pair) for pair in ((150, 128), (20, 8), (7, 8), (11, 4), (40, 32))] == [75, 5, 7, 4, 20]


def test_methods_share_the_model_and_differ_in_the_filter(task, key):
    every = filtering_methods(
        task, lambda model, *, key: srnn_filter(model, SIZES, key=key), UpdateNetwork(4, 1, Update.learned_sgd), (1, 2),
        SequenceTraining(batch_size=8), Reporting(),
    )  # fmt: skip
    assert [each.name for each in every] == ["baseline", "AVF, 1 iteration", "AVF, 2 iterations"]
    own, _, two = (eqx.filter_jit(each.build)(key=key) for each in every)
    assert eqx.tree_equal(own.model, two.model)
    assert two.filter.num_steps == 2 and isinstance(two.filter.engine.update, ScaledGradient)
    assert float(two.filter.engine.update.factor) == 1.0 / 8.0
    assert every[0].learner(own).problem.online is None and every[2].learner(two).problem.online is not None
    gated = UpdateNetwork(4, 1, reads_observation=True).filter(own.model.model, 1, 8, key=key)
    assert gated.engine.network.projection.weight.shape == (4, 4 * 2 + 4)


def test_results_weigh_steps_or_sequences():
    scores = SequenceScores(np.array([[10.0, 90.0]]), np.array([[10, 30]]), np.array([2.0]))
    result = Result(Method("baseline", srnn_filter, filtering_descent, Training()), scores, 1, ())
    np.testing.assert_allclose(nats_per_step(result), [2.5])
    np.testing.assert_allclose(nats_per_step_of_sequences(result), [2.0])


# --------------------------------------------------------------------------------------------------------- iterations


@pytest.mark.slow
def test_energies_along_iterations_end_where_inference_ends(key):
    """One natural-gradient step is exact where the step is linear and Gaussian, so that a second changes nothing."""
    method = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(2), 2, Cubature(), SampledHistories(1))
    values = jr.normal(jr.key(4), (3, 4, 2))
    model = remembering()
    clips = condition_on_first(values, jnp.asarray([4, 4, 3]))
    path = iterations.energy_path(ModelWithFilter(ConditionedOnFirst(model), method), clips, key=key)
    assert path.shape == (3,)
    assert path[1] < path[0]
    np.testing.assert_allclose(path[2], path[1], rtol=AUTODIFF)
    np.testing.assert_allclose(iterations.improvement(np.array([4.0, 3.0, 2.0])), [0.0, 25.0, 50.0])


def test_speech_has_the_bins_of_its_16_bit_numbers():
    splits = speech.load(speech.Speech.generated)
    of, _ = speech.prepare(speech.Config.for_scale("smoke"), "SRNN", splits)
    assert of.density.bin_width == pytest.approx(1.0 / (32768.0 * float(splits.standardization.scale)))


# ------------------------------------------------------------------------------------------------------------ pictures


def test_pictures_have_a_panel_for_each_moment():
    rolls = [np.eye(5), 0.5 * np.eye(5), np.zeros((5, 5))]
    assert len(viz.plot_prediction_update_rolls(*rolls).axes) == 3
    assert len(viz.plot_prediction_update_waves(*rolls).axes) == 3
    left, right = viz.plot_iterations([1, 2], np.array([3.0, 2.0]), np.array([np.nan, 0.1]), np.array([0.0, 5.0])).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["1", "2"]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.0, 5.0])


# ------------------------------------------------------------------------------------------------------ configurations


def test_the_scale_of_the_thesis_has_its_sizes():
    assert music.Config.for_scale("paper").sizes == SRNN_MUSIC
    paper = speech.Config.for_scale("paper")
    assert paper.srnn == SRNN_SPEECH and paper.vrnn == VRNN_SPEECH
    assert cost.Config.for_scale("paper").sizes == SRNN_SPEECH
    assert video.Config.for_scale("paper").sizes == SVG_KTH
    assert paper.vrnn_amortized.update is Update.learned_sgd
    config = music.Config.for_scale("smoke")
    of, every = music.prepare(config, music.Music.generated)
    _, epochs = music.prepare(replace(config, epochs=3), music.Music.generated)
    assert every[0].training.num_steps == 300 and epochs[0].training.num_steps == 9
    assert of.density == music_density()
    names = [stage_name(of.name, each.name, 0) for each in every]
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


def test_the_tasks_of_the_cost_are_counted():
    config = cost.Config.for_scale("smoke")
    every = cost.tasks(config, key=jr.key(0))
    assert len(every) == 5 and all(callable(each.run) for each in every)
    dim, memory, width = config.sizes.dim, config.sizes.memory_width, config.sizes.width
    assert every[0].weights == width * (200 + memory + 1) + 2 * dim * (width + 1) == every[1].weights
