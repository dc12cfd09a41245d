"""What an engine's iterations teach: the engine by some of them, the model by others.

    lambda_k = engine(lambda_{k-1}),   k = 1..K
    engine:  sum_k a_k F(lambda_k)     with the model held fixed
    model:   sum_k b_k F(lambda_k)     with lambda_k held fixed where a_k = 0

An iteration that teaches the engine alone costs no evaluation: its energy is that which the next iteration has computed as its
input (`Unrolled.energies_nats`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEngine, AbstractFamily, AbstractObjective
from ...objectives import FreeEnergyTerms
from ...typing import Array, Bool, Distribution, Energy, Key, PyTree, Scalar
from .._unroll import constant, unroll


class Posed(NamedTuple):
    """A problem of inference.

    Attributes:
        objective: the energy.
        family: of q.
        args: what the energy depends on.
    """

    objective: AbstractObjective
    family: AbstractFamily
    args: PyTree


def free_energy_terms(objective: Any, distribution: Distribution, args: PyTree, *, key: Key) -> FreeEnergyTerms:
    """Parts of a free energy at a distribution."""
    return objective.terms(distribution, args, key=key)


class Options(NamedTuple):
    """How a problem is worked on and learned from.

    Attributes:
        weigh: terms to the energy that is descended.
        engine_weights: a_1, ..., a_K.
        model_weights: b_1, ..., b_K.
        inlined: iterations that are compiled one after the other instead of in a loop.
        terms: of an objective at a distribution.
    """

    weigh: Callable[[FreeEnergyTerms], Energy]
    engine_weights: tuple[float, ...]
    model_weights: tuple[float, ...]
    inlined: int = 4
    terms: Callable[..., FreeEnergyTerms] = free_energy_terms


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
    options: Options,
    *,
    key: Key,
    observed: Bool[Array, ""] | None = None,
    shared: bool = False,
) -> IterationLoss:
    """Run an engine, and weigh its iterations.

    Args:
        run: what the engine works on.
        live: the same problem as the model learns from it; gradients may flow through more of it.
        engine: any engine.
        start: lambda_0.
        options: which iterations teach what.
        key: split over iterations.
        observed: False where nothing was observed: then the last iterate is the start.
        shared: whether the family has numbers that are learned too, so that energies are evaluated for them.
    """
    a, b = options.engine_weights, options.model_weights
    num_steps = len(a)
    # Where no later iteration teaches the engine, nothing is differentiated through the later ones.
    taught = max((k for k, weight in enumerate(a, 1) if weight), default=0)
    run_key, rest_key, energy_key = jr.split(key, 3)
    found = unroll(*_order(run, engine), key=run_key, params=start, num_steps=taught, inlined=options.inlined)
    iterates = [found.iterate(k) for k in range(1, taught + 1)]
    if taught < num_steps:
        fixed, engine, last, state = constant((run, engine, found.iterate(-1), found.state))
        rest = unroll(
            *_order(fixed, engine),
            key=rest_key,
            params=last,
            state=state,
            num_steps=num_steps - taught,
            inlined=options.inlined,
        )
        iterates += [rest.iterate(k) for k in range(1, num_steps - taught + 1)]
    if observed is not None:
        iterates[-1] = jax.tree.map(lambda new, old: jnp.where(observed, new, old), iterates[-1], start)
    held = constant(live)._replace(family=live.family if shared else constant(live.family))
    loss, terms, value = jnp.zeros(()), None, None
    for k in range(1, num_steps + 1):
        of_engine, of_model, params = a[k - 1], b[k - 1], iterates[k - 1]
        if k < taught and not of_model and not shared:
            loss += of_engine * found.energies_nats[k]
        elif of_engine or of_model or k == num_steps:
            posed, weight = (live, of_model) if of_model else (held, of_engine)
            share = of_engine / weight if weight else 0.0
            terms = options.terms(
                posed.objective, posed.family(_shared(params, share)), posed.args, key=jr.fold_in(energy_key, k)
            )
            value = options.weigh(terms)
            loss += weight * value
    assert terms is not None and value is not None
    return IterationLoss(loss, terms, value, iterates[-1])


def _order(posed: Posed, engine: AbstractEngine) -> tuple[AbstractObjective, AbstractEngine, AbstractFamily, PyTree]:
    return posed.objective, engine, posed.family, posed.args


def _shared(params: PyTree, share: float) -> PyTree:
    """The parameters, with this share of their gradient."""
    if share == 1.0:
        return params
    fixed = jax.lax.stop_gradient(params)
    return jax.tree.map(lambda leaf, stop: share * leaf + (1.0 - share) * stop, params, fixed) if share else fixed
