"""From options to objects: models, engines and learners for a user's own rows, by name.

The options are light; what builds from them is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from ._config import FitConfig as FitConfig
from ._sequence_config import SEQUENCE_MODELS as SEQUENCE_MODELS, SequenceFitConfig as SequenceFitConfig

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
    from ._sequence_data import (
        SequenceObservations as SequenceObservations,
        check_sequences as check_sequences,
        describe_sequences as describe_sequences,
        sequence_fingerprint as sequence_fingerprint,
        sequence_format as sequence_format,
    )
    from ._sequence_system import (
        SequenceKept as SequenceKept,
        SequenceSystem as SequenceSystem,
        Tracker as Tracker,
        build_sequence_system as build_sequence_system,
        check_sequence_config as check_sequence_config,
        outline_sequence_system as outline_sequence_system,
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
    "SequenceKept": "_sequence_system",
    "SequenceObservations": "_sequence_data",
    "SequenceSystem": "_sequence_system",
    "Tracker": "_sequence_system",
    "build_sequence_system": "_sequence_system",
    "check_sequence_config": "_sequence_system",
    "check_sequences": "_sequence_data",
    "describe_sequences": "_sequence_data",
    "outline_sequence_system": "_sequence_system",
    "sequence_fingerprint": "_sequence_data",
    "sequence_format": "_sequence_data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
