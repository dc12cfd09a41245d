"""From options to objects: models, engines and learners for a user's own rows, by name.

The options are light; what builds from them is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from .rows._options import RowsOptions as RowsOptions
from .sequences._options import SEQUENCE_MODELS as SEQUENCE_MODELS, SequencesOptions as SequencesOptions

if TYPE_CHECKING:
    from .rows._closed_form import (
        ClosedForm as ClosedForm,
        closed_form_steps as closed_form_steps,
        fit_closed_form as fit_closed_form,
    )
    from .rows._describe import (
        Observations as Observations,
        describe as describe,
        fingerprint as fingerprint,
        requirements as requirements,
    )
    from .rows._system import (
        InferenceSetup as InferenceSetup,
        Kept as Kept,
        System as System,
        build_rows_system as build_rows_system,
        check_rows_options as check_rows_options,
        failure_text as failure_text,
        outline_rows_system as outline_rows_system,
    )
    from .sequences._describe import (
        SequencesDescription as SequencesDescription,
        check_sequences as check_sequences,
        describe_sequences as describe_sequences,
        sequence_format as sequence_format,
        sequences_fingerprint as sequences_fingerprint,
    )
    from .sequences._system import (
        SequenceKept as SequenceKept,
        SequencesSystem as SequencesSystem,
        Tracker as Tracker,
        build_sequences_system as build_sequences_system,
        check_sequences_options as check_sequences_options,
        outline_sequences_system as outline_sequences_system,
    )

_HOME = {
    "ClosedForm": "rows._closed_form",
    "Kept": "rows._system",
    "Observations": "rows._describe",
    "InferenceSetup": "rows._system",
    "System": "rows._system",
    "build_rows_system": "rows._system",
    "check_rows_options": "rows._system",
    "closed_form_steps": "rows._closed_form",
    "describe": "rows._describe",
    "failure_text": "rows._system",
    "fit_closed_form": "rows._closed_form",
    "outline_rows_system": "rows._system",
    "fingerprint": "rows._describe",
    "requirements": "rows._describe",
    "SequenceKept": "sequences._system",
    "SequencesDescription": "sequences._describe",
    "SequencesSystem": "sequences._system",
    "Tracker": "sequences._system",
    "build_sequences_system": "sequences._system",
    "check_sequences_options": "sequences._system",
    "check_sequences": "sequences._describe",
    "describe_sequences": "sequences._describe",
    "outline_sequences_system": "sequences._system",
    "sequences_fingerprint": "sequences._describe",
    "sequence_format": "sequences._describe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
