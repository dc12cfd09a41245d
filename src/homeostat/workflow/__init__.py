"""From data of a user's own to a fitted model, and what can be asked of it: `fit`, `load`, and the tasks.

    fitted = fit(RowsTask(RowsOptions(engine="iterative")), "sensors.npz:train", key=jax.random.key(0))
    fitted.evaluate("sensors.npz:test", key=jax.random.key(1)).numbers

The options are light; whatever computes is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .rows import RowsOptions as RowsOptions
from .sequences import SEQUENCE_MODELS as SEQUENCE_MODELS, SequencesOptions as SequencesOptions

if TYPE_CHECKING:
    from ._arrays import ArraysWriter as ArraysWriter, write_arrays as write_arrays
    from ._context import FitContext as FitContext
    from ._fit import fit as fit
    from ._fitted import AbstractFitted as AbstractFitted, Outcome as Outcome
    from ._load import load as load, task_from as task_from
    from ._task import AbstractTask as AbstractTask, Selected as Selected
    from .rows._fitted import FittedRows as FittedRows
    from .rows._task import RowsTask as RowsTask
    from .sequences._fitted import FittedSequences as FittedSequences
    from .sequences._task import SequencesTask as SequencesTask

_HOME = {
    "AbstractFitted": "_fitted",
    "AbstractTask": "_task",
    "ArraysWriter": "_arrays",
    "FitContext": "_context",
    "FittedRows": "rows._fitted",
    "FittedSequences": "sequences._fitted",
    "Outcome": "_fitted",
    "RowsTask": "rows._task",
    "Selected": "_task",
    "SequencesTask": "sequences._task",
    "fit": "_fit",
    "load": "_load",
    "task_from": "_load",
    "write_arrays": "_arrays",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
