"""What an experiment is, and what a run offers to it.

An experiment is one module `homeostat.experiments.<group>.<name>`; its id is `<group>/<name>`. The module defines

    \"\"\"One sentence that `homeostat list` shows.\"\"\"
    SOURCE = "where the claims come from"                  # a string literal
    MINUTES = Minutes(smoke=0.2, small=5.0, paper=60.0)    # expected wall-clock minutes, literal numbers
    CLAIMS = (Claim(...), ...)
    class Config: ...                                      # a frozen dataclass; it is the command line
        def for_scale(cls, scale) -> "Config"              # a classmethod with the values of each scale
    def run(config, context, *, key) -> None               # measures every claim through `context.measure`

The first line of the docstring, `SOURCE` and `MINUTES` are read from the file's text without running it, so listing
experiments imports nothing heavy; that is why they must be literals.

**Resuming.** An experiment is a sequence of named stages. A finished stage is on the disk and is restored, not run
again; inside a long stage a loop checkpoints by itself. Everything between stages runs again after a resume, so it
should be cheap (drawing figures, printing tables). What makes a resumed run end in the same bits as an unbroken one:

- a stage gets its own key, folded from its name, so that it does not matter which stages ran before it in this process;
- a stage's result is read back from the disk before it is handed over, also the first time;
- loops are compiled in segments of fixed length, and a checkpoint is only ever taken between two segments.

This module imports nothing heavy: keys and trees are `Any` here.
"""

import abc
import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, final, runtime_checkable

from ._claims import Claim

Tree = TypeVar("Tree")


class Scale(enum.StrEnum):
    """How large an experiment is run."""

    smoke = "smoke"
    """Seconds; shows that the code runs from end to end. Asserted in continuous integration."""
    small = "small"
    """Minutes on two CPU cores."""
    paper = "paper"
    """The size of the source; an accelerator or hours."""


class Minutes(NamedTuple):
    """Expected wall-clock minutes on two CPU cores (`paper` may name an accelerator in the experiment's docstring)."""

    smoke: float | int
    small: float | int
    paper: float | int


# ------------------------------------------------------------------------------------------------------------ configs


