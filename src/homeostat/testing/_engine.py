"""Laws of inference engines."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEngine, AbstractFamily, AbstractObjective
from ..typing import Array, Key, PyTree
from ._assertions import assert_finite, assert_same_structure, check_transforms
from ._tolerances import Tolerances


def check_engine(
    engine: AbstractEngine,
    objective: AbstractObjective,
    family: AbstractFamily,
    args: PyTree,
    *,
    key: Key,
    params: PyTree | None = None,
    num_steps: int = 20,
    lowers: Callable[[PyTree, Key], Array] | None = None,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run every law of `AbstractEngine` on `engine`.

    Laws: a step preserves the structure of parameters and state; it obeys the transform laws; with the same key it does
    the same; the measured energy is the objective at the parameters before the step; parameters and energies stay finite; the
    measured energy falls over `num_steps` steps on this problem, which should therefore be one that the engine can solve (a
    quadratic, say) from a start that is not its solution.

    Args:
        engine: what to check.
        objective: an energy.
        family: a family that the engine can move.
        args: what the objective depends on.
        params: where to start; `family.init()` by default.
        num_steps: number of steps after which the energy must have fallen.
        lowers: what must have fallen, of parameters and a key, for engines that seek the best point and not the best
            distribution; the measured energy by default.
    """
    name = type(engine).__name__
    params = eqx.filter_jit(family.init)() if params is None else params

    @eqx.filter_jit
    def start(p: PyTree) -> tuple[PyTree, PyTree, PyTree]:
        return p, jax.tree.map(lambda leaf: leaf + 0.1, p), engine.init(objective, family, p, args)

    params, other, state = start(params)
    arrays, static = eqx.partition(state, eqx.is_array)

    def step(p: PyTree, s: PyTree, k: Key) -> tuple[PyTree, PyTree, Array]:
        p, s, info = engine.step(objective, family, p, args, eqx.combine(s, static), key=k)
        return p, eqx.filter(s, eqx.is_array), info.energy_nats

    first, second, run_key = jr.split(key, 3)
    compiled = check_transforms(step, (params, arrays, first), (other, arrays, second), tolerances, f"{name}.step")
    moved, after, energy = compiled(params, arrays, first)
    assert_same_structure(moved, params, f"{name}.step: preserves the parameters' structure")
    assert_same_structure(after, arrays, f"{name}.step: preserves the state's structure")
    if jnp.shape(energy) != ():
        raise AssertionError(f"{name}.step: expected a scalar energy in nats, got shape {jnp.shape(energy)}.")

    _check_measure(
        lambda k: step(params, arrays, k)[2],
        lambda k: objective(family(params), args, key=k),
        run_key,
        tolerances,
        name,
    )

    def body(carry: tuple[PyTree, PyTree], k: Key) -> tuple[tuple[PyTree, PyTree], tuple[Array, Array]]:
        p, s, measured = step(*carry, k)
        return (p, s), (measured, measured if lowers is None else lowers(carry[0], k))

    run = eqx.filter_jit(lambda carry, k: jax.lax.scan(body, carry, jr.split(k, num_steps + 1)))
    (end, _), (measured, energies) = run((params, arrays), run_key)
    assert_finite((end, measured, energies), f"{name}: parameters and energies over {num_steps} steps")
    if not bool(energies[-1] < energies[0]):
        raise AssertionError(
            f"{name}: expected a lower energy after {num_steps} steps, got {float(energies[-1]):g} nats from "
            f"{float(energies[0]):g}."
        )


def _check_measure(
    measured: Callable[[Key], Array], objective: Callable[[Key], Array], key: Key, tolerances: Tolerances, name: str
) -> None:
    """The energy that a step reports is the objective, on average over 256 keys."""

    def gap(k: Key) -> tuple[Array, Array]:
        first, second = jr.split(k)
        value = objective(second)
        return measured(first) - value, value

    gaps, values = eqx.filter_jit(lambda keys: jax.lax.map(gap, keys, batch_size=64))(jr.split(key, 256))
    error = tolerances.standard_errors * float(jnp.std(gaps)) / 16.0
    allowed = error + tolerances.algebra * max(1.0, float(jnp.max(jnp.abs(values))))
    if not abs(float(jnp.mean(gaps))) <= allowed:
        raise AssertionError(
            f"{name}.step: expected the measured energy to be the objective before the step, got a mean difference of "
            f"{float(jnp.mean(gaps)):g} nats, with {allowed:g} allowed."
        )
