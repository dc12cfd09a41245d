"""What a fit asks of the run that it is part of."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from ..train import FitResult, fit


@runtime_checkable
class FitContext(Protocol):
    """Stages and loops that survive a kill, records, and parts of a report.

    Attributes:
        seed: of splits and of the order of batches.
        folder: of the run.
    """

    seed: int
    folder: Path

    def stage(self, name: str, function: Callable[..., Any], *, key: Any, like: Any = None) -> Any:
        """`function(key=...)`, once in the life of the run."""
        ...

    def fit(
        self, name: str, learner: Any, loader: Any, *, recorded: Callable[[Any], Any] = ..., **options: Any
    ) -> FitResult:
        """`train.fit`, checkpointed, and with metrics as `recorded` gives them."""
        ...

    def metrics(self, *, step: int, **numbers: Any) -> None:
        """Record numbers of one step."""
        ...

    def progress(self, description: str, *, total: float | int) -> AbstractContextManager[Any]:
        """A bar for the length of the block, with `move_to`."""
        ...

    def figure(self, name: str, figure: Any, *, caption: str) -> None:
        """Put a figure into the report."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str) -> None:
        """Put a table into the report."""
        ...

    def conclude(self, **numbers: Any) -> None:
        """Numbers of the whole run."""
        ...

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        ...


@final
class NoRun:
    """The context of a fit in memory: nothing is kept, recorded or said.

    Args:
        seed: of splits and of the order of batches.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed

    def stage(self, name: str, function: Callable[..., Any], *, key: Any, like: Any = None) -> Any:
        """Calls the function."""
        return function(key=key)

    def fit(self, name: str, learner: Any, loader: Any, *, recorded: Callable[[Any], Any], **options: Any) -> FitResult:
        """`train.fit`."""
        return fit(learner, loader, **options)

    def metrics(self, *, step: int, **numbers: Any) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
