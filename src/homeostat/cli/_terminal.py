"""What a person sees while a run goes on. Everything goes to standard error; standard output belongs to the result."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, final

from ..runs import AbstractBar, AbstractTerminal


@final
class Terminal(AbstractTerminal):
    """Messages and progress bars on standard error: bars on a terminal, now and then a plain line elsewhere."""

    def __init__(self, seconds_between_lines: float | int = 10.0):
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self._seconds_between_lines = seconds_between_lines
        self._bars: Any = None
        self._open = 0

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that stands out."""
        self.console.print(f"warning: {text}", markup=False, soft_wrap=True, style="yellow")

    def error(self, text: str) -> None:
        """The sentence that ends a run."""
        self.console.print(f"error: {text}", markup=False, soft_wrap=True, style="red")

    @contextlib.contextmanager
    def progress(self, description: str, total: float | int) -> Iterator[AbstractBar]:
        """A bar for the length of the block; bars may be nested."""
        if not self.console.is_terminal:
            yield _Lines(self, description, total, self._seconds_between_lines)
            return
        bars = self._start()
        task = bars.add_task(description, total=total, detail="")
        self._open += 1
        try:
            yield _Task(bars, task)
        finally:
            self._open -= 1
            bars.remove_task(task)
            if not self._open:
                bars.stop()
                self._bars = None

    def _start(self) -> Any:
        if self._bars is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            words, detail = TextColumn("{task.description}"), TextColumn("{task.fields[detail]}", style="dim")
            columns = words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True), detail
            how = {"redirect_stdout": False, "redirect_stderr": False, "transient": True}
            self._bars = Progress(*columns, console=self.console, **how)
            self._bars.start()
        return self._bars


@final
class _Task(AbstractBar):
    """A progress bar on a terminal."""

    def __init__(self, bars: Any, task: Any):
        self._bars, self._task = bars, task

    def move_to(self, completed: float | int, detail: str = "") -> None:
        self.completed = completed
        self._bars.update(self._task, completed=completed, detail=detail)


@final
class _Lines(AbstractBar):
    """Progress where there is no terminal (a log file, continuous integration)."""

    def __init__(self, terminal: Terminal, description: str, total: float | int, seconds: float | int):
        self._terminal, self._description, self._total, self._seconds = terminal, description, total, seconds
        self._last = time.monotonic()

    def move_to(self, completed: float | int, detail: str = "") -> None:
        self.completed = completed
        if time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            share = 100 * completed / self._total if self._total else 100.0
            self._terminal.say(
                f"  {self._description}: {share:.0f} % ({completed:g} of {self._total:g}) {detail}".rstrip()
            )


@contextlib.contextmanager
def reserved_output(reserved: bool) -> Iterator[Any]:
    """Keep standard output for what is written to the yielded stream; all else goes to standard error.

    The file descriptor is redirected too, where there is one, so that compiled libraries cannot write there either.
    """
    if not reserved:
        yield sys.stdout
        return
    import os

    sys.stdout.flush()
    try:
        descriptor, target = sys.stdout.fileno(), sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        # Replaced streams, as in a notebook or a test: there is no descriptor to move.
        stream = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield stream
        return
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        with os.fdopen(os.dup(saved), "w") as stream, contextlib.redirect_stdout(sys.stderr):
            yield stream
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
