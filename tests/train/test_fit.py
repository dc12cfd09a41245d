"""Training: right, resumable to the same bits, the best by validation, and clear about misuse."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from homeostat.core import AbstractLearner
from homeostat.results import BadInputError, CheckpointError
from homeostat.train import (
    AbstractLoader,
    AbstractLoopCallback,
    Checkpointer,
    FullBatch,
    InMemoryLoader,
    NoCallback,
    StreamingLoader,
    fit,
)
from tolerances import ALGEBRA


class Metrics(NamedTuple):
    total: jax.Array


class Seen(NamedTuple):
    counts: jax.Array
    batches: jax.Array


class Counter(AbstractLearner):
    """Counts how often each row was seen, and keeps the rows of every batch."""

    rows: int
    num_steps: int
    batch_size: int

    def init(self, *, key):
        return Seen(jnp.zeros(self.rows, int), jnp.zeros((0, self.batch_size), int))

    def update(self, state, batch, *, key):
        return state._replace(counts=state.counts.at[batch].add(1)), Metrics(jnp.sum(batch))


class Regression(AbstractLearner):
    """Adam on a small network, with a module and an optimiser in the state."""

    def init(self, *, key):
        net = eqx.nn.MLP(2, 1, 8, 1, key=key)
        return net, optax.adam(1e-2).init(eqx.filter(net, eqx.is_array))

    def update(self, state, batch, *, key):
        net, optimiser = state
        x, y = batch
        x = x + 0.01 * jax.random.normal(key, x.shape)
        loss, slope = eqx.filter_value_and_grad(lambda n: jnp.mean((jax.vmap(n)(x)[:, 0] - y) ** 2))(net)
        change, optimiser = optax.adam(1e-2).update(slope, optimiser)
        return (eqx.apply_updates(net, change), optimiser), Metrics(loss)


class Iterated(AbstractLearner):
    """A map of a state and the batch as a learner."""

    body: Callable
    start: object

    def init(self, *, key):
        return self.start

    def update(self, state, batch, *, key):
        return self.body(state, batch, key=key)


def noisy_walk(state, drift, *, key):
    state = 0.9 * state + drift + jax.random.normal(key)
    return state, Metrics(state)


def test_the_loop_is_the_one_to_be_written(key):
    start = jnp.ones(())
    result = fit(Iterated(noisy_walk, start), FullBatch(jnp.asarray(0.5)), num_steps=25, key=key, every=10)
    update_key = jax.random.split(key, 4)[2]
    state, values = start, []
    for step in range(25):
        state, metrics = noisy_walk(state, 0.5, key=jax.random.fold_in(update_key, step))
        values.append(metrics.total)
    np.testing.assert_allclose(result.state, state, rtol=ALGEBRA)
    means = [np.mean(values[:10]), np.mean(values[10:20]), np.mean(values[20:])]
    np.testing.assert_allclose(result.history.total, means, rtol=ALGEBRA)
    np.testing.assert_array_equal(result.steps, [10, 20, 25])
    assert (result.step, result.last_step, result.failure, result.out_of_patience) == (25, 25, None, False)
    assert start == 1.0  # the caller's array was not donated


# ------------------------------------------------------------------------------------------------------------- loaders


def counted(rows, batch_size, num_steps, key):
    return fit(
        Counter(rows, 0, batch_size), InMemoryLoader(np.arange(rows), batch_size), num_steps=num_steps, key=key, every=2
    )


@pytest.mark.parametrize("rows", [12, 14])
def test_every_epoch_is_a_permutation(key, rows):
    """In each pass over the data no row comes twice; if batches divide the data, rows come equally often."""
    per_epoch = rows // 4
    counts = counted(rows, 4, per_epoch, key).state.counts
    assert int(jnp.max(counts)) == 1
    assert int(jnp.sum(counts)) == per_epoch * 4
    three = counted(rows, 4, 3 * per_epoch, key).state.counts
    assert int(jnp.max(three)) <= 3
    if rows == 12:
        assert (np.asarray(three) == 3).all()


def test_epochs_differ(key):
    def order(num_steps):
        loader = InMemoryLoader(np.arange(100), 10)
        return fit(Counter(100, 0, 10), loader, num_steps=num_steps, key=key, every=1).history.total

    both = order(20)
    assert (both[:10] != both[10:]).any()
    np.testing.assert_array_equal(order(10), both[:10])


def regression_data(key):
    x = jax.random.normal(key, (50, 2))
    return x, x[:, 0] * x[:, 1]


def regression_loaders(key):
    """Rows on the device, and the same rows read on the host in the same order."""
    data = regression_data(key)
    order = lambda epoch: np.random.default_rng(epoch).permutation(50)  # noqa: E731

    def batches(epoch, start):
        for first in range(8 * start, 48, 8):
            yield jax.tree.map(lambda leaf: np.asarray(leaf)[order(epoch)[first : first + 8]], data)

    return InMemoryLoader(data, 8, order), StreamingLoader(batches, 6)


def test_rows_from_the_device_and_from_the_host_give_the_same_bits(key):
    held, streamed = (fit(Regression(), loader, num_steps=30, key=key, every=7) for loader in regression_loaders(key))
    assert eqx.tree_equal(held.state, streamed.state, typematch=True)
    assert eqx.tree_equal(held.history, streamed.history)


def test_batches_of_several_shapes(key):
    """The mean of a segment counts every update once, and a resumed loop reads on where it was."""
    sizes = (2, 3, 2, 2)
    loader = StreamingLoader(lambda epoch, start: (np.ones(size) for size in sizes[start:]), len(sizes))
    learner = Iterated(lambda state, batch, *, key: (state + jnp.sum(batch), Metrics(jnp.sum(batch))), jnp.zeros(()))
    result = fit(learner, loader, num_steps=7, key=key, every=3)
    np.testing.assert_allclose(result.history.total, [7 / 3, 7 / 3, 2.0], rtol=ALGEBRA)
    assert result.state == 16.0


class Memory(AbstractLoader):
    """Keeps the last five states of the learner; a checkpoint holds their number alone."""

    def init(self, *, key):
        return jnp.zeros(5), jnp.zeros((), int)

    @staticmethod
    def batch(arguments, read, state, learner_state, *, key):
        kept, count = state
        kept = kept.at[count % 5].set(learner_state)
        return jnp.sum(kept), (kept, count + 1)

    def persistent(self, state):
        return state[1]

    def restored(self, initial, persistent):
        return initial[0], persistent


# ------------------------------------------------------------------------------------------------- resume and validation


def stopping(path, after, reports):
    """Asks to stop after so many segments."""
    return Checkpointer(
        path, identity="me", seconds=1000, on_segment=reports.append, stop_requested=lambda: len(reports) == after
    )


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize("loader", [0, 1])
def test_a_stopped_fit_ends_in_the_same_bits(key, tmp_path, stop_after, loader):
    x, y = regression_data(key)

    def validate(state, key):
        prediction = jax.vmap(state[0])(x + 0.1 * jax.random.normal(key, x.shape))[:, 0]
        return float(jnp.mean((prediction - y) ** 2))

    def train(callback):
        return fit(
            Regression(),
            regression_loaders(key)[loader],
            num_steps=110,
            key=key,
            every=20,
            validate=validate,
            validate_every=40,
            callback=callback,
        )

    whole = train(NoCallback())
    reports = []
    with pytest.raises(KeyboardInterrupt):
        train(stopping(tmp_path / "loop", stop_after, reports))
    assert [report.step for report in reports] == [20 * i for i in range(1, stop_after + 1)]

    steps = []
    again = Checkpointer(tmp_path / "loop", identity="me", on_segment=lambda report: steps.append(report.step))
    resumed = train(again)
    assert steps == [step for step in (20, 40, 60, 80, 100, 110) if step > 20 * stop_after]
    assert eqx.tree_equal(resumed, whole, typematch=True)
    np.testing.assert_array_equal(whole.validation_steps, [40, 80, 110])
    assert float(whole.history.total[-1]) < float(whole.history.total[0])

    # Once finished, a loop is restored and not run.
    finished = Checkpointer(tmp_path / "loop", identity="me", on_segment=lambda report: pytest.fail("ran again"))
    assert eqx.tree_equal(train(finished), whole)

    with pytest.raises(CheckpointError, match="belongs to another run"):
        train(Checkpointer(tmp_path / "loop", identity="you"))


def falling_then_rising(state, batch, *, key):
    return state + 1.0, Metrics(state)


def parabola(state, key):
    return (float(state) - 6.0) ** 2


def test_the_best_by_validation_is_kept_until_patience_ends(key):
    start = Iterated(falling_then_rising, jnp.zeros(()))
    options = {"num_steps": 20, "key": key, "every": 2, "validate": parabola}
    patient = fit(start, FullBatch(), patience=3, **options)
    assert (patient.state, patient.step, patient.last_step, patient.out_of_patience) == (6.0, 6, 12, True)
    np.testing.assert_array_equal(patient.validation_steps, [2, 4, 6, 8, 10, 12])
    np.testing.assert_array_equal(patient.validation_nats, [16, 4, 0, 4, 16, 36])
    np.testing.assert_array_equal(patient.steps, [2, 4, 6, 8, 10, 12])
    assert len(patient.history.total) == 6
    whole = fit(start, FullBatch(), **options)
    assert (whole.state, whole.step, whole.last_step, whole.out_of_patience) == (6.0, 6, 20, False)


def test_validation_that_says_nothing_keeps_the_last_state(key):
    learner = Iterated(falling_then_rising, jnp.zeros(()))
    options = {"num_steps": 6, "key": key, "every": 1, "validate": lambda state, key: float("nan")}
    assert fit(learner, FullBatch(), **options).state == 6.0
    assert fit(learner, FullBatch(), patience=2, **options).last_step == 2


class Failure(NamedTuple):
    step: jax.Array


class Failing(NamedTuple):
    count: jax.Array
    failure: Failure


def test_training_ends_with_the_segment_of_a_failure(key):
    def body(state, batch, *, key):
        fails = (state.count == 5) & (state.failure.step < 0)
        failure = Failure(jnp.where(fails, state.count, state.failure.step))
        return Failing(jnp.where(failure.step >= 0, state.count, state.count + 1), failure), Metrics(jnp.zeros(()))

    start = Failing(jnp.zeros((), int), Failure(jnp.full((), -1)))
    reports = []
    result = fit(
        Iterated(body, start),
        FullBatch(),
        num_steps=40,
        key=key,
        every=4,
        validate=lambda state, key: 1.0,
        callback=Reports(reports),
    )
    assert (int(result.failure.step), result.last_step, result.step) == (5, 5, 4)
    assert [(report.step, report.num_steps) for report in reports] == [(4, 40), (8, 8)]


class Reports(AbstractLoopCallback):
    def __init__(self, reports):
        self.reports = reports

    def restore(self, like):
        return None

    def after_segment(self, report, checkpoint):
        self.reports.append(report)


def test_a_loader_with_a_state_that_checkpoints_do_not_hold(key, tmp_path):
    learner = Iterated(lambda state, batch, *, key: (state + 1.0, Metrics(batch)), jnp.zeros(()))
    options = {"num_steps": 7, "key": key, "every": 1}
    result = fit(learner, Memory(), **options)
    np.testing.assert_array_equal(result.history.total, [0, 1, 3, 6, 10, 15, 20])
    with pytest.raises(KeyboardInterrupt):
        fit(learner, Memory(), **options, callback=stopping(tmp_path / "c", 4, []))
    rest = fit(learner, Memory(), **options, callback=Checkpointer(tmp_path / "c", identity="me"))
    # States 0 to 3 are forgotten; the place of the next is not.
    np.testing.assert_array_equal(rest.history.total, [0, 1, 3, 6, 4, 9, 15])


def test_checkpoints_are_taken_when_due(key, tmp_path):
    def stored(seconds: float, name: str, short_loops_too: bool) -> bool:
        callback = Checkpointer(tmp_path / "new" / name, seconds=seconds, short_loops_too=short_loops_too)
        fit(Iterated(noisy_walk, jnp.ones(())), FullBatch(0.0), num_steps=4, key=key, every=2, callback=callback)
        return (tmp_path / "new" / name).exists()

    assert stored(0, "at once", False)
    assert not stored(1000, "never", False)
    assert stored(1000, "the end", True)


def test_one_compilation_for_all_full_segments(key):
    traces = []

    def body(state, batch, *, key):
        traces.append(1)
        return state + 1, Metrics(state)

    fit(Iterated(body, jnp.zeros(())), FullBatch(), num_steps=40, key=key, every=10)
    # Once for the shapes, once for the segment.
    assert len(traces) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_steps": 0}, "at least one step"),
        ({"every": 0}, "at least one step"),
        ({"learner": Iterated(lambda s, a, *, key: (s[None], Metrics(s)), jnp.zeros(()))}, "same arrays"),
        ({"learner": Iterated(lambda s, a, *, key: (s, Metrics(jnp.ones(2))), jnp.zeros(()))}, "scalar"),
        ({"loader": StreamingLoader(lambda epoch, start: iter(()), 1)}, "Expected 1 batches in every epoch"),
    ],
)
def test_misuse_of_fit(key, change, said):
    options = {"learner": Iterated(noisy_walk, jnp.zeros(())), "loader": FullBatch(0.0), "num_steps": 2, "every": 1}
    with pytest.raises(BadInputError, match=said):
        fit(**(options | change), key=key)


@pytest.mark.parametrize(
    ("data", "batch_size", "said"),
    [
        ((np.zeros(3), np.zeros(4)), 2, "one common number of rows"),
        ((np.zeros(3),), 4, "1 to 3 rows"),
        ((np.zeros(3),), 0, "1 to 3 rows"),
        ((np.zeros(3), 1.0), 2, "one common number of rows"),
    ],
)
def test_misuse_of_loaders(data, batch_size, said):
    with pytest.raises(BadInputError, match=said):
        InMemoryLoader(data, batch_size)
    with pytest.raises(BadInputError, match="at least one batch"):
        StreamingLoader(lambda epoch, start: iter(()), 0)


def test_numpy_arrays_keys_and_functions_in_the_state(key, tmp_path):
    """A state may carry keys of its own and modules with functions; both survive a checkpoint."""

    def body(state, batch, *, key):
        own, net, number = state
        own, used = jax.random.split(own)
        net = eqx.tree_at(lambda n: n.layers[0].bias, net, replace_fn=lambda b: b + jax.random.normal(used, b.shape))
        return (own, net, number + 1), Metrics(jnp.sum(net(jnp.ones(2))))

    start = (jax.random.key(1), eqx.nn.MLP(2, 1, 3, 1, activation=jax.nn.gelu, key=key), np.zeros(()))

    def train():
        callback = Checkpointer(tmp_path / "loop", seconds=0)
        return fit(Iterated(body, start), FullBatch(), num_steps=4, key=key, every=2, callback=callback).state

    result, again = train(), train()
    assert jax.random.key_data(again[0]).tolist() == jax.random.key_data(result[0]).tolist()
    assert eqx.tree_equal(again[1:], result[1:])
    assert again[1].activation is jax.nn.gelu
    assert isinstance(result[2], jax.Array)
