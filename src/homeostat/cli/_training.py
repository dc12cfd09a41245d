"""Training on rows, held on the device or streamed from the disk, in the same order and to the same bits.

A segment of updates is compiled once. Between segments the validation rows are looked at from time to time, and the best
state so far is kept beside the newest one. What a checkpoint holds is all of it, so a killed run goes on to the same bits.
"""

import abc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core import AbstractLearner
from ..data import AbstractRows, permutation
from ..train import AbstractKeeper, LoopCheckpoint, SegmentReport
from ..workflow import Observations
from ._fitted import device_rows


class TrainingMetrics(NamedTuple):
    """Means over a segment of updates.

    Attributes:
        free_energy_nats: distortion plus rate, an upper bound on -log p(x).
        distortion_nats: E_q[-log p(x | z)].
        rate_nats: KL(q || p).
        weighted_nats: what was descended.
    """

    free_energy_nats: Any
    distortion_nats: Any
    rate_nats: Any
    weighted_nats: Any


class Course(NamedTuple):
    """All that training carries.

    Attributes:
        learner: the learner's state.
        best: the best model so far with what else is to be kept, or None where nothing is validated.
        best_nats: its mean free energy on the validation rows.
        best_step: updates that it had seen.
        looks: looks at the validation rows since then.
    """

    learner: Any
    best: Any
    best_nats: jax.Array
    best_step: jax.Array
    looks: jax.Array


class Trained(NamedTuple):
    """How training ended.

    Attributes:
        kept: the best state by validation, or the last one.
        step: updates that it had seen.
        last_step: updates that were made.
        validation_nats: mean free energy on the validation rows, or None.
        failure: the learner's record of what was not finite, or None.
        patient: whether training ended because nothing got better any more.
    """

    kept: Any
    step: int
    last_step: int
    validation_nats: float | None
    failure: Any
    patient: bool


class AbstractFeed(abc.ABC):
    """Batches for segments of updates."""

    @abc.abstractmethod
    def fixed(self) -> Any:
        """What every segment reads and none changes."""

    @abc.abstractmethod
    def segment(self, start: int, count: int) -> Any:
        """What `count` updates from number `start` on read, with a leading axis over updates."""

    @staticmethod
    @abc.abstractmethod
    def batch(fixed: Any, one: Any) -> jax.Array:
        """The batch of one update."""


@final
class HeldFeed(AbstractFeed):
    """Rows on the device; updates read row numbers."""

    def __init__(self, rows: AbstractRows, observations: Observations, batch_size: int, seed: int):
        self._data = device_rows(np.concatenate([observations.prepare(chunk) for chunk in rows.chunks(4096)]))
        self._num_rows, self._batch_size, self._seed = rows.num_rows, batch_size, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def fixed(self) -> jax.Array:
        return self._data

    def segment(self, start: int, count: int) -> jax.Array:
        per_epoch = self._num_rows // self._batch_size
        chosen = []
        for step in range(start, start + count):
            epoch, number = divmod(step, per_epoch)
            if epoch != self._epoch:
                self._epoch, self._order = epoch, permutation(self._num_rows, self._seed, epoch)
            chosen.append(self._order[self._batch_size * number : self._batch_size * (number + 1)])
        return jnp.asarray(np.stack(chosen).astype(np.int32))

    @staticmethod
    def batch(fixed: jax.Array, one: jax.Array) -> jax.Array:
        return fixed[one]


@final
class StreamedFeed(AbstractFeed):
    """Rows read from the disk, a segment at a time."""

    def __init__(self, rows: AbstractRows, observations: Observations, batch_size: int, seed: int):
        self._rows, self._observations, self._batch_size, self._seed = rows, observations, batch_size, seed
        self._per_epoch = rows.num_rows // batch_size
        self._next, self._batches = -1, iter(())

    def fixed(self) -> None:
        return None

    def segment(self, start: int, count: int) -> jax.Array:
        rows = [self._batch_at(step) for step in range(start, start + count)]
        return device_rows(np.stack(rows))

    def _batch_at(self, step: int) -> np.ndarray:
        epoch, number = divmod(step, self._per_epoch)
        if step != self._next or number == 0:
            self._batches: Iterator[np.ndarray] = self._rows.batches(
                self._batch_size, seed=self._seed, epoch=epoch, start=number
            )
        self._next = step + 1
        return self._observations.prepare(next(self._batches))

    @staticmethod
    def batch(fixed: None, one: jax.Array) -> jax.Array:
        return one


