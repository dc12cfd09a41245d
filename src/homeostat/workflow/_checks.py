"""Checks of options, before anything is read."""

import math

from ..results import BadInputError
from ._options import AbstractOptions


def require(holds: bool, expected: str, got: object) -> None:
    """Refuse a value, in a sentence.

    Raises:
        BadInputError: it does not hold.
    """
    if not holds:
        raise BadInputError(f"Expected {expected}, got {got}.")


def require_positive(options: AbstractOptions, *names: str) -> None:
    """Refuse sizes below one, by the names of their options."""
    for name in names:
        size = getattr(options, name)
        require(1 <= size < math.inf, f"--{name.replace('_', '-')} of at least 1", size)


def check_training(options: AbstractOptions) -> None:
    """Refuse numbers of training that mean nothing.

    Raises:
        BadInputError: one is out of its range.
    """
    require_positive(options, "steps", "batch_size", "validate_every", "report_every")
    require(options.patience >= 0, "--patience of 0 or more", options.patience)
    require(0.0 <= options.clip_norm < math.inf, "--clip-norm of 0 or more", options.clip_norm)
    require(0.0 < options.learning_rate < math.inf, "a positive --learning-rate", options.learning_rate)
    require(0.0 <= options.validation_fraction < 1.0, "a --validation-fraction in [0, 1)", options.validation_fraction)
    require(options.anneal is None or options.anneal >= 1, "--anneal of 1 or more", options.anneal)