@runtime_checkable
class ExperimentConfig(Protocol):
    """A frozen dataclass whose fields are the options of the command line.

    Each field has a default and a docstring that names its unit:

        @dataclass(frozen=True)
        class Config:
            num_steps: int = 2_000
            \"\"\"Training steps (count).\"\"\"

            @classmethod
            def for_scale(cls, scale: str) -> "Config": ...

    Field types: numbers, booleans, strings, enums, tuples of these, and nested frozen dataclasses.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def for_scale(cls, scale: str) -> "ExperimentConfig":
        """The values used at one scale."""
        ...


@runtime_checkable
class ProgressBar(Protocol):
    """A bar that the body of `with context.progress(...) as bar` moves."""

    def advance(self, amount: float | int = 1) -> None:
        """Move the bar forward by `amount` of its total."""
        ...


@runtime_checkable
class FitResult(Protocol):
    """A trained learner; in fact a `homeostat.train.FitResult`, which says more.

    Attributes:
        state: the learner's state.
        last_step: updates that were made.
        steps: the step number at the end of each segment, matching `history`.
        history: a record like the learner's metrics, each field an array with the mean over each segment.
        failure: the learner's record of what was not finite, or None.
    """

    state: Any
    last_step: Any
    steps: Any
    history: Any
    failure: Any


# ------------------------------------------------------------------------------------------------------------ context


class AbstractRunContext(abc.ABC):
    """What a run offers to an experiment: stages, loops, records, figures and measurements."""

    scale: Scale
    """The scale of this run."""

    folder: Path
    """The run's folder. Prefer the methods below, which keep writes atomic and resumable."""

    # -- resumable computation

    @abc.abstractmethod
    def stage(self, name: str, function: Callable[..., Tree], *, key: Any, like: Any = None) -> Tree:
        """Run `function(key=...)` once in the life of the run, and keep its result.

        The function gets `key` folded with the stage's name. Its result is checkpointed and read back, so it is the
        same in an unbroken and in a resumed run. Stages may be nested.

        Args:
            name: unique inside the experiment.
            function: called as `function(key=stage_key)`; returns a tree of arrays, numbers and keys.
            key: the experiment's key (the same for every stage).
            like: the structure to restore into. Not needed when the result is made of arrays, keys, Python numbers,
                strings and None in tuples, lists, dicts and `NamedTuple`s whose class is importable. Needed when it
                holds an `eqx.Module`: pass a module of the same structure, or a function of no arguments that builds
                one (it is only evaluated for shapes, `eqx.filter_eval_shape`).
        """

    @abc.abstractmethod
    def shared(self, name: str, builder: Callable[..., Tree], *, spec: Any, like: Any = None) -> Tree:
        """Build an artefact that several experiments of the group use, such as a fitted encoder.

        In a group run it is built once, by whichever experiment asks first; otherwise the run builds its own. Its key
        depends on the seed, the name and the spec only, so both ways give the same bits.

        Args:
            name: unique inside the group.
            builder: called as `builder(key=...)`; may use `loop` and `fit`.
            spec: a frozen dataclass (or tuple of numbers and strings) with everything that the artefact depends on.
                Experiments that ask with different specs get different artefacts.
            like: as for `stage`.
        """

    @abc.abstractmethod
    def fit(
        self,
        name: str,
        learner: Any,
        loader: Any,
        *,
        num_steps: int,
        key: Any,
        recorded: Callable[[Any], Any] = lambda metrics: metrics,
        **options: Any,
    ) -> FitResult:
        """Train an `AbstractLearner` with `train.fit`, checkpointed.

        After each segment the metrics' means are recorded under the name and the bar moves.

        Args:
            name: unique inside the enclosing stage (or experiment).
            learner: its `init` gives the state, its `update` is scanned.
            loader: gives each update its batch, for instance `InMemoryLoader(rows, batch_size)`.
            num_steps: number of updates.
            key: split for the state, the loader, the updates and the validations.
            recorded: of a segment's metrics, a record of the numbers to write down; all by default.
            options: of `train.fit`: `every`, `validate`, `validate_every`, `patience`.
        """

    @abc.abstractmethod
    def checkpoint(self, name: str, tree: Any) -> None:
        """Store a tree by hand, for what neither a stage nor a loop covers. A later call under the name replaces it."""

    @abc.abstractmethod
    def restore(self, name: str, like: Any = None) -> Any:
        """What `checkpoint` stored under `name`, or None if nothing was; `like` as for `stage`."""

    # -- records

    @abc.abstractmethod
    def measure(self, claim_id: str, value: Any, stderr: Any = None) -> None:
        """Report the measured value of a claim, with its standard error where there is one.

        Every claim asserted at this scale must be measured, otherwise it counts as failed. A claim that is not asserted
        at this scale may be measured as well; the report shows it apart.
        """

    @abc.abstractmethod
    def metrics(self, *, step: int, **numbers: Any) -> None:
        """Append one line to `metrics.jsonl`: the current stage, the step and the numbers (units in their names)."""

    @abc.abstractmethod
    def progress(self, description: str, *, total: float | int) -> AbstractContextManager[ProgressBar]:
        """A progress bar on standard error, for whatever takes over two seconds; loops have their own."""

    @abc.abstractmethod
    def figure(self, name: str, figure: Any, *, caption: str) -> None:
        """Save a matplotlib figure as `figures/<name>.png`, put it into the report, and close it."""

    @abc.abstractmethod
    def animation(self, name: str, content: Any, *, caption: str, frames_per_second: float | int = 5) -> None:
        """Put an animation into the report.

        Args:
            name: saved as `figures/<name>.gif`.
            content: the bytes of a GIF, a path to one, or frames: uint8 (or floats in [0, 1]) of shape
                (time, height, width) or (time, height, width, 3).
            caption: what it shows.
            frames_per_second: speed, used for frames only (hertz).
        """

    @abc.abstractmethod
    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str) -> None:
        """Put a table into the report; cells are strings or numbers."""

    @abc.abstractmethod
    def note(self, name: str, text: str) -> None:
        """Put a paragraph of plain text into the report."""

    @abc.abstractmethod
    def say(self, text: str) -> None:
        """One line on standard error for whoever watches the run."""


@runtime_checkable
class RunFunction(Protocol):
    """An experiment's `run`."""

    def __call__(self, config: Any, context: AbstractRunContext, /, *, key: Any) -> None:
        """Run the experiment; all it finds goes through `context`."""
        ...


@final
@dataclass(frozen=True)
class Experiment:
    """A loaded experiment.

    Attributes:
        id: `<group>/<name>`.
        summary: the first line of the module's docstring.
        source: where its claims come from.
        minutes: expected duration at each scale.
        claims: what it checks.
        config: the frozen dataclass of its options.
        run: the experiment itself.
    """

    id: str
    summary: str
    source: str
    minutes: Minutes
    claims: tuple[Claim, ...]
    config: type[Any]
    run: RunFunction

    @property
    def name(self) -> str:
        """The id without its group."""
        return self.id.rpartition("/")[2]

    def asserted(self, scale: str) -> tuple[Claim, ...]:
        """The claims asserted at `scale`."""
        return tuple(claim for claim in self.claims if scale in claim.scales)
