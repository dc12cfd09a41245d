"""What a fit learns about sequences before anything is computed, and a step of expectation maximisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.data import ContinuedSequences, FullLength, Sequences, sequence_batches, whole_batches
from homeostat.models.sequential import LEAST_NOISE
from homeostat.results import BadInputError
from homeostat.workflow import SequencesOptions, SequencesTask
from homeostat.workflow.sequences._describe import check_sequences, describe_sequences, sequence_format
from homeostat.workflow.sequences._inference import score_sequences

LINEAR = SequencesOptions(model="linear-gaussian", engine="exact", latents=2)
DEEP = SequencesOptions()


def walks(times=None, count=3, length=12, **more):
    values = np.cumsum(np.random.default_rng(0).normal(size=(count, length, 2)), axis=1)
    return Sequences(values, times=times, **more)


def described(sequences, config=DEEP):
    return describe_sequences(sequences, sequences, config)


def whole(sequences):
    """All sequences, in their order."""
    found = next(iter(whole_batches(sequences, FullLength((int(sequences.lengths.max()),)), len(sequences))))
    order = np.argsort(found.indices)
    parts = (None if part is None else part[order] if np.ndim(part) else part for part in found)
    return type(found)(*parts)


@pytest.mark.parametrize(
    ("times", "uneven", "unit"),
    [
        (np.round(np.arange(12) * 1000 / 30), False, 1000 / 30),  # 30 frames a second in milliseconds
        (1.7e9 + np.arange(12) * 0.1, False, 0.1),
        (np.arange(12) + 0.02 * (-1.0) ** np.arange(12), False, 1.0),
        (np.arange(12) + 0.2 * (-1.0) ** np.arange(12), True, 0.6),
        (np.delete(np.arange(13), 5), True, 1.0),  # a step that was left out
    ],
)
def test_rounded_times_are_even_and_gaps_are_not(times, uneven, unit):
    found = described(walks(times))
    assert found.timed and found.uneven == uneven
    np.testing.assert_allclose(found.time_unit, unit, rtol=0.02)


def test_durations_of_new_sequences_are_those_of_the_fit(tmp_path):
    found = described(walks(np.arange(12) * 0.5))
    check_sequences(walks(np.arange(12) * 0.51), found, of="the run")
    check_sequences(walks(), found, of="the run")
    with pytest.raises(BadInputError, match="duration 0.5, as the run was fitted to, got 1"):
        check_sequences(walks(np.arange(12.0)), found, of="the run")
    with pytest.raises(BadInputError, match="takes durations only if"):
        check_sequences(walks(np.arange(12) ** 1.5), found, of="the run")
    uneven = described(walks(np.arange(12) ** 1.5))
    check_sequences(walks(np.arange(12.0)), uneven, of="the run")
    with pytest.raises(BadInputError, match="Expected times"):
        check_sequences(walks(), uneven, of="the run")


def test_times_are_read_without_values(monkeypatch):
    sequences = walks(np.arange(12.0))
    monkeypatch.setattr(Sequences, "read", None)
    np.testing.assert_array_equal(sequences.select([2]).times(0), np.arange(12.0))
    assert walks().times(0) is None


@pytest.mark.parametrize("still", [3.5, 0.1, 5e6, np.nan])
@pytest.mark.parametrize("options", [LINEAR, DEEP])
def test_what_never_varies_is_left_out(options, still):
    values = np.random.default_rng(0).normal(size=(3, 5, 3))
    values[..., 1] = still
    sequences = Sequences(list(values), columns=("a", "still", "c"))
    found = described(sequences, options)
    assert found.event_shape == (2,)
    assert "still (" in found.scaling.constants(found.columns)
    batch = found.batch(whole(sequences))
    np.testing.assert_allclose(batch.observations.std(axis=(0, 1)), 1.0)
    restored = found.restore(batch.observations)
    expected = np.where(np.isnan(values), 0.0, values)
    np.testing.assert_allclose(restored, expected, rtol=1e-12)


def test_a_large_offset_is_no_constant():
    """5,000,000 plus numbers of unit scale, and 0.1 plus its last digit."""
    values = np.random.default_rng(0).normal(size=(3, 50, 1))
    near, far = described(Sequences(values), LINEAR), described(Sequences(values + 1.7e9), LINEAR)
    assert far.event_shape == (1,)
    np.testing.assert_allclose(far.scaling.scale, near.scaling.scale, rtol=1e-6)
    rounding = np.full((3, 50, 1), 0.3)
    rounding[0, 0] = 0.1 + 0.2
    with pytest.raises(BadInputError, match="Expected numbers that vary"):
        described(Sequences(rounding), LINEAR)


@pytest.mark.parametrize(("shift", "factor"), [(300.0, 1.0), (0.0, 1e-4), (1.7e9, 1e3)])
def test_known_inputs_are_scaled(shift, factor):
    generator = np.random.default_rng(0)
    values, actions = generator.normal(size=(3, 20, 1)), generator.normal(size=(3, 19, 2))
    moved = shift + factor * actions
    moved[..., 1] = 7.0
    expected = described(Sequences(values, actions=actions)).batch(whole(Sequences(values, actions=actions))).actions
    sequences = Sequences(values, actions=moved)
    found = described(sequences)
    assert found.action_dim == 1
    assert found.inputs.constants() == "entry 1 (7)"
    np.testing.assert_allclose(found.batch(whole(sequences)).actions[..., 0], expected[..., 0], atol=1e-6)


@pytest.mark.parametrize("number", [1, 3])
def test_the_ends_validate_where_there_are_few_sequences(number):
    sequences = Sequences(list(np.random.default_rng(0).normal(size=(number, 40, 1))))
    task = SequencesTask(SequencesOptions(model="linear-gaussian", engine="exact", latents=1))
    train, validation = task.split(sequences, 0)
    assert isinstance(validation, ContinuedSequences)
    assert (train.num_steps, validation.num_steps) == (36 * number, 4 * number)
    description = task.describe(sequences, train)
    system = task.build(description, key=jax.random.key(0))
    start = task.start(system)
    scores = [
        score_sequences(system, start.learned, part, key=jax.random.key(1)) for part in (sequences, train, validation)
    ]
    everything, before, after = (part.free_energy_nats for part in scores)
    np.testing.assert_allclose(after, everything - before, rtol=1e-5)
    assert scores[2].num_steps.tolist() == [4] * number
    nothing = SequencesTask(SequencesOptions(validation_fraction=0.0)).split(sequences, 0)
    assert [len(part) for part in nothing] == [number, 0]


def test_what_is_too_large_is_refused():
    with pytest.raises(BadInputError, match="32 bits can hold, up to 3.4e38, got 2e"):
        described(Sequences(1e300 * np.array([[[1.0], [2.0]]])))


def test_columns_go_by_their_names(tmp_path):
    from homeostat.data import open_sequences

    table = "sequence,time,a,b\nx,0,1.5,2\nx,1,3,4\n"
    (tmp_path / "one.csv").write_text(table)
    swapped = "b,sequence,more,a,time\n2,x,9,1.5,0\n4,x,9,3,1\n"
    (tmp_path / "other.csv").write_text(swapped)
    first = open_sequences(tmp_path / "one.csv", sequence_format(DEEP), cache=tmp_path)
    found = described(first)
    assert found.columns == first.select([0]).columns == ("a", "b")
    again = open_sequences(tmp_path / "other.csv", sequence_format(DEEP, found), cache=tmp_path)
    np.testing.assert_array_equal(again.read(0).values, first.read(0).values)
    with pytest.raises(BadInputError, match="a column for each entry"):
        Sequences(np.zeros((1, 2, 3)), columns=("a", "b"))


def test_the_unit_of_a_step_counts_what_was_observed():
    values = 10.0 * np.random.default_rng(0).normal(size=(1, 4, 2))
    values[0, 1, 0] = values[0, 2] = np.nan
    sequences = Sequences(values)
    found = described(sequences)
    log_scale = np.log(found.scaling.scale)
    # Three steps at which something was seen: twice both entries, once the second alone.
    np.testing.assert_allclose(found.mean_log_unit_nats(sequences), (2 * log_scale[0] + 3 * log_scale[1]) / 3)


@pytest.fixture(scope="module")
def learning():
    sequences = walks(count=4)
    observations = described(sequences, LINEAR)
    system = SequencesTask(LINEAR).build(observations, key=jax.random.key(0))
    padded = next(iter(sequence_batches(sequences, FullLength((12,)), 4, seed=0)))
    batch = jax.tree.map(jnp.asarray, observations.batch(padded))
    learner = system.learner()
    return learner, batch, jax.jit(lambda state, batch: learner.update(state, batch, key=jax.random.key(0)))


def test_expectation_maximisation_learns_the_emission_too(learning):
    learner, batch, update = learning
    state = learner.init(key=jax.random.key(0))
    energies = []
    for _ in range(4):
        state, metrics = update(state, batch)
        energies.append(float(metrics.free_energy_nats))
    assert np.all(np.diff(energies) < 0.0) and int(state.failure.step) == -1
    model, start = state.model, learner.model
    for name in ("emission_matrix", "emission_scale_tril", "emission_offset", "initial_scale_tril"):
        assert not np.allclose(getattr(model, name), getattr(start, name))


def test_noise_keeps_a_floor_and_failures_keep_the_model(learning):
    learner, batch, update = learning
    # A circle is explained without error by a state that turns.
    angle = 0.3 * jnp.arange(12.0)[None, :] + jnp.arange(4.0)[:, None]
    circle = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=2)
    state = learner.init(key=jax.random.key(0))
    for _ in range(12):
        state, _ = update(state, batch._replace(observations=circle))
    assert int(state.failure.step) == -1
    noise = jnp.sqrt(jnp.sum(state.model.emission_scale_tril**2, axis=1))
    assert bool(jnp.all(noise >= 0.99 * LEAST_NOISE * jnp.std(circle, axis=(0, 1))))
    moving = jnp.sqrt(jnp.sum(state.model.dynamics.scale_tril**2, axis=1))
    assert bool(jnp.all(moving >= 0.99 * LEAST_NOISE))
    before = learner.init(key=jax.random.key(0))
    broken = batch._replace(observations=batch.observations.at[0, 0, 0].set(jnp.inf))
    after, metrics = update(before, broken)
    assert int(after.failure.step) == 0 and not np.isfinite(metrics.free_energy_nats)
    for old, new in zip(jax.tree.leaves(before.model), jax.tree.leaves(after.model), strict=True):
        np.testing.assert_array_equal(old, new)
    later, _ = update(after, batch)
    assert int(later.failure.step) == 0 and int(later.step) == 2
