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
    from .inference import infer as infer

_HOME = {
    "AbstractController": "core",
    "AbstractEngine": "core",
    "AbstractEnvironment": "core",
    "AbstractFamily": "core",
    "AbstractFilter": "core",
    "AbstractLearner": "core",
    "AbstractModel": "core",
    "AbstractObjective": "core",
    "infer": "inference",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
