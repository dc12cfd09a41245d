"""`unroll`: all iterates of an engine, as something to differentiate."""

from collections.abc import Callable
from typing import Generic, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from .._scan import scan
from ..core import AbstractEngine, AbstractFamily, AbstractObjective, StepInfo, check_differentiable, check_kind
from ..results import BadInputError
from ..typing import Array, Energy, Float, Key, Params, PyTree


@final
class Unrolled(eqx.Module, Generic[Params]):
    """Iterates of an engine with their energies.

    Attributes:
        path: lambda_0, ..., lambda_K, with a leading axis [num_steps + 1].
        energies_nats: objective at lambda_0, ..., lambda_{K-1}. Its derivative is that in `path`, with objective, family and
            args held fixed.
        state: the engine's final state, to go on from.
    """

    path: Params
    energies_nats: Float[Array, " num_steps"]
    state: PyTree

    def iterate(self, index: int) -> Params:
        """lambda_index."""
        return jax.tree.map(lambda leaf: leaf[index], self.path)


@eqx.filter_jit
def unroll(
    objective: AbstractObjective,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    args: PyTree,
    *,
    key: Key,
    params: Params | None = None,
    state: PyTree | None = None,
    num_steps: int,
    inlined: int = 1,
) -> Unrolled[Params]:
    """Run an engine and keep every iterate: lambda_{k+1} = engine.step(lambda_k).

    A learner of the engine descends a weighted sum of the energies. Where an engine computes the gradient g_k of the energy
    at lambda_k anyway, it serves twice: <g_k, lambda_k>, with g_k constant, has the gradient of that energy.

    Args:
        objective: the energy, in nats.
        engine: any engine.
        family: what the parameters parameterise.
        args: what the problem depends on.
        key: split over the steps.
        params: where to start; `family.init()` by default.
        state: engine state to go on from; a fresh one by default.
        num_steps: K.
        inlined: steps that are compiled one after the other instead of in a loop.

    Returns:
        Iterates, energies and the final state.

    Raises:
        BadInputError: `num_steps` is negative, `params` do not have the structure of `family.init()`, or draws of the family carry
            no gradient and the objective needs one.
    """
    if num_steps < 0:
        raise BadInputError(f"Expected num_steps >= 0, got {num_steps}.")
    check_kind(family, AbstractFamily, "the family")
    family = family.given(args)
    check_differentiable(objective, family)
    fixed_objective, fixed_family, fixed_args = constant((objective, family, args))

    def each(params: Params, info: StepInfo, step_key: Key) -> tuple[Params, Energy]:
        if info.gradient is None:
            return params, fixed_objective(fixed_family(params), fixed_args, key=step_key)
        changes = jax.tree.map(lambda g, p: jnp.sum(g * (p - jax.lax.stop_gradient(p))), info.gradient, params)
        return params, sum(jax.tree.leaves(changes), jax.lax.stop_gradient(info.energy_nats))

    keys = jr.split(key, num_steps)
    end, state, (path, energies) = run(
        objective, engine, family, args, each, keys, params=params, state=state, inlined=inlined
    )
    path = jax.tree.map(lambda before, last: jnp.concatenate([before, last[None]]), path, end)
    return Unrolled(path, energies, state)


def run(
    objective: AbstractObjective,
    engine: AbstractEngine,
    family: AbstractFamily,
    args: PyTree,
    each: Callable[[PyTree, StepInfo, Key], PyTree],
    keys: Array,
    *,
    params: PyTree | None,
    state: PyTree | None,
    inlined: int = 1,
) -> tuple[PyTree, PyTree, PyTree]:
    """Run an engine, one step for each key: its end, its state, and what `each(params, info, key)` keeps of every step."""
    check_kind(objective, AbstractObjective, "the objective")
    check_kind(engine, AbstractEngine, "the engine")
    params = family.init() if params is None else params
    _check_structure(family, params)
    state = engine.init(objective, family, params, args) if state is None else state

    def body(carry: tuple[PyTree, PyTree], key: Key) -> tuple[tuple[PyTree, PyTree], PyTree]:
        params, state = carry
        moved, state, info = engine.step(objective, family, params, args, state, key=key)
        return (moved, state), each(params, info, key)

    (params, state), outputs = scan(body, (params, state), keys, unroll=inlined, name=f"{type(engine).__name__}.step")
    return params, state, outputs


def constant(tree: PyTree, cut: Callable[[Array], Array] = jax.lax.stop_gradient) -> PyTree:
    """The tree with `cut` applied to its arrays."""
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(cut, arrays), rest)


def _check_structure(family: AbstractFamily, params: PyTree) -> None:
    expected, got = jax.eval_shape(family.init), params
    if jax.tree.structure(expected) != jax.tree.structure(got):
        raise BadInputError(
            f"Expected starting parameters like those of {type(family).__name__}.init(), "
            f"{jax.tree.structure(expected)}, got {jax.tree.structure(got)}."
        )
    shapes = [leaf.shape for leaf in jax.tree.leaves(expected)]
    got_shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(got)]
    if shapes != got_shapes:
        raise BadInputError(
            f"Expected starting parameters of shapes {shapes} for {type(family).__name__}, got {got_shapes}: for a batch "
            f"of problems, map `infer` with `eqx.filter_vmap`."
        )
