"""Who watches a loop: records its metrics, keeps its checkpoints, and may ask it to stop."""

import abc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, final

from ..typing import PyTree
from ._checkpoint import has_checkpoint, load_checkpoint, save_checkpoint


class LoopCheckpoint(NamedTuple):
    """All that a loop needs to continue.

    Attributes:
        state: the loop's state (parameters, optimiser, data position, ...).
        key: the loop's key; the key of a step is folded from it.
        step: steps done.
        history: the record of segment means, filled up to `step`.
    """

    state: PyTree
    key: PyTree
    step: int
    history: PyTree


class SegmentReport(NamedTuple):
    """What a loop says after each compiled segment.

    Attributes:
        step: steps done.
        num_steps: steps to do.
        metrics: means over the segment, a record like the body's metrics with Python numbers.
    """

    step: int
    num_steps: int
    metrics: Any


class AbstractKeeper(abc.ABC):
    """Watches a loop from outside the compiled code."""

    @abc.abstractmethod
    def restore(self, like: LoopCheckpoint) -> LoopCheckpoint | None:
        """Where the loop was, or None to begin."""

    @abc.abstractmethod
    def after_segment(self, report: SegmentReport, checkpoint: Callable[[], LoopCheckpoint]) -> None:
        """Called between two segments; may store `checkpoint()`; may raise `KeyboardInterrupt` to stop the loop."""


@final
class Forgetful(AbstractKeeper):
    """Keeps nothing; for loops that are cheap to run again."""

    def restore(self, like: LoopCheckpoint) -> LoopCheckpoint | None:
        """Nothing."""
        return None

    def after_segment(self, report: SegmentReport, checkpoint: Callable[[], LoopCheckpoint]) -> None:
        """Nothing."""


@final
class CheckpointKeeper(AbstractKeeper):
    """Keeps a loop's last checkpoint in a folder, so that it survives `kill -9`.

    Args:
        path: the checkpoint's folder.
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
        if not has_checkpoint(self._path):
            return None
        return load_checkpoint(self._path, like=like, identity=self._identity).tree

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
