"""Models with an exact Kalman filter at the maximum of their likelihood, by a quasi-Newton method.

Expectation maximisation creeps where little noise is left or many parameters do the same; L-BFGS-B takes tens of steps there. It needs
all digits of gradients, so that the evidence is computed in 64 bits whatever the types of the parameters.

References:
    Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization", 1995, as scipy has it.
"""

import math
from collections.abc import Callable
from typing import Generic, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import OptimizeResult, minimize

from ...models.sequential import AbstractModelParameters, pad_actions
from ...results import BadInputError
from ...typing import Action, Array, Float, Int, Scalar
from .._filter import length_mask
from ..filters import log_evidence

Parameters = TypeVar("Parameters", bound=AbstractModelParameters)

_MEMORY = 20
"""Pairs of steps and gradients from which curvature is known; scipy has 10."""

_WORSE = 1e3
"""What an evaluation that is not finite is worse by than the last finite one, in nats a number, so that the search turns back."""


@final
class MostLikely(eqx.Module, Generic[Parameters]):
    """Parameters at a maximum of the likelihood.

    Attributes:
        parameters: of the types that they started with.
        log_evidence_nats: log p(observations) at the start and after each step, summed over sequences.
        converged: whether the search ended by itself, not by `num_steps`.
    """

    parameters: Parameters
    log_evidence_nats: np.ndarray
    converged: bool = eqx.field(static=True)


def maximum_likelihood(
    parameters: Parameters,
    observations: Float[Array | np.ndarray, "sequences time m"],
    actions: Action = None,
    *,
    lengths: Int[Array, " sequences"] | None = None,
    num_steps: int = 200,
    tolerance: float = 1e-8,
    callback: Callable[[int, float], None] | None = None,
) -> MostLikely[Parameters]:
    """Maximise log p(observations) over all parameters of a model.

    Args:
        parameters: where to start.
        observations: NaN where missing.
        actions: with leading axes [sequences, time - 1], or None; `TimedAction` for a model in continuous time.
        lengths: of sequences that were padded (with anything) to one length.
        num_steps: steps of the search, at most.
        tolerance: gain of one step, in nats for each observed number, below which the search ends.
        callback: called after each step with its number and log p(observations).

    Raises:
        BadInputError: observations have no sequence axis, nothing was observed, or the evidence at the start is not finite.
    """
    values, mask = _masked(observations, lengths)
    count = int((~np.isnan(values)).sum())
    if count == 0 or num_steps < 0:
        raise BadInputError(
            f"Expected observed numbers and num_steps >= 0, got {count} numbers and num_steps={num_steps}."
        )
    lowest, _ = _flat(parameters.lowest())
    with jax.enable_x64(True):
        start, values, actions = jax.tree.map(
            _double, (parameters, values, pad_actions(actions, jnp.asarray(mask[:, 1:])))
        )
        vector, unravel = _flat(start)
        latest = -np.inf

        def energy(vector: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal latest
            evidence, gradient = _value_and_gradient(unravel(vector), values, actions)
            slope, _ = _flat(gradient)
            if not np.isfinite(evidence) or not np.isfinite(slope).all():
                return _WORSE - latest / count, np.zeros_like(slope)
            latest = float(evidence)
            return -latest / count, -slope / count

        def after(intermediate_result: OptimizeResult) -> None:
            path.append(-count * float(intermediate_result.fun))
            if callback is not None:
                callback(len(path) - 1, path[-1])

        path = [-count * energy(vector)[0]]
        if not np.isfinite(latest):
            raise BadInputError(
                "Expected a start at which the evidence is finite: choose parameters nearer to the data."
            )
        found = minimize(
            energy,
            np.maximum(vector, lowest),
            jac=True,
            method="L-BFGS-B",
            bounds=[(low if np.isfinite(low) else None, None) for low in lowest],
            callback=after,
            options={
                "maxiter": num_steps,
                "maxfun": 20 * num_steps + 20,
                "maxcor": _MEMORY,
                "ftol": tolerance,
                "gtol": tolerance,
            },
        )
        best = unravel(found.x)
    kept = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, jnp.result_type(like)), best, parameters)
    return MostLikely(kept, np.asarray(path), bool(found.success))


@eqx.filter_jit
@eqx.filter_value_and_grad
def _value_and_gradient(parameters: AbstractModelParameters, values: Array, actions: Action) -> Scalar:
    model = parameters.model()
    return jnp.sum(jax.vmap(lambda x, u: log_evidence(model, x, u))(values, actions))


def _masked(observations: Array | np.ndarray, lengths: Array | None) -> tuple[np.ndarray, np.ndarray]:
    """Observations with NaN beyond the ends, and which steps there are."""
    values = np.asarray(observations, np.float64)
    num, time = values.shape[:2]
    mask = np.ones((num, time), bool) if lengths is None else np.asarray(length_mask(lengths, time))
    return np.where(mask[:, :, None], values, np.nan), mask


def _double(leaf: Array | np.ndarray) -> Array:
    return jnp.asarray(np.asarray(leaf), jnp.float64)


def _flat(tree: Parameters) -> tuple[np.ndarray, Callable[[np.ndarray], Parameters]]:
    """All numbers in one vector, and the way back; in NumPy, where nothing is compiled."""
    leaves, structure = jax.tree.flatten(tree)
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

    def unravel(vector: np.ndarray) -> Parameters:
        parts = np.split(vector, ends)
        return jax.tree.unflatten(structure, [jnp.asarray(p.reshape(s)) for p, s in zip(parts, shapes, strict=True)])

    return np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in leaves]), unravel
