"""The training loop: compiled segments of updates that a killed process continues to the same bits.

    state_{t+1}, metrics_t = learner.update(state_t, batch_t, key=fold_in(key, t))

Updates are scanned in segments of fixed length. The segments' boundaries depend only on the number of updates and the
length of a segment, never on where a process was interrupted, so the compiled programs are the same with and without a
resume.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._scan import scan, strong
from ..core import AbstractLearner
from ..results import BadInputError
from ..typing import Key, PyTree
from ._callback import AbstractLoopCallback, LoopCheckpoint, NoCallback, SegmentReport
from ._loader import AbstractLoader


class TrainState(NamedTuple):
    """All that training carries from one segment to the next.

    Attributes:
        learner: the learner's state: parameters, optimiser, counters.
        loader: the loader's state.
        best: the learner's state with the lowest validation so far, or None where nothing is validated.
    """

    learner: PyTree
    loader: PyTree
    best: PyTree


class TrainRecord(NamedTuple):
    """Numbers of each segment; NaN for those to come.

    Attributes:
        history: a record like the learner's metrics, each field an array with the mean over each segment.
        validation_nats: after each segment; NaN where nothing was validated, infinity where the value was NaN.
    """

    history: Any
    validation_nats: np.ndarray


class FitResult(NamedTuple):
    """A trained learner.

    Attributes:
        state: the learner's state: the best by validation, or the last.
        step: updates that it has seen.
        last_step: updates that were made, without those after a failure.
        steps: updates done at the end of each segment, matching `history`.
        history: a record like the learner's metrics, each field an array with the mean over each segment.
        validation_steps: updates before each validation.
        validation_nats: value of each validation.
        failure: the learner's record of what was not finite, or None.
        out_of_patience: whether training ended because validations did not improve any more.
    """

    state: Any
    step: int
    last_step: int
    steps: np.ndarray
    history: Any
    validation_steps: np.ndarray
    validation_nats: np.ndarray
    failure: Any
    out_of_patience: bool


def fit(
    learner: AbstractLearner,
    loader: AbstractLoader,
    *,
    num_steps: int,
    key: Key,
    every: int = 100,
    validate: Callable[[Any, Key], float] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    least_gain: float = 0.0,
    callback: AbstractLoopCallback = NoCallback(),
) -> FitResult:
    """Train a learner.

    Training ends after `num_steps` updates, when validations stop to improve, or with the segment in which the learner
    met something that is not finite: its state then has a record `failure` whose `step` is the number of that update.

    Args:
        learner: what to train.
        loader: gives each update its batch.
        num_steps: number of updates.
        key: split for the first state, the loader, the updates and the validations.
        every: updates in a compiled segment.
        validate: `validate(learner_state, key)` on held-out data, in nats, lower is better; the same key each time.
            The state with the lowest value is kept beside the newest. None keeps the last state.
        validate_every: updates between validations, rounded up to whole segments; one after each segment by default.
        patience: validations without improvement after which training ends; None for never.
        least_gain: what a validation must win over the last improvement to be another one, in nats; the state with the lowest
            value is kept in any case.
        callback: called between segments, for instance a `Checkpointer`.

    Raises:
        BadInputError: a number is out of range, metrics are not scalars, an update changes the structure of the state,
            or the loader has too few batches.
    """
    if num_steps < 1 or every < 1:
        raise BadInputError(
            f"Expected at least one step and at least one step in a segment, got num_steps={num_steps} and "
            f"every={every}. Pass positive numbers."
        )
    init_key, loader_key, update_key, validation_key = jax.random.split(key, 4)
    ends = [*range(every, num_steps, every), num_steps]
    between = -(-(validate_every or every) // every) * every
    updates = _Updates(learner, loader, loader_key, update_key)
    state = updates.begin(init_key, keep_best=validate is not None)
    first = updates.read(loader.read(0, key=loader_key), 1)
    record = TrainRecord(updates.history(state, first, len(ends)), np.full(len(ends), np.nan))
    found = callback.restore(LoopCheckpoint(updates.persistent(state), update_key, 0, record))
    step = 0
    if found is not None:
        step, record = int(found.step), jax.tree.map(np.array, found.record)  # a writable copy
        state = found.state._replace(loader=loader.restored(state.loader, found.state.loader))
    feed = loader.read(step, key=loader_key)
    segments = [(index, end) for index, end in enumerate(ends) if end > step]
    waiting = updates.read(feed, segments[0][1] - step) if segments else []
    for index, end in segments:
        if _failed(state) or _out_of_patience(record, patience, least_gain):
            break
        state, means = updates.run(state, waiting, step)
        # Read on the host while the device works.
        waiting = updates.read(feed, ends[index + 1] - end) if index + 1 < len(ends) else []
        step = end
        for slot, mean in zip(jax.tree.leaves(record.history), jax.tree.leaves(means), strict=True):
            slot[index] = mean
        nats = None
        if validate is not None and not _failed(state) and (step % between == 0 or step == num_steps):
            nats = float(validate(state.learner, validation_key))
            if nats < np.nanmin(record.validation_nats, initial=np.inf):
                state = state._replace(best=_copied(state.learner))
            record.validation_nats[index] = np.inf if np.isnan(nats) else nats
        ended = _failed(state) or _out_of_patience(record, patience, least_gain)
        report = SegmentReport(step, step if ended else num_steps, jax.tree.map(float, means), nats)
        now = LoopCheckpoint(updates.persistent(state), update_key, step, record)
        callback.after_segment(report, lambda now=now: now)
    out_of_patience = not _failed(state) and _out_of_patience(record, patience, least_gain)
    return _result(state, record, np.asarray(ends), step, out_of_patience)


def _failed(state: TrainState) -> bool:
    failure = getattr(state.learner, "failure", None)
    return failure is not None and int(failure.step) >= 0


def _out_of_patience(record: TrainRecord, patience: int | None, least_gain: float) -> bool:
    if not patience:
        return False
    best, since = np.inf, 0
    for nats in record.validation_nats[~np.isnan(record.validation_nats)]:
        improved = nats < best - least_gain
        best, since = (nats, 0) if improved else (best, since + 1)
    return since >= patience


def _result(state: TrainState, record: TrainRecord, ends: np.ndarray, step: int, out_of_patience: bool) -> FitResult:
    failure = state.learner.failure if _failed(state) else None
    last_step = step if failure is None else int(failure.step)
    validated, done = ~np.isnan(record.validation_nats), ends <= step
    nats, steps = record.validation_nats[validated], ends[validated]
    kept, kept_step = state.learner, last_step
    if np.isfinite(nats).any():
        kept, kept_step = state.best, int(steps[np.argmin(nats)])
    history = jax.tree.map(lambda values: values[done], record.history)
    return FitResult(kept, kept_step, last_step, ends[done], history, steps, nats, failure, out_of_patience)


class _Updates:
    """Compiled segments of updates."""

    def __init__(self, learner: AbstractLearner, loader: AbstractLoader, loader_key: Key, update_key: Key):
        self._learner, self._loader, self._loader_key = learner, loader, loader_key
        self._fixed = (learner, type(loader).batch, loader.arguments(), loader_key, update_key)

    def begin(self, init_key: Key, *, keep_best: bool) -> TrainState:
        # Compiled, because initialising eagerly costs seconds of dispatch.
        learner_state = eqx.filter_jit(lambda learner, key: learner.init(key=key))(self._learner, init_key)
        # Copied, because segments donate their input.
        learner_state, loader_state = _copied((learner_state, self._loader.init(key=self._loader_key)))
        return TrainState(learner_state, loader_state, _copied(learner_state) if keep_best else None)

    def persistent(self, state: TrainState) -> TrainState:
        return state._replace(loader=self._loader.persistent(state.loader))

    def read(self, feed: Iterator[PyTree], count: int) -> list[tuple[int, PyTree]]:
        """Inputs of `count` updates, stacked; or one by one where their shapes differ."""
        items = list(itertools.islice(feed, count))
        if len(items) < count:
            raise BadInputError(
                f"Expected a loader that gives batches without an end, got {len(items)} of {count}: repeat its epochs."
            )
        kinds = [[(np.shape(leaf), np.result_type(leaf)) for leaf in jax.tree.leaves(item)] for item in items]
        runs = [items] if all(kind == kinds[0] for kind in kinds) else [[item] for item in items]
        return [(len(run), jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *run)) for run in runs]

    def history(self, state: TrainState, inputs: list[tuple[int, PyTree]], num_segments: int) -> Any:
        """Arrays for the means of the segments, after checking what an update returns."""
        first = jax.tree.map(lambda leaf: leaf[0], inputs[0][1])
        after, metrics = eqx.filter_eval_shape(_update, self._fixed, (state.learner, state.loader), jnp.int32(0), first)
        before = _outline(eqx.filter((state.learner, state.loader), eqx.is_array))
        later = _outline(eqx.filter(after, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)))
        if before != later:
            different = next((f"{a} became {b}" for a, b in zip(before, later, strict=False) if a != b), "other leaves")
            raise BadInputError(
                f"Expected an update to return a state with the same arrays, got a change: {different}. "
                "Give the state its final structure in `init` (numbers that change must be arrays)."
            )
        for path, leaf in jax.tree_util.tree_flatten_with_path(metrics)[0]:
            if getattr(leaf, "shape", None) != ():
                raise BadInputError(
                    f"Expected metrics that are scalar arrays, got {leaf} for {jax.tree_util.keystr(path)}. "
                    "Reduce it to a number inside the update."
                )
        means = jax.eval_shape(lambda m: jax.tree.map(lambda leaf: jnp.mean(leaf[None], axis=0), m), metrics)
        return jax.tree.map(lambda leaf: np.full(num_segments, np.nan, leaf.dtype), means)

    def run(self, state: TrainState, inputs: list[tuple[int, PyTree]], step: int) -> tuple[TrainState, Any]:
        """Scan over the updates of a segment; also gives means of metrics."""
        carry = (state.learner, state.loader)
        found = []
        for count, read in inputs:
            carry, means = _segment((self._fixed, jnp.asarray(step, jnp.int32), count, read), carry)
            step += count
            found.append(means)
        means = found[0] if len(found) == 1 else jax.tree.map(lambda *leaves: jnp.mean(jnp.stack(leaves)), *found)
        return TrainState(*carry, state.best), means


@eqx.filter_jit(donate="all-except-first")
def _segment(given: tuple[Any, ...], carry: PyTree) -> tuple[PyTree, Any]:
    fixed, start, count, inputs = given
    steps = start + jnp.arange(count, dtype=jnp.int32)
    carry, metrics = scan(lambda carry, item: _update(fixed, carry, *item), carry, (steps, inputs))
    return carry, jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics)


def _update(fixed: tuple[Any, ...], state: tuple[PyTree, PyTree], step: Any, read: PyTree) -> tuple[PyTree, Any]:
    learner, batch, arguments, loader_key, update_key = fixed
    learner_state, loader_state = state
    found, loader_state = batch(arguments, read, loader_state, learner_state, key=jax.random.fold_in(loader_key, step))
    learner_state, metrics = learner.update(learner_state, found, key=jax.random.fold_in(update_key, step))
    return (learner_state, loader_state), metrics


def _outline(tree: PyTree) -> list[str]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [f"{jax.tree_util.keystr(path)}: {leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves]


def _copied(tree: PyTree) -> PyTree:
    """A copy whose arrays are all on the device, without weak types, which a checkpoint does not keep."""
    on_device = jax.tree.map(
        lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf, tree
    )
    return strong(jax.tree.map(lambda leaf: jnp.copy(leaf) if eqx.is_array(leaf) else leaf, on_device))