def train_on_rows(
    learner: AbstractLearner,
    feed: AbstractFeed,
    *,
    keep: Callable[[Any], Any],
    validate: Callable[[Any], float] | None,
    on_validation: Callable[[int, float], None],
    num_steps: int,
    every: int,
    validate_every: int,
    patience: int,
    key: jax.Array,
    keeper: AbstractKeeper,
) -> Trained:
    """Train, look at the validation rows now and then, and stop where something is not finite.

    Args:
        learner: what to train; its state has `failure`.
        feed: gives batches.
        keep: what of the learner's state is worth keeping.
        validate: mean free energy of what is kept on the validation rows; None to keep the last state.
        on_validation: told the step and that number.
        num_steps: updates.
        every: updates in a compiled segment.
        validate_every: updates between two looks, rounded up to whole segments.
        patience: looks without improvement after which training ends; 0 for never.
        key: for the first state and the updates.
        keeper: records, keeps checkpoints, may ask to stop.
    """
    init_key, update_key = jax.random.split(key)
    # Copied, because segments donate their input, and without weak types, which a checkpoint does not keep.
    state = jax.tree.map(
        lambda leaf: _strong(jnp.copy(leaf)) if eqx.is_array(leaf) else leaf,
        eqx.filter_jit(lambda learner, key: learner.init(key=key))(learner, init_key),
    )
    zero = jnp.zeros((), jnp.int32)
    best = None if validate is None else _copied(keep(state))
    course = Course(state, best, jnp.full((), jnp.inf), zero, zero)
    found = keeper.restore(LoopCheckpoint(course, update_key, 0, None))
    step = 0
    if found is not None:
        course, step = found.state, int(found.step)
    look = -(-validate_every // every) * every

    def next_end(step: int) -> int:
        return min((step // every + 1) * every, num_steps)

    ended = _failed(course) or _impatient(course, patience)
    waiting = None if ended or step >= num_steps else feed.segment(step, next_end(step) - step)
    while not ended and step < num_steps:
        end = next_end(step)
        learner_state, metrics = _segment((learner, feed, feed.fixed(), update_key, step, waiting), course.learner)
        course = course._replace(learner=learner_state)
        # Read from the disk while the device works.
        waiting = None if end >= num_steps else feed.segment(end, next_end(end) - end)
        means = TrainingMetrics(*(float(getattr(metrics, name)) for name in TrainingMetrics._fields))
        step = end
        if validate is not None and not _failed(course) and (step % look == 0 or step == num_steps):
            course = _look(course, keep(course.learner), validate, on_validation, step)
        ended = _failed(course) or _impatient(course, patience)
        now = LoopCheckpoint(course, update_key, step, None)
        keeper.after_segment(SegmentReport(step, step if ended else num_steps, means), lambda now=now: now)
    return _outcome(course, keep, step, patience)


def _outcome(course: Course, keep: Callable[[Any], Any], step: int, patience: int) -> Trained:
    failure = course.learner.failure if _failed(course) else None
    seen = int(failure.step) if failure is not None else step
    if course.best is not None and int(course.best_step) > 0:
        return Trained(
            course.best, int(course.best_step), seen, float(course.best_nats), failure, _impatient(course, patience)
        )
    return Trained(keep(course.learner), seen, seen, None, failure, False)


def _failed(course: Course) -> bool:
    return int(course.learner.failure.step) >= 0


def _impatient(course: Course, patience: int) -> bool:
    return patience > 0 and int(course.looks) >= patience


def _look(
    course: Course, kept: Any, validate: Callable[[Any], float], on_validation: Callable[[int, float], None], step: int
) -> Course:
    nats = validate(kept)
    on_validation(step, nats)
    if not nats < float(course.best_nats):
        return course._replace(looks=course.looks + 1)
    return Course(
        course.learner,
        _copied(kept),
        jnp.asarray(nats, course.best_nats.dtype),
        jnp.asarray(step, jnp.int32),
        jnp.zeros((), jnp.int32),
    )


def _copied(tree: Any) -> Any:
    """A copy whose arrays survive the next segment, which donates those of the learner."""
    return jax.tree.map(lambda leaf: jnp.copy(leaf) if eqx.is_array(leaf) else leaf, tree)


def _segment(fixed: tuple[Any, ...], state: Any) -> tuple[Any, Any]:
    learner, feed, data, key, start, inputs = fixed
    dynamic, static = eqx.partition(state, eqx.is_array)
    numbers = jnp.asarray(start, jnp.int32) + jnp.arange(jax.tree.leaves(inputs)[0].shape[0], dtype=jnp.int32)
    dynamic, metrics = _scan((type(feed).batch, learner, static, data, key, numbers, inputs), dynamic)
    return eqx.combine(dynamic, static), metrics


@eqx.filter_jit(donate="all-except-first")
def _scan(fixed: tuple[Any, ...], dynamic: Any) -> tuple[Any, Any]:
    batch, learner, static, data, key, numbers, inputs = fixed

    def one(dynamic: Any, step: tuple[Any, Any]) -> tuple[Any, Any]:
        number, read = step
        state, metrics = learner.update(
            eqx.combine(dynamic, static), batch(data, read), key=jax.random.fold_in(key, number)
        )
        return jax.tree.map(_strong, eqx.filter(state, eqx.is_array)), metrics

    dynamic, metrics = jax.lax.scan(one, dynamic, (numbers, inputs))
    return dynamic, jax.tree.map(jnp.mean, metrics)


def _strong(leaf: jax.Array) -> jax.Array:
    return jax.lax.convert_element_type(leaf, leaf.dtype)
