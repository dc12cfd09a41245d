"""From data of a user's own to a fitted model, and what can be asked of it: `fit`, `load`, and the tasks.

    fitted = fit(RowsTask(RowsOptions(engine="iterative")), "sensors.npz:train", key=jax.random.key(0))
    fitted.evaluate("sensors.npz:test", key=jax.random.key(1)).numbers

The options are light; whatever computes is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._options import AbstractOptions as AbstractOptions
from .control import ControlOptions as ControlOptions, preset as preset
from .rows import RowsOptions as RowsOptions
from .sequences import SequencesOptions as SequencesOptions

if TYPE_CHECKING:
    from ._arrays import read_inputs as read_inputs
    from ._fit import fit as fit
    from ._fitted import AbstractFitted as AbstractFitted, Outcome as Outcome
    from ._load import fit_experiment as fit_experiment, load as load, task_from as task_from, task_of as task_of
    from ._selection import candidates as candidates
    from ._task import AbstractTask as AbstractTask, Selected as Selected, make_optimizer as make_optimizer
    from .control._returns import returns_summary as returns_summary
    from .control._system import (
        learner_of as learner_of,
        loader_of as loader_of,
        num_updates as num_updates,
        worlds_of as worlds_of,
    )
    from .control._train import train as train, train_experiment as train_experiment
    from .control._trained import TrainedAgent as TrainedAgent, load_agent as load_agent
    from .rows._fitted import FittedRows as FittedRows
    from .rows._task import RowsTask as RowsTask
    from .sequences._fitted import FittedSequences as FittedSequences
    from .sequences._task import SequencesTask as SequencesTask

_NAMES = {
    "_arrays": "read_inputs",
    "_fit": "fit",
    "_fitted": "AbstractFitted Outcome",
    "_load": "fit_experiment load task_from task_of",
    "_selection": "candidates",
    "_task": "AbstractTask Selected make_optimizer",
    "control._returns": "returns_summary",
    "control._system": "learner_of loader_of num_updates worlds_of",
    "control._train": "train train_experiment",
    "control._trained": "TrainedAgent load_agent",
    "rows._fitted": "FittedRows",
    "rows._task": "RowsTask",
    "sequences._fitted": "FittedSequences",
    "sequences._task": "SequencesTask",
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
