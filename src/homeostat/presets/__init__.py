"""From options to objects: models, engines and learners for a user's own rows, by name.

The options are light; what builds from them is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from ._config import FitConfig as FitConfig

if TYPE_CHECKING:
    from ._closed_form import (
        ClosedForm as ClosedForm,
        closed_form_steps as closed_form_steps,
        fit_closed_form as fit_closed_form,
    )
    from ._observations import (
        Observations as Observations,
        describe as describe,
        fingerprint as fingerprint,
        requirements as requirements,
    )
    from ._system import (
        Kept as Kept,
        Perception as Perception,
        System as System,
        build_system as build_system,
        check_config as check_config,
        failure_text as failure_text,
        outline_system as outline_system,
    )

_HOME = {
    "ClosedForm": "_closed_form",
    "Kept": "_system",
    "Observations": "_observations",
    "Perception": "_system",
    "System": "_system",
    "build_system": "_system",
    "check_config": "_system",
    "closed_form_steps": "_closed_form",
    "describe": "_observations",
    "failure_text": "_system",
    "fit_closed_form": "_closed_form",
    "outline_system": "_system",
    "fingerprint": "_observations",
    "requirements": "_observations",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
