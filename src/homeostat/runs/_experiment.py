"""What an experiment is, and what a run offers to it.

An experiment is one module `homeostat.experiments.<group>.<name>`; its id is `<group>/<name>`. The module defines

    \"\"\"One sentence that `homeostat list` shows.\"\"\"
    SOURCE = "where the claims come from"                  # a string literal
    MINUTES = Minutes(smoke=0.2, small=5.0, paper=60.0)    # expected wall-clock minutes, literal numbers
    CLAIMS = (Claim(...), ...)
    class Config: ...                                      # a frozen dataclass; its fields are the command line
        num_steps: int = 2_000                             # with a default, and a docstring that names the unit
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

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from ._claims import Claim


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


class ProtocolError(Exception):
    """An experiment's module does not keep the protocol: a mistake of whoever wrote it, not of whoever runs it."""


@final
@dataclass(frozen=True)
class Experiment:
    """A loaded experiment.

    Attributes:
        id: `<group>/<name>`.
        summary: the first line of the module's docstring.
        source: where its claims come from.
        minutes: expected duration at each scale.
        config: the frozen dataclass of its options.
    """

    id: str
    summary: str
    source: str
    minutes: Minutes
    claims: tuple[Claim, ...]
    config: type[Any]
    run: Callable[..., None]

    @property
    def name(self) -> str:
        """The id without its group."""
        return self.id.rpartition("/")[2]

    def asserted(self, scale: str) -> tuple[Claim, ...]:
        """The claims asserted at `scale`."""
        return tuple(claim for claim in self.claims if scale in claim.scales)
