"""What Ctrl-C does to a run."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, final

from ._terminal import AbstractTerminal


@final
class Interrupts:
    """Turns Ctrl-C into a request that a loop answers between two segments; outside loops it acts at once."""

    def __init__(self, terminal: AbstractTerminal):
        self._terminal = terminal
        self._loops = 0
        self.requested = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signal for the length of the block (in the main thread; elsewhere it stays as it is)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextlib.contextmanager
    def in_loop(self) -> Iterator[None]:
        """Inside this block somebody asks `requested` from time to time."""
        self._loops += 1
        try:
            yield
        finally:
            self._loops -= 1

    def _handle(self, number: int, frame: Any) -> None:
        if not self._loops or self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._terminal.say("Stopping after this segment to write a checkpoint; press Ctrl-C again to stop at once.")
