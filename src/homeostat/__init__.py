"""Learned feedback and feedforward perception and control: one generative model, any inference engine, any controller.

    from homeostat import infer
    from homeostat.inference.engines import NaturalGradient

Names of the top level are imported on first use, so that `import homeostat` costs nothing and the command line can
answer before JAX is loaded.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .agents import rollout as rollout
    from .core import (
        AbstractAgent as AbstractAgent,
        AbstractController as AbstractController,
        AbstractEngine as AbstractEngine,
        AbstractEnvironment as AbstractEnvironment,
        AbstractFamily as AbstractFamily,
        AbstractFilter as AbstractFilter,
        AbstractLearner as AbstractLearner,
        AbstractModel as AbstractModel,
        AbstractObjective as AbstractObjective,
    )
    from .inference import filter as filter, infer as infer, smooth as smooth
    from .train import fit as fit

_HOME = {
    "AbstractAgent": "core",
    "AbstractController": "core",
    "AbstractEngine": "core",
    "AbstractEnvironment": "core",
    "AbstractFamily": "core",
    "AbstractFilter": "core",
    "AbstractLearner": "core",
    "AbstractModel": "core",
    "AbstractObjective": "core",
    "filter": "inference",
    "fit": "train",
    "infer": "inference",
    "rollout": "agents",
    "smooth": "inference",
}

_NAMESPACES = (
    "agents",
    "control",
    "core",
    "data",
    "distributions",
    "environments",
    "flows",
    "inference",
    "metrics",
    "models",
    "nn",
    "objectives",
    "workflow",
    "results",
    "runs",
    "testing",
    "train",
    "typing",
    "viz",
)


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_NAMESPACES})
