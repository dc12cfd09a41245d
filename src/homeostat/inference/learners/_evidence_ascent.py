"""The loop of expectation maximisation, whatever the model."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._scan import scan
from ...results import RESULTS
from ...typing import Array, Bool, Float, Scalar

Model = TypeVar("Model")


@final
class Learned(eqx.Module, Generic[Model]):
    """What expectation maximisation found.

    Attributes:
        model: the model after the last step.
        log_evidence_nats: log p(observations) before each step and after the last, [num_steps + 1]: summed over sequences, or
            on average over rows.
        log_prior_nats: log p(parameters) less its value at the centre of the prior, likewise; None where parameters have no
            prior. The sum of both is what no step lowers.
    """

    model: Model
    log_evidence_nats: Float[Array, " steps"]
    log_prior_nats: Float[Array, " steps"] | None = None


class Improved(NamedTuple):
    """A better model, and log p(observations) and log p(parameters) of the one before it."""

    model: Any
    log_evidence_nats: Scalar
    log_prior_nats: Scalar | None = None


@eqx.filter_jit
def ascend_evidence(
    improve: Callable[[Any], Improved],
    model: Model,
    num_steps: int,
    throw: bool,
    finite: Callable[[Any], Bool[Array, ""]] = lambda model: jnp.ones((), bool),
) -> Learned[Model]:
    """Steps of EM from a model on.

    With `throw` it raises if the evidence ends non-finite, or `finite` is false of what was learned.
    """

    def step(current: Any, _: None) -> tuple[Any, tuple[Scalar, Scalar | None]]:
        better, evidence, prior = improve(current)
        return better, (evidence, prior)

    learned, paths = scan(step, model, length=num_steps)
    _, last = step(learned, None)
    evidence, prior = jax.tree.map(lambda path, end: jnp.concatenate([path, end[None]]), paths, last)
    if throw:
        fine = jnp.isfinite(evidence[-1]) & finite(learned)
        result = RESULTS.where(fine, RESULTS.successful, RESULTS.unbounded_evidence)
        evidence = result.error_if(evidence, result != RESULTS.successful)
    return Learned(learned, evidence, prior)
