"""A fitted model: kept in a folder, and used on new data."""

import abc
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np

from .._version import __version__
from ..data import Message
from ..results import BadInputError
from ..runs import RunContext, encode_png, precision
from ..train import plain, save_checkpoint, write_bytes, write_json
from ..typing import Key
from ._arrays import write_arrays
from ._frames import TABLES, Axes, data_frames, inference_data, write_table
from ._task import AbstractTask, Data, Selected, Source, System

FORMAT = 1
NAME = "fitted.json"
"""A folder with this file holds a fitted model."""

OnProgress = Callable[..., None]
"""Called with what is done, and perhaps words."""


def ignore(done: int, words: str = "") -> None:
    """Tells nobody."""


class Outcome(NamedTuple):
    """What a fitted model said.

    Attributes:
        numbers: by name, with units in the names; plain, so that they can be printed as JSON.
        arrays: by name; empty where they went into a file.
        text: for reading, where numbers do not say it all.
        axes: names of the axes of the arrays.
        observed: reads the data that it is about, for the group `observed_data`.
    """

    numbers: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    figure: Any = None
    text: str = ""
    axes: Axes | None = None
    observed: Callable[[], Mapping[str, np.ndarray]] = dict

    def plain(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        return plain(dict(self.numbers))

    def to_pandas(self) -> dict[str, Any]:
        """A data frame for each array by its name, indexed by row, draw, or sequence and step (or date).

        Columns are those of the data, latents, or the name of the array where it has one number a row. Steps beyond the end of a
        sequence are left out.

        Raises:
            BadInputError: pandas is not installed, or the arrays are not in memory.
        """
        return data_frames(self.arrays, self._named())

    def to_inference_data(self) -> Any:
        """`arviz.InferenceData` with named dimensions and coordinates.

        Groups are `posterior` (parameters and means of posteriors, without draws), `posterior_predictive` (imputed rows),
        `log_likelihood`, `predictions` (forecasts), `prior` and `prior_predictive` (draws of the model, in one chain),
        `sample_stats` and `observed_data`.

        Raises:
            BadInputError: ArviZ is not installed, or the arrays are not in memory.
        """
        return inference_data(self.arrays, self._named(), self.observed())

    def _named(self) -> Axes:
        if self.axes is None or not self.arrays:
            raise BadInputError(
                "Expected arrays in memory whose axes have names, got none: take the outcome of infer (without out), evaluate, sample "
                "or forecast."
            )
        return self.axes

    def save(self, arrays: Path | None, figure: Path | None) -> None:
        """Write the arrays (.npz, or .csv and .parquet as one table) and the figure (.png), where paths are given."""
        if arrays is not None and arrays.suffix in TABLES:
            write_table(arrays, self.arrays, self._named())
        elif arrays is not None:
            write_arrays(arrays, self.arrays)
        if figure is not None:
            write_bytes(figure, encode_png(self.figure))

    def save_calibration(self, folder: Path, numbers: Mapping[str, Any]) -> None:
        """Write ranks, figure and numbers into a new folder, or nothing."""
        try:
            self.save(folder / "ranks.npz", folder / "calibration.png")
            # Last, because a folder with the numbers is whole.
            write_json(folder / "calibration.json", numbers)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@dataclasses.dataclass(frozen=True)
class AbstractFitted(abc.ABC, Generic[Data, System]):
    """A fitted model: its task, the `system` that the task built, and the numbers that were learned and `selected`."""

    task: AbstractTask[Data, System]
    system: System
    selected: Selected

    @property
    def description(self) -> Any:
        """Shapes, likelihood and units of its data."""
        return getattr(self.system, "description")  # noqa: B009 - each system has one

    @abc.abstractmethod
    def open(self, data: Source, *, message: Message | None = None) -> Data:
        """New data, checked.

        Raises:
            BadInputError: other features than the model was fitted to, or numbers that its likelihood cannot explain.
        """

    @abc.abstractmethod
    def infer(self, data: Source, *, key: Key, out: Path | None = None, on_progress: OnProgress = ignore) -> Outcome:
        """Posteriors and free energies.

        Args:
            key: of all draws; what a row or sequence gets depends on its number and not on the others.
            out: a new `.npz`, written block by block; None for arrays in memory.
            on_progress: told the number of rows or sequences that are done.
        """

    @abc.abstractmethod
    def evaluate(self, data: Source, *, key: Key, on_progress: OnProgress = ignore) -> Outcome:
        """How likely new data are; arguments as for `infer`."""

    @abc.abstractmethod
    def sample(self, number: int, *, key: Key) -> Outcome:
        """Draws from the model, in the unit of the data."""

    @abc.abstractmethod
    def beginning(self, data: Data) -> Data:
        """As many of the data as a report looks at."""

    @abc.abstractmethod
    def measure(self, data: Data, train: Data, context: RunContext, *, key: Key) -> dict[str, Any]:
        """Averages for the end of a fit, beside those of baselines that are learned from `train`."""

    @abc.abstractmethod
    def report(self, data: Data, context: RunContext, *, key: Key) -> None:
        """Draw what was learned, and put it into the report of a run."""

    def forecast(self, data: Source, **options: Any) -> Outcome:
        """How sequences go on."""
        raise BadInputError(
            f"Expected a fit to sequences, whose data go on, got one to {self.task.name}: fit with the task sequences."
        )

    def calibrate(self, **options: Any) -> Outcome:
        """Simulation-based calibration of the model with its engine."""
        raise BadInputError(f"Expected a fit to rows, got one to {self.task.name}: their calibration is not there yet.")

    def save(self, folder: str | Path) -> None:
        """Write the model into a folder, from which `load` reads it."""
        content = {
            "format": FORMAT,
            "version": __version__,
            "task": self.task.name,
            "options": dataclasses.asdict(self.task.options),
            "precision": precision(),
        }
        for name, tree in (("description", self.description), ("selected", self.selected)):
            save_checkpoint(Path(folder) / "fitted" / f"{name}.npz", tree, identity=f"{identity(content)}: {name}")
        # Last, because a folder with the options holds a model.
        write_json(Path(folder) / NAME, content)


def identity(content: Mapping[str, Any]) -> str:
    """Of a fitted model, that only models of the same task, options and precision share."""
    parts = [content["task"], content["options"], content["precision"]]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"fitted {content['task']} {digest[:12]}"
