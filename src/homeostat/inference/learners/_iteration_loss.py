"""What an engine's iterations teach: the engine by some of them, the model by others.

    lambda_k = engine(lambda_{k-1}),   k = 1..K
    engine:  sum_k a_k F(lambda_k)     with the model held fixed
    model:   sum_k b_k F(lambda_k)     with lambda_k held fixed where a_k = 0

An iteration that teaches the engine alone costs no evaluation: its energy is that which the next iteration has computed as its
input (`Unrolled.energies_nats`).
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEngine, AbstractFamily, AbstractObjective
from ...objectives import FreeEnergyTerms
from ...typing import Array, Bool, Distribution, Energy, Key, PyTree, Scalar
from .._unroll import constant, unroll


class Posed(NamedTuple):
    """A problem of inference."""

    objective: AbstractObjective
    family: AbstractFamily
    args: PyTree


def free_energy_terms(objective: Any, distribution: Distribution, args: PyTree, *, key: Key) -> FreeEnergyTerms:
    """Parts of a free energy at a distribution."""
    return objective.terms(distribution, args, key=key)


class IterationLoss(NamedTuple):
    """What an engine's run contributes to a loss.

    Attributes:
        loss: its gradient is what the iterations teach.
        terms: of the energy at the last iterate.
        weighted_nats: the weighted energy there.
        params: lambda_K.
    """

    loss: Scalar
    terms: FreeEnergyTerms
    weighted_nats: Scalar
    params: PyTree


def iteration_loss(
    run: Posed,
    live: Posed,
    engine: AbstractEngine,
    start: PyTree,
    weigh: Callable[[FreeEnergyTerms], Energy],
    weights: tuple[tuple[float, ...], tuple[float, ...]],
    *,
    key: Key,
    terms: Callable[..., FreeEnergyTerms] = free_energy_terms,
    inlined: int = 4,
    observed: Bool[Array, ""] | None = None,
    shared: bool = False,
) -> IterationLoss:
    """Run an engine, and weigh its iterations.

    Args:
        run: what the engine works on.
        live: the same problem as the model learns from it; gradients may flow through more of it.
        engine: any engine.
        start: lambda_0.
        weigh: terms to the energy that is descended.
        weights: a_1, ..., a_K and b_1, ..., b_K.
        key: split over iterations.
        terms: of an objective at a distribution.
        inlined: iterations that are compiled one after the other instead of in a loop.
        observed: False where nothing was observed: then the last iterate is the start.
        shared: whether the family has numbers that are learned too, so that energies are evaluated for them.
    """
    a, b = weights
    num_steps = len(a)

    def run_engine(
        posed: Posed, engine: AbstractEngine, key: Key, num_steps: int, params: PyTree, state: PyTree = None
    ):
        problem = posed.objective, engine, posed.family, posed.args
        return unroll(*problem, key=key, params=params, state=state, num_steps=num_steps, inlined=inlined)

    # Where no later iteration teaches the engine, nothing is differentiated through the later ones.
    taught = max((k for k, weight in enumerate(a, 1) if weight), default=0)
    run_key, rest_key, energy_key = jr.split(key, 3)
    found = run_engine(run, engine, run_key, taught, start)
    iterates = [found.iterate(k) for k in range(1, taught + 1)]
    if taught < num_steps:
        fixed, engine, last, state = constant((run, engine, found.iterate(-1), found.state))
        rest = run_engine(fixed, engine, rest_key, num_steps - taught, last, state)
        iterates += [rest.iterate(k) for k in range(1, num_steps - taught + 1)]
    if observed is not None:
        iterates[-1] = jax.tree.map(lambda new, old: jnp.where(observed, new, old), iterates[-1], start)
    held = constant(live)._replace(family=live.family if shared else constant(live.family))
    loss, parts, value = jnp.zeros(()), None, None
    for k in range(1, num_steps + 1):
        of_engine, of_model, params = a[k - 1], b[k - 1], iterates[k - 1]
        if k < taught and not of_model and not shared:
            loss += of_engine * found.energies_nats[k]
        elif of_engine or of_model or k == num_steps:
            posed, weight = (live, of_model) if of_model else (held, of_engine)
            share = of_engine / weight if weight else 0.0
            q = posed.family(_shared(params, share))
            parts = terms(posed.objective, q, posed.args, key=jr.fold_in(energy_key, k))
            value = weigh(parts)
            loss += weight * value
    assert parts is not None and value is not None
    return IterationLoss(loss, parts, value, iterates[-1])


def _shared(params: PyTree, share: float) -> PyTree:
    """The parameters, with this share of their gradient."""
    if share == 1.0:
        return params
    fixed = jax.lax.stop_gradient(params)
    return jax.tree.map(lambda leaf, stop: share * leaf + (1.0 - share) * stop, params, fixed) if share else fixed


class AbstractIterationWeights(eqx.Module):
    """Which iterations teach."""

    @abc.abstractmethod
    def weights(self, num_steps: int) -> tuple[float, ...]:
        """Weight of F(lambda_k) for k = 1..num_steps; they sum to one."""


@final
class AllIterations(AbstractIterationWeights):
    """1/K each: the average over iterations.

    References:
        Marino (thesis), Sec. 3.5, "averaging over inference iterations".
    """

    def weights(self, num_steps: int) -> tuple[float, ...]:
        return (1.0 / num_steps,) * num_steps


@final
class LastIteration(AbstractIterationWeights):
    """The last only: the best estimate there is."""

    def weights(self, num_steps: int) -> tuple[float, ...]:
        return (0.0,) * (num_steps - 1) + (1.0,)


@final
class FirstIteration(AbstractIterationWeights):
    """The first only: an encoder that is refined by something else learns from its own estimate.

    References:
        Krishnan, Liang and Hoffman, "On the challenges of learning with inference networks on sparse, high-dimensional data",
        AISTATS 2018, Algorithm 1.
    """

    def weights(self, num_steps: int) -> tuple[float, ...]:
        return (1.0,) + (0.0,) * (num_steps - 1)
