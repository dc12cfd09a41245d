"""What a fit is worth: its model beside simple ones that need no training, in numbers and in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics import Baseline, Estimated

UNUSED_NATS = 0.01
"""Rate below which the latents say nothing about the data."""


def baseline_numbers(
    baselines: Sequence[Baseline], nats: Sequence[float], gain: Estimated, *, per: str, estimate: str
) -> dict[str, Any]:
    """The part of a summary about baselines, the best on held-out training data first.

    Args:
        nats: mean log density of the evaluated data under each.
        gain: of the model over the first.
        per: what the means are over, in words.
        estimate: which of the model's numbers is compared, in words.
    """
    told = [
        {"name": baseline.name, "nats": value, "training_held_out_nats": baseline.held_out_nats}
        for baseline, value in zip(baselines, nats, strict=True)
    ]
    return {
        "baselines": told,
        "best_baseline": baselines[0].name,
        "gain_nats": float(gain.value),
        "gain_stderr_nats": float(gain.stderr),
        "gain_per": per,
        "gain_of": estimate,
    }


def finite(nats: Any) -> np.ndarray:
    """In 64 bits, NaN where a training that failed left something else that is not finite."""
    values = np.asarray(nats, np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def gain_sentence(summary: Mapping[str, Any]) -> str | None:
    """By how much the model is better or worse than its best baseline; None where it was not compared, or a number is not finite."""
    gain = _finite(summary.get("gain_nats"))
    if gain is None:
        return None
    verb, to = ("gains", "over") if gain >= 0.0 else ("loses", "to")
    count = len(summary["baselines"])
    among = f", the best of {count} baselines" if count > 1 else ""
    value = _rounded(abs(gain), _finite(summary["gain_stderr_nats"]))
    return f"{verb} {value} nats a {summary['gain_per']} {to} {summary['best_baseline']}{among}"


def gain_warnings(summary: Mapping[str, Any], rate_nats: float | None) -> list[str]:
    """Why a fit should not be relied on: it is worse than its baseline by more than the error, or does not use its latents."""
    found, gain, error = [], _finite(summary.get("gain_nats")), _finite(summary.get("gain_stderr_nats"))
    if gain is not None and gain < -(error or 0.0):
        found.append(
            f"the model is worse than its baseline, {summary['best_baseline']}: try more --steps, other --latents, or another "
            f"--model or --engine"
        )
    if rate_nats is not None and rate_nats < UNUSED_NATS:
        found.append(
            f"the latents are not used: they carry {rate_nats:.2g} nats; try more --steps, --anneal, or another --engine"
        )
    return found


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _rounded(value: float, error: float | None) -> str:
    """A number with as many digits as its error has two of."""
    if not error:
        return f"{value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
