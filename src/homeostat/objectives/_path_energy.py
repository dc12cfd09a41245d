"""The energy of a plan as its expected cost along paths through a model: model-predictive control."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..distributions import AbstractExpectation, MonteCarlo
from ..results import BadInputError
from ..typing import Action, Array, Energy, Float, Key, Scalar, State
from ._planning_context import AbstractPlanEnergy, PlanningContext


class ReturnInfo(NamedTuple):
    """Where the energy of a plan comes from.

    Attributes:
        energy_nats: expected total cost divided by the temperature.
        cost: expected cost of each step, in the cost's unit.
        predicted_mean: mean of the sampled states after each step.
        predicted_deviation: their standard deviation.
    """

    energy_nats: Scalar
    cost: Float[Array, " horizon"]
    predicted_mean: Float[Array, "horizon d"]
    predicted_deviation: Float[Array, "horizon d"]


def _no_terminal_cost(state: State) -> Scalar:
    return jnp.zeros(())


@final
class PathEnergy(AbstractPlanEnergy):
    """U(plan) = E[sum_t cost(s_t, a_t) + terminal_cost(s_H)] / temperature over paths of the model.

        s_0 ~ belief,   s_t ~ p(s_t | s_{t-1}, a_t),   cost(s_t, a_t) of the state that a_t leads to

    With cost = -reward it is the negative return. Paths are sampled pathwise, so gradients flow through the model where its
    transitions allow it; one key gives every plan the same noise.

    Attributes:
        cost: maps the state after an action, and the action, to a cost.
        terminal_cost: maps the last state to a cost; none by default.
        num_paths: sampled paths.
        temperature: cost that counts as one nat.
        expectation: rule for the expectation over plans.

    References:
        Marino (thesis), Sec. 6.2; Kappen, "Path integrals and symmetry breaking for optimal control theory", 2005.
    """

    cost: Callable[[State, Action], Scalar]
    terminal_cost: Callable[[State], Scalar] = _no_terminal_cost
    num_paths: int = eqx.field(static=True, default=16)
    temperature: float = 1.0
    expectation: AbstractExpectation = MonteCarlo(1)

    def __check_init__(self):
        if self.num_paths < 1:
            raise BadInputError(f"Expected at least one sampled path, got num_paths={self.num_paths}.")
        if isinstance(self.temperature, float | int) and not self.temperature > 0.0:
            raise BadInputError(f"Expected a temperature above zero, got {self.temperature}.")

    def pointwise(self, value: Array, args: PlanningContext, *, key: Key) -> Energy:
        return self.explain(value, args, key=key).energy_nats

    def explain(self, value: Array, args: PlanningContext, *, key: Key) -> ReturnInfo:
        def path(path_key):
            keys = jr.split(path_key, value.shape[0] + 1)
            start = args.belief.sample(key=keys[0])

            def body(state, inputs):
                action, step_key = inputs
                moved = jnp.asarray(args.model.transition(state, action).sample(step_key), state.dtype)
                return moved, (moved, self.cost(moved, action))

            last, (states, costs) = jax.lax.scan(body, start, (value, keys[1:]))
            return states, costs, self.terminal_cost(last)

        states, costs, terminal = jax.vmap(path)(jr.split(key, self.num_paths))
        expected = jnp.mean(costs, axis=0)
        energy = (jnp.sum(expected) + jnp.mean(terminal)) / self.temperature
        return ReturnInfo(energy, expected, jnp.mean(states, axis=0), jnp.std(states, axis=0))
