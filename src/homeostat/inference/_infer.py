"""`infer`: run any engine on any objective. It is the only loop of inference in the library."""

from typing import Generic, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEngine, AbstractFamily, AbstractObjective
from ..results import RESULTS, BadInputError
from ..typing import Array, Distribution, Energy, Float, Key, Params, PyTree


@final
class Posterior(eqx.Module, Generic[Params]):
    """What an engine found.

    Attributes:
        params: final parameters.
        family: the family they belong to.
        energy_nats: objective at `params`.
        path_nats: objective before each step, as the engine measured it, [num_steps].
        path: parameters before each step, with a leading axis [num_steps]; None unless recorded.
        state: the engine's final state, to go on from.
        result: outcome; `RESULTS.successful` unless something went wrong.
    """

    params: Params
    family: AbstractFamily[Params]
    energy_nats: Energy
    path_nats: Float[Array, " num_steps"]
    path: Params | None
    state: PyTree
    result: RESULTS

    @property
    def distribution(self) -> Distribution:
        """q(z), the member of the family that inference ended on."""
        return self.family(self.params)


def infer(
    objective: AbstractObjective,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    args: PyTree,
    *,
    key: Key,
    params: Params | None = None,
    state: PyTree | None = None,
    num_steps: int = 1,
    record: bool = False,
    throw: bool = True,
) -> Posterior[Params]:
    """Move the parameters of a distribution downhill on an energy: params_{k+1} = engine.step(params_k).

    Unbatched: for many problems, `eqx.filter_vmap` over `args`, `params` and `key` (with `throw=False`).

    Args:
        objective: the energy, in nats.
        engine: any `AbstractEngine`.
        family: what the parameters parameterise.
        args: what the problem depends on, for instance `Evidence(observation)`.
        key: random key; steps get keys split from it.
        params: where to start; `family.init()` by default.
        state: engine state to go on from (with the `params` it belongs to); a fresh one by default.
        num_steps: number of engine steps.
        record: also return the parameters before every step (`Posterior.path`).
        throw: raise if the energy or the parameters end non-finite; with False, look at `Posterior.result`.

    Returns:
        The posterior.

    Raises:
        BadInputError: `num_steps` is negative, or `params` do not have the structure of `family.init()`.
    """
    if num_steps < 0:
        raise BadInputError(f"Expected num_steps >= 0, got {num_steps}.")
    start = family.init() if params is None else params
    _check_structure(family, start)
    final_key, *_ = keys = jr.split(key, num_steps + 1)
    state = engine.init(objective, family, start, args) if state is None else state
    state_arrays, state_static = eqx.partition(state, eqx.is_array)

    def body(carry, step_key):
        params, arrays = carry
        new_params, new_state, info = engine.step(
            objective, family, params, args, eqx.combine(arrays, state_static), key=step_key
        )
        return (new_params, eqx.filter(new_state, eqx.is_array)), (info.energy_nats, params if record else None)

    carry = _strengthen((start, state_arrays))
    (end, arrays), (path_nats, path) = jax.lax.scan(body, carry, keys[1:])
    energy = objective(family(end), args, key=final_key)
    finite = jnp.isfinite(energy) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(end)]))
    result = RESULTS.where(finite, RESULTS.successful, RESULTS.nonfinite_energy)
    if throw:
        energy, path_nats = result.error_if((energy, path_nats), result != RESULTS.successful)
    return Posterior(end, family, energy, path_nats, path, eqx.combine(arrays, state_static), result)


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


def _strengthen(tree: PyTree) -> PyTree:
    """Drop weak types, which would change between the first and the second step of a scan."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.result_type(leaf)), tree)
