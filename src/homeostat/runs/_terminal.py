"""Where a run says how it goes (the command line and the lab each have a terminal of their own), and what Ctrl-C does to it."""

import abc
import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, final


class AbstractBar(abc.ABC):
    """A progress bar."""

    completed: float | int = 0.0

    def advance(self, amount: float | int = 1) -> None:
        """Move forward by `amount` of the total."""
        self.move_to(self.completed + amount)

    @abc.abstractmethod
    def move_to(self, completed: float | int, detail: str = "") -> None:
        """Move to `completed` of the total, with a few words beside it."""


class AbstractTerminal(abc.ABC):
    """Messages and progress bars for whoever watches a run."""

    @abc.abstractmethod
    def say(self, text: str) -> None:
        """One line."""

    @abc.abstractmethod
    def warn(self, text: str) -> None:
        """One line that stands out."""

    @abc.abstractmethod
    def progress(self, description: str, total: float | int) -> AbstractContextManager[AbstractBar]:
        """A bar for the length of the block; bars may be nested."""


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
