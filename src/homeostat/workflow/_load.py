"""Fitted models read back from folders, and tasks from their options."""

import json
from pathlib import Path
from typing import Any

from .._version import __version__
from ..results import BadInputError, CheckpointError
from ..train import load_checkpoint
from ._fitted import FORMAT, NAME, identity, precision
from ._task import AbstractTask
from .rows import RowsOptions
from .rows._task import RowsTask
from .sequences import SequencesOptions
from .sequences._task import SequencesTask


def task_from(options: RowsOptions | SequencesOptions) -> AbstractTask:
    """The task that options belong to."""
    return RowsTask(options) if isinstance(options, RowsOptions) else SequencesTask(options)


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
        kind = {"rows": RowsOptions, "sequences": SequencesOptions}[content["task"]]
        task, bits, mark = task_from(kind(**content["options"])), content["precision"], identity(content)
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
    system = task.build(load_checkpoint(description, identity=f"{mark}: description").tree, key=None)
    like = task.start(system)
    return task.fitted(system, load_checkpoint(selected, like=like, identity=f"{mark}: selected").tree)


def _nothing(path: Path) -> Exception:
    """Why a folder holds no fitted model."""
    try:
        asked = json.loads((path / "config.json").read_text(encoding="utf-8"))
        name, task, version = asked["experiment"], asked["config"].get("task"), asked.get("homeostat", "0.1")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return BadInputError(
            f"Expected the folder of a run of `homeostat fit`, or of a saved model, got {path}: it holds no {NAME}."
        )
    if task is not None:
        return BadInputError(
            f"Expected a fitted model in {path}, got a run that is not finished: homeostat resume {path}"
        )
    if name not in ("fit", "fit-sequences"):
        return BadInputError(
            f"Expected a run of `homeostat fit`, got one of {name} in {path}. Name the folder of a fit."
        )
    return CheckpointError(
        f"Expected a run of this version of homeostat ({__version__}), got one that homeostat {version} wrote in an older format "
        f"in {path}: use that version, or fit again."
    )
