"""The loop of expectation maximisation, whatever the model."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, final

import equinox as eqx
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
    """

    model: Model
    log_evidence_nats: Float[Array, " steps"]


@eqx.filter_jit
def ascend_evidence(
    improve: Callable[[Any], tuple[Any, Scalar]],
    model: Model,
    num_steps: int,
    throw: bool,
    finite: Callable[[Any], Bool[Array, ""]] = lambda model: jnp.ones((), bool),
) -> Learned[Model]:
    """Steps of EM from a model on, `improve(model) -> (better model, log p(observations) under the given one)`.

    With `throw` it raises if the evidence ends non-finite, or `finite` is false of what was learned.
    """
    learned, path = scan(lambda current, _: improve(current), model, length=num_steps)
    _, last = improve(learned)
    path = jnp.concatenate([path, last[None]])
    if throw:
        fine = jnp.isfinite(last) & finite(learned)
        result = RESULTS.where(fine, RESULTS.successful, RESULTS.nonfinite_energy)
        path = result.error_if(path, result != RESULTS.successful)
    return Learned(learned, path)
