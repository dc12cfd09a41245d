"""The energy of a plan as its expected cost along paths through a model: model-predictive control."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import PlanningContext
from ..distributions import AbstractExpectation, MonteCarlo
from ..models.sequential import imagine
from ..results import BadInputError
from ..typing import Action, Array, Energy, Float, Key, Scalar, State
from ._plan_energy import AbstractPlanEnergy


class ReturnInfo(NamedTuple):
    """Where the energy of a plan comes from.

    Attributes:
        energy_nats: expected total cost divided by the temperature.
        cost: expected cost of each step, in the cost's unit.
    """

    energy_nats: Scalar
    cost: Float[Array, " horizon"]


def _no_terminal_cost(state: State) -> Scalar:
    return jnp.zeros(())


@jax.custom_jvp
def _not_differentiable(plan: Array) -> Array:
    return plan


@_not_differentiable.defjvp
def _refuse(primals: tuple, tangents: tuple) -> tuple:
    raise BadInputError(
        "Expected a model of real states to differentiate its paths in the plan, got one of discrete states, whose draws carry no "
        "gradient: take the expectation over plans by `Enumeration()` or `ScoreFunction()`, or use an engine without gradients, "
        "such as `CrossEntropy`."
    )


@final
class PathEnergy(AbstractPlanEnergy):
    """U(plan) = E[sum_t cost(s_t, a_t) + terminal_cost(s_H)] / temperature over paths of the model.

        s_0 ~ belief,   s_t ~ p(s_t | h_t),   h_t = next_carry(h_{t-1}, s_{t-1}, x_{t-1}, a_t),   for Markov models p(s_t | s_{t-1}, a_t)

    with the cost of the state that an action leads to.

    With cost = -reward it is the negative return. Paths are sampled pathwise, so gradients flow through the model; where its
    states are discrete they are refused. One key gives every plan the same noise.

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
            start_key, walk_key = jr.split(path_key)
            start = args.belief.snapshot(key=start_key)
            smooth = jnp.issubdtype(jnp.result_type(start.state), jnp.inexact)
            plan = value if smooth else _not_differentiable(value)
            states = imagine(args.model, start, plan, key=walk_key).state
            return jax.vmap(self.cost)(states, plan), self.terminal_cost(states[-1])

        costs, terminal = jax.vmap(path)(jr.split(key, self.num_paths))
        expected = jnp.mean(costs, axis=0)
        return ReturnInfo((jnp.sum(expected) + jnp.mean(terminal)) / self.temperature, expected)
