"""Fitted models read back from folders, and tasks from their options."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data import TableColumns, holds_sequences
from ..results import BadInputError, CheckpointError
from ..runs import Experiment, Minutes, RunContext, precision, read_request
from ..train import load_checkpoint
from ..typing import Key
from ._fit import fit
from ._fitted import FORMAT, NAME, identity
from ._options import AbstractOptions
from ._tables import column_names
from ._task import AbstractTask
from .rows._task import RowsTask
from .sequences._task import SequencesTask

TASKS: dict[str, Any] = {task.name: task for task in (RowsTask, SequencesTask)}


def task_from(options: AbstractOptions) -> AbstractTask:
    """The task that options belong to."""
    return next(task for task in TASKS.values() if isinstance(options, type(task.options)))(options)


def task_of(data: str, sequence_column: str | None, time_column: str | None, left_out: tuple[str, ...]) -> str:
    """The name of the task that a file or folder is made for.

    Args:
        left_out: names of columns of a table, joined by commas.
    """
    drop = tuple(name for names in left_out for name in column_names(names))
    return "sequences" if holds_sequences(data, TableColumns(sequence_column, time_column, drop=drop)) else "rows"


def fit_experiment(config: Mapping[str, Any], folder: Path) -> Experiment:
    """Wraps a fit as an experiment, so that it can be run and resumed.

    Args:
        config: `task`, `data`, and the options.
        folder: of the run.

    Raises:
        CheckpointError: another version of the code wrote the configuration.
    """
    options = dict(config)
    try:
        task, data = options.pop("task"), options.pop("data")
        task = _task(task, options)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected the options of a fit in {folder}, got others: another version of homeostat started it. Use that "
            f"version, or start a new run."
        ) from error

    def run(config: Any, context: RunContext, *, key: Key) -> None:
        fit(task, data, context, key=key)

    summary = f"{task.options.model} with {task.options.engine} inference on {data}"
    return Experiment("fit", summary, "", Minutes(0, 0, 0), (), type(task.options), run)


def _task(name: str, options: Mapping[str, Any]) -> AbstractTask:
    return TASKS[name](type(TASKS[name].options)(**options))


def load(folder: str | Path) -> Any:
    """Read a fitted model.

    Args:
        folder: of a run of `homeostat fit`, or one that `save` wrote.

    Returns:
        `FittedRows` or `FittedSequences`.

    Raises:
        BadInputError: there is no fitted model, or one of another precision.
        CheckpointError: it is damaged, or from another version of the code.
    """
    path = Path(folder)
    if not (path / NAME).is_file():
        raise _nothing(path)
    try:
        content = json.loads((path / NAME).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"the format {content['format']}")
        task, bits, mark = _task(content["task"], content["options"]), content["precision"], identity(content)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected a fitted model of this version of homeostat in {path}, got something else ({error}): use the version that "
            f"wrote it, or fit again."
        ) from error
    if bits != precision():
        raise BadInputError(
            f"Expected {bits}-bit numbers, with which {path} was fitted, got {precision()}-bit. "
            f"Set JAX_ENABLE_X64={int(bits == 64)} and try again."
        )
    description, selected = (path / "fitted" / f"{name}.npz" for name in ("description", "selected"))
    system = task.build(load_checkpoint(description, identity=f"{mark}: description"), key=None)
    like = task.start(system)
    return task.fitted(system, load_checkpoint(selected, like=like, identity=f"{mark}: selected"))


def _nothing(path: Path) -> Exception:
    """Why a folder holds no fitted model.

    Raises:
        BadInputError: it is no run.
        CheckpointError: an older version wrote it.
    """
    request = read_request(path)
    if request.experiment != "fit":
        return BadInputError(
            f"Expected a run of `homeostat fit`, got one of {request.experiment} in {path}. Name the folder of a fit."
        )
    return BadInputError(f"Expected a fitted model in {path}, got a run that is not finished: homeostat resume {path}")
