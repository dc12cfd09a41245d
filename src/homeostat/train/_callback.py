"""Callbacks of the training loop: they record its metrics, keep its checkpoints, and may ask it to stop."""

import abc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, final

from ..typing import PyTree
from ._checkpoint import load_checkpoint, save_checkpoint


class LoopCheckpoint(NamedTuple):
    """All that the loop needs to continue.

    Attributes:
        state: of the learner and of the loader, and the best so far.
        key: of the loop; the keys of a step are folded from it.
        step: updates done.
        record: means over segments and values of validations, filled up to `step`.
    """

    state: PyTree
    key: PyTree
    step: int
    record: PyTree


class SegmentReport(NamedTuple):
    """Progress after a compiled segment.

    Attributes:
        step: updates done.
        num_steps: updates to do; `step` where training ends early.
        metrics: means over the segment, a record like the learner's metrics with Python numbers.
        validation_nats: what was validated after this segment, or None.
    """

    step: int
    num_steps: int
    metrics: Any
    validation_nats: float | None = None


class AbstractLoopCallback(abc.ABC):
    """Watches the training loop from outside the compiled code."""

    @abc.abstractmethod
    def restore(self, like: LoopCheckpoint) -> LoopCheckpoint | None:
        """Where the loop was, or None to begin."""

    @abc.abstractmethod
    def after_segment(self, report: SegmentReport, checkpoint: Callable[[], LoopCheckpoint]) -> None:
        """Called between two segments; may store `checkpoint()`; may raise `KeyboardInterrupt` to stop the loop."""


@final
class NoCallback(AbstractLoopCallback):
    """Keeps nothing; for training that is cheap to run again."""

    def restore(self, like: LoopCheckpoint) -> LoopCheckpoint | None:
        """Nothing."""
        return None

    def after_segment(self, report: SegmentReport, checkpoint: Callable[[], LoopCheckpoint]) -> None:
        """Nothing."""


@final
class Checkpointer(AbstractLoopCallback):
    """Keeps the loop's last checkpoint in a file, so that training survives `kill -9`.

    Args:
        path: the checkpoint's file.
        identity: what the checkpoint belongs to (see `save_checkpoint`).
        seconds: least time between two checkpoints; 0 writes one after every segment. Otherwise writing never takes
            more than about a twentieth of the time.
        on_segment: called with the report of each segment.
        stop_requested: asked after each segment; when it answers yes, the state is stored and `KeyboardInterrupt` is
            raised.
        short_loops_too: store the final state also of a loop that took less than `seconds`. Not needed where whoever
            called the loop stores its result.
    """

    def __init__(
        self,
        path: Path,
        *,
        identity: str = "",
        seconds: float | int = 10,
        on_segment: Callable[[SegmentReport], None] = lambda report: None,
        stop_requested: Callable[[], bool] = lambda: False,
        short_loops_too: bool = True,
    ):
        self._path = path
        self._identity = identity
        self._seconds = seconds
        self._on_segment = on_segment
        self._stop_requested = stop_requested
        self._short_loops_too = short_loops_too
        self._last = time.monotonic()
        self._pause = seconds

    def restore(self, like: LoopCheckpoint) -> LoopCheckpoint | None:
        """The stored checkpoint, if there is one."""
        self._last = time.monotonic()
        if not self._path.is_file():
            return None
        return load_checkpoint(self._path, like=like, identity=self._identity)

    def after_segment(self, report: SegmentReport, checkpoint: Callable[[], LoopCheckpoint]) -> None:
        """Report, store when it is time, stop when asked to."""
        self._on_segment(report)
        stop = self._stop_requested()
        due = time.monotonic() - self._last >= self._pause
        finished = report.step >= report.num_steps and self._short_loops_too
        if due or stop or finished:
            start = time.monotonic()
            save_checkpoint(self._path, checkpoint(), identity=self._identity)
            self._last = time.monotonic()
            if self._seconds > 0:
                self._pause = max(self._seconds, 20 * (self._last - start))
        if stop:
            raise KeyboardInterrupt
