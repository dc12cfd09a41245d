"""The numbers of a fit or an evaluation, in words."""

import math
from typing import Any

_WORDS = {
    "elbo_nats": "bound on log p(x), nats",
    "log_likelihood_nats": "log p(x), importance-weighted, nats",
    "distortion_nats": "distortion, nats",
    "rate_nats": "rate, nats",
    "free_energy_per_step_nats": "free energy per step, nats",
    "one_step_error": "error one step ahead, root mean square",
    "one_step_wrong": "share of wrong symbols one step ahead",
    "bits_per_dimension": "bits per dimension",
    "perplexity": "perplexity",
    "share_pareto_k_above_0.7": "share of rows with Pareto k > 0.7",
}
_ESTIMATES = {
    "exact": "log p(x), exact, nats",
    "log score of an approximate filter": "log p(x) by an approximate filter, nats",
    "bound by a particle filter": "bound on log p(x) by particles, nats",
}
"""What the free energy of sequences stands for, where it is not a bound of variational inference."""
_ERRORS = {"elbo_nats": "elbo_stderr_nats", "log_likelihood_nats": "stderr_nats"}


def number(value: float, error: float | None = None) -> str:
    """A number for reading, with its standard error where it has one."""
    digits = 2 if abs(value) >= 10 else 4
    known = error is not None and math.isfinite(error)
    return f"{value:.{digits}f} ± {error:.{digits}f}" if known else f"{value:.{digits}f}"


def summary_rows(summary: dict[str, Any], unit: str = "row") -> list[tuple[str, str]]:
    """What a summary of rows or sequences says, in words and numbers."""
    words_of = _WORDS
    if summary.get("exact"):
        # The bound is the likelihood itself.
        words_of = {**_WORDS, "log_likelihood_nats": "log p(x), exact, nats"}
        words_of.pop("elbo_nats")
    elif summary.get("estimate") in _ESTIMATES:
        words_of = {**_WORDS, "elbo_nats": _ESTIMATES[summary["estimate"]]}
    rows = [
        (words, number(summary[name], summary.get(_ERRORS.get(name, ""))))
        for name, words in words_of.items()
        if summary.get(name) is not None
    ]
    if summary.get("gain_nats") is not None:
        words = f"gain over {summary['best_baseline']}, nats a {summary['gain_per']}"
        rows.append((words, number(summary["gain_nats"], summary.get("gain_stderr_nats"))))
    return (
        rows if unit == "row" else [(words.replace("log p(x)", f"log p(x) of a {unit}"), text) for words, text in rows]
    )
