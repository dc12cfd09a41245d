"""Where a run says how it goes; the command line and the lab each have a terminal of their own."""

import abc
from contextlib import AbstractContextManager


class AbstractBar(abc.ABC):
    """A progress bar."""

    @abc.abstractmethod
    def advance(self, amount: float | int = 1) -> None:
        """Move forward by `amount` of the total."""

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
