"""Known nonlinear systems: how they are simulated, in which units a network reads them, and how filters are scored on them."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractFilter, AbstractMarkovModel
from ...distributions import AbstractExpectation, Cubature, GaussHermite
from ...inference import filter, sample_sequence
from ...models.sequential import (
    growth_inputs,
    lorenz_63,
    pendulum_from_pixels,
    stochastic_volatility,
    univariate_growth,
)
from ...results import BadInputError
from ...typing import Array, Float, Key


class System(NamedTuple):
    """A known nonlinear system.

    Attributes:
        name: for tables and claims.
        model: what emits, and what every filter believes in.
        dim: state coordinates.
        observed: numbers in one observation.
        actions: known inputs between observations, [time - 1, ...], or None.
        scale: typical size of states and observations, in their unit: what a network divides by.
        expectation: rule for expectations over a belief, exact enough for free energies that are reported.
        states: names of the coordinates.
    """

    name: str
    model: AbstractMarkovModel
    dim: int
    observed: int
    actions: Float[Array, "steps a"] | None
    scale: float
    expectation: AbstractExpectation
    states: tuple[str, ...]


class SimulatedPaths(NamedTuple):
    """Sequences drawn from a system; actions are the same for every sequence."""

    states: Float[Array, "sequences time d"]
    observations: Array
    actions: Array | None


def build_system(name: str, length: int, size: int) -> System:
    """A system by its name, for sequences of one length; `size` is that of pictures along an edge, where there are any."""
    match name:
        case "growth":  # with its known forcing; only the square of the state is seen
            actions, rule = growth_inputs(length), GaussHermite(9)
            return System(name, univariate_growth(), 1, 1, actions, 10.0, rule, ("state",))
        case "volatility":  # the state is the logarithm of a variance
            return System(name, stochastic_volatility(), 1, 1, None, 1.0, GaussHermite(9), ("log variance",))
        case "lorenz":  # all coordinates are seen with noise
            return System(name, lorenz_63(), 3, 3, None, 15.0, Cubature(), ("x", "y", "z"))
        case "pendulum":
            model, states = pendulum_from_pixels(size=size), ("angle (rad)", "rate (rad / s)")
            return System(name, model, 2, size**2, None, 1.0, GaussHermite(5), states)
    raise BadInputError(f"Expected the name of a system, growth, volatility, lorenz or pendulum, got {name!r}.")


def simulate(system: System, num: int, length: int, *, key: Key) -> SimulatedPaths:
    """So many sequences of a system."""
    actions = system.actions
    drawn = jax.vmap(lambda k: sample_sequence(system.model, length, actions, key=k))(jr.split(key, num))
    repeated = None if actions is None else jnp.broadcast_to(actions, (num, *actions.shape))
    return SimulatedPaths(drawn.states, drawn.observations, repeated)


class Scores(NamedTuple):
    """Free energies per step and squared errors of means of unseen sequences, and beliefs of the first one."""

    energy_nats: Float[Array, " sequences"]
    squared_error: Float[Array, " sequences"]
    mean: Float[Array, "time d"]
    deviation: Float[Array, "time d"]


@eqx.filter_jit
def score(method: AbstractFilter, system: System, unseen: SimulatedPaths, *, key: Key) -> Scores:
    """Run one filter over all unseen sequences."""

    def one(inputs: tuple) -> Scores:
        states, values, actions, one_key = inputs
        found = filter(method, system.model, values, actions, key=one_key, throw=False)
        mean = jax.vmap(lambda belief: belief.mean)(found.beliefs)
        variance = jax.vmap(lambda belief: jnp.diagonal(belief.covariance))(found.beliefs)
        error = jnp.mean((mean - states) ** 2)
        return Scores(found.free_energy_nats / states.shape[0], error, mean, jnp.sqrt(variance))

    every = jax.lax.map(one, (*unseen, jr.split(key, unseen.states.shape[0])), batch_size=4)
    return every._replace(mean=every.mean[0], deviation=every.deviation[0])
