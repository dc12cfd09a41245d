"""`infer`: run any engine on any objective, and keep its end."""

from typing import Generic, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEngine, AbstractFamily, AbstractObjective, StepInfo, check_kind
from ..results import RESULTS, BadInputError
from ..typing import Array, Distribution, Energy, Float, Key, Params, PyTree
from ._unroll import run


@final
class Posterior(eqx.Module, Generic[Params]):
    """What an engine found.

    Attributes:
        params: final parameters.
        family: the family they belong to, beside what the problem depended on (`AbstractFamily.given`).
        energy_nats: objective at `params`; NaN where it was not asked for.
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
    evaluate: bool = True,
    throw: bool = True,
) -> Posterior[Params]:
    """Move the parameters of a distribution downhill on an energy: params_{k+1} = engine.step(params_k).

    Compiled once for each kind of problem; numbers that change from call to call must be arrays. Unbatched: for many problems,
    `eqx.filter_vmap` over `args`, `params` and `key` (with `throw=False`).

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
        evaluate: evaluate the objective at the end; with False, to act for instance, only the parameters are checked.
        throw: raise if the energy or the parameters end non-finite; with False, look at `Posterior.result`.

    Returns:
        The posterior.

    Raises:
        BadInputError: `num_steps` is negative, `params` do not have the structure of `family.init()`, or the objective refuses
            numbers in `args` that are known (unless `throw` is off).
    """
    check_kind(objective, AbstractObjective, "the objective")
    if throw:
        objective.check(args)
    return _infer(objective, engine, family, args, key, params, state, num_steps, record, evaluate, throw)


@eqx.filter_jit
def _infer(
    objective: AbstractObjective,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    args: PyTree,
    key: Key,
    params: Params | None,
    state: PyTree | None,
    num_steps: int,
    record: bool,
    evaluate: bool,
    throw: bool,
) -> Posterior[Params]:
    if num_steps < 0:
        raise BadInputError(f"Expected num_steps >= 0, got {num_steps}.")
    check_kind(family, AbstractFamily, "the family")
    family = family.given(args)
    final_key, *_ = keys = jr.split(key, num_steps + 1)

    def each(params: Params, info: StepInfo, key: Key) -> tuple[Energy, Params | None]:
        return info.energy_nats, params if record else None

    end, state, (path_nats, path) = run(objective, engine, family, args, each, keys[1:], params=params, state=state)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(end)]))
    energy = jnp.asarray(jnp.nan)
    if evaluate:
        energy = objective(family(end), args, key=final_key)
        finite = finite & jnp.isfinite(energy)
    result = RESULTS.where(finite, RESULTS.successful, RESULTS.nonfinite_energy)
    if throw:
        energy, path_nats = result.error_if((energy, path_nats), result != RESULTS.successful)
    return Posterior(end, family, energy, path_nats, path, state, result)
