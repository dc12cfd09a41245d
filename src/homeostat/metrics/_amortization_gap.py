"""How far an engine stays behind the best that the family can do, and how fast it gets there.

    gap = F(q of the engine) - min_q F(q)        in nats, for one observation

The minimum is not known in general: the least energy of many long optimisations stands for it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..results import BadInputError
from ..typing import Array, Bool, Float, Key
from ._likelihood import mean_with_error
from ._statistics import Estimated, bootstrap


class Gap(NamedTuple):
    """Amortization gaps of one engine over a set of observations.

    Attributes:
        nats: gap of each observation; negative where the engine beats the reference.
        mean_nats: their mean with its standard error.
        median_nats: their median with its bootstrap standard error.
    """

    nats: Float[Array, " n"]
    mean_nats: Estimated
    median_nats: Estimated


def amortization_gap(energy_nats: Float[Array, " n"], optimum_nats: Float[Array, " optima"], *, key: Key) -> Gap:
    """Gaps to the optimum, observation by observation.

    Args:
        energy_nats: free energy that the engine reached on each observation.
        optimum_nats: least known free energy of each observation within the same family, measured in the same way.
        key: for the bootstrap.

    References:
        Cremer, Li and Duvenaud, "Inference suboptimality in variational autoencoders", ICML 2018; Marino, Sec. 3.1.
    """
    if energy_nats.shape != optimum_nats.shape:
        raise BadInputError(
            f"Expected one optimum for each energy, got shapes {energy_nats.shape} and {optimum_nats.shape}."
        )
    gap = energy_nats - optimum_nats
    return Gap(gap, mean_with_error(gap), bootstrap(jnp.median, gap, key=key))


def share_closed(slow: Float[Array, " n"], fast: Float[Array, " n"], *, key: Key) -> Estimated:
    """Share of the mean gap `slow` that is gone in the mean gap `fast`: 1 - mean(fast) / mean(slow).

    Args:
        slow: gaps of the engine to be improved, nats.
        fast: gaps of the improved engine on the same observations, nats.
        key: for the bootstrap over observations.
    """
    return bootstrap(lambda pair: 1.0 - jnp.mean(pair[1]) / jnp.mean(pair[0]), (slow, fast), key=key)


class FirstPassage(NamedTuple):
    """When paths first reach a level.

    Attributes:
        steps: index of the first energy at or below the level; the length of the path where it is never reached.
        reached: whether it was.
    """

    steps: Float[Array, " n"]
    reached: Bool[Array, " n"]


def steps_to(path_nats: Float[Array, "n steps"], level_nats: Float[Array, " n"]) -> FirstPassage:
    """Steps until each path is at or below its level; a path that never is counts with its length, a lower bound.

    Args:
        path_nats: energy before each step.
        level_nats: for instance the optimum plus one nat.
    """
    below = path_nats <= level_nats[:, None]
    reached = jnp.any(below, axis=1)
    steps = jnp.where(reached, jnp.argmax(below, axis=1), path_nats.shape[1])
    return FirstPassage(steps.astype(jax.dtypes.canonicalize_dtype(float)), reached)
