"""Loops and training: right, resumable to the same bits, and clear about misuse."""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from homeostat.core import AbstractLearner
from homeostat.results import BadInputError, CheckpointError
from homeostat.train import CheckpointKeeper, fit, run_loop
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


def noisy_walk(state, args, *, key):
    state = 0.9 * state + args + jax.random.normal(key)
    return state, Metrics(state)


def test_a_loop_is_the_loop_one_would_write(key):
    start, drift = jnp.ones(()), jnp.asarray(0.5)
    result = run_loop(noisy_walk, start, num_steps=25, key=key, every=10, args=drift)
    state, values = start, []
    for step in range(25):
        state, metrics = noisy_walk(state, drift, key=jax.random.fold_in(key, step))
        values.append(metrics.total)
    np.testing.assert_allclose(result.state, state, rtol=ALGEBRA)
    means = [np.mean(values[:10]), np.mean(values[10:20]), np.mean(values[20:])]
    np.testing.assert_allclose(result.history.total, means, rtol=ALGEBRA)
    np.testing.assert_array_equal(result.steps, [10, 20, 25])
    assert start == 1.0  # the caller's array was not donated


@pytest.mark.parametrize("rows", [12, 14])
def test_every_epoch_is_a_permutation(key, rows):
    """In each pass over the data no row comes twice; if batches divide the data, rows come equally often."""
    batch_size, per_epoch = 4, rows // 4
    result = fit(
        Counter(rows, 0, batch_size), np.arange(rows), num_steps=per_epoch, batch_size=batch_size, key=key, every=2
    )
    assert int(jnp.max(result.state.counts)) == 1
    assert int(jnp.sum(result.state.counts)) == per_epoch * batch_size
    three = fit(
        Counter(rows, 0, batch_size), np.arange(rows), num_steps=3 * per_epoch, batch_size=batch_size, key=key, every=2
    )
    assert int(jnp.max(three.state.counts)) <= 3
    if rows == 12:
        assert (np.asarray(three.state.counts) == 3).all()


def test_epochs_differ(key):
    rows = 100

    def order(num_steps):
        totals = fit(
            Counter(rows, 0, 10), np.arange(rows), num_steps=num_steps, batch_size=10, key=key, every=1
        ).history
        return totals.total

    both = order(20)
    assert (both[:10] != both[10:]).any()
    np.testing.assert_array_equal(order(10), both[:10])


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_stopped_fit_ends_in_the_same_bits(key, tmp_path, stop_after):
    x = jax.random.normal(key, (50, 2))
    data = (x, x[:, 0] * x[:, 1])
    options = {"num_steps": 110, "batch_size": 8, "key": key, "every": 20}
    whole = fit(Regression(), data, **options)

    reports = []
    stopping = CheckpointKeeper(
        tmp_path / "loop",
        identity="me",
        seconds=1000,
        on_segment=reports.append,
        stop_requested=lambda: len(reports) == stop_after,
    )
    with pytest.raises(KeyboardInterrupt):
        fit(Regression(), data, **options, keeper=stopping)
    assert [report.step for report in reports] == [20 * i for i in range(1, stop_after + 1)]

    steps = []
    again = CheckpointKeeper(tmp_path / "loop", identity="me", on_segment=lambda report: steps.append(report.step))
    resumed = fit(Regression(), data, **options, keeper=again)
    assert steps == [step for step in (20, 40, 60, 80, 100, 110) if step > 20 * stop_after]
    assert eqx.tree_equal(resumed.state, whole.state, typematch=True)
    assert eqx.tree_equal(resumed.history, whole.history)
    assert float(whole.history.total[-1]) < float(whole.history.total[0])

    # Once finished, a loop is restored and not run.
    finished = CheckpointKeeper(tmp_path / "loop", identity="me", on_segment=lambda report: pytest.fail("ran again"))
    assert eqx.tree_equal(fit(Regression(), data, **options, keeper=finished).state, whole.state)

    with pytest.raises(CheckpointError, match="belongs to another run"):
        fit(Regression(), data, **options, keeper=CheckpointKeeper(tmp_path / "loop", identity="you"))


def test_checkpoints_are_taken_when_due(key, tmp_path):
    def stored(seconds: float, name: str, short_loops_too: bool) -> bool:
        keeper = CheckpointKeeper(tmp_path / name, seconds=seconds, short_loops_too=short_loops_too)
        run_loop(noisy_walk, jnp.ones(()), num_steps=4, key=key, every=2, args=0.0, keeper=keeper)
        return (tmp_path / name).exists()

    assert stored(0, "at once", False)
    assert not stored(1000, "never", False)
    assert stored(1000, "the end", True)


def test_one_compilation_for_all_full_segments(key):
    traces = []

    def body(state, args, *, key):
        traces.append(1)
        return state + 1, Metrics(state)

    run_loop(body, jnp.zeros(()), num_steps=40, key=key, every=10)
    # Once for the shapes, once for the segment.
    assert len(traces) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_steps": 0}, "at least one step"),
        ({"every": 0}, "at least one step"),
        ({"body": lambda s, a, *, key: (s[None], Metrics(s))}, "same arrays"),
        ({"body": lambda s, a, *, key: (s, Metrics(jnp.ones(2)))}, "scalar"),
    ],
)
def test_misuse_of_a_loop(key, change, said):
    options = {"body": noisy_walk, "state": jnp.zeros(()), "num_steps": 2, "every": 1, "args": 0.0} | change
    with pytest.raises(BadInputError, match=said):
        run_loop(options.pop("body"), options.pop("state"), key=key, **options)


@pytest.mark.parametrize(
    ("data", "batch_size", "said"),
    [
        ((np.zeros(3), np.zeros(4)), 2, "one common number of rows"),
        ((np.zeros(3),), 4, "1 to 3 rows"),
        ((np.zeros(3),), 0, "1 to 3 rows"),
        ((np.zeros(3), 1.0), 2, "one common number of rows"),
    ],
)
def test_misuse_of_fit(key, data, batch_size, said):
    with pytest.raises(BadInputError, match=said):
        fit(Regression(), data, num_steps=2, batch_size=batch_size, key=key)


def test_state_of_numpy_arrays_and_missing_folders(key, tmp_path):
    keeper = CheckpointKeeper(Path(tmp_path / "a" / "b" / "loop"), seconds=0)
    result = run_loop(noisy_walk, np.zeros(()), num_steps=2, key=key, every=1, args=0.0, keeper=keeper)
    assert isinstance(result.state, jax.Array)


def test_keys_and_functions_in_the_state(key, tmp_path):
    """A state may carry keys of its own and modules with functions; both survive a checkpoint."""

    def body(state, args, *, key):
        own, net = state
        own, used = jax.random.split(own)
        net = eqx.tree_at(lambda n: n.layers[0].bias, net, replace_fn=lambda b: b + jax.random.normal(used, b.shape))
        return (own, net), Metrics(jnp.sum(net(jnp.ones(2))))

    start = (jax.random.key(1), eqx.nn.MLP(2, 1, 3, 1, activation=jax.nn.gelu, key=key))
    keeper = CheckpointKeeper(tmp_path / "loop", seconds=0)
    result = run_loop(body, start, num_steps=4, key=key, every=2, keeper=keeper)
    again = run_loop(body, start, num_steps=4, key=key, every=2, keeper=CheckpointKeeper(tmp_path / "loop"))
    assert jax.random.key_data(again.state[0]).tolist() == jax.random.key_data(result.state[0]).tolist()
    assert eqx.tree_equal(again.state[1], result.state[1])
    assert again.state[1].activation is jax.nn.gelu
