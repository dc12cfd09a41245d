"""Energies of plans: what all of them share, and the expected cost along paths through a model (model-predictive control)."""

import abc
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from .._scan import scan
from ..core import AbstractBelief, AbstractObjective, PlanningContext
from ..distributions import AbstractExpectation, MonteCarlo
from ..models.sequential import imagine
from ..results import BadInputError
from ..typing import Action, Array, Distribution, Energy, Float, Key, PyTree, Scalar, State


class AbstractPlanEnergy(AbstractObjective[PlanningContext]):
    """An energy of action sequences [horizon, ...], with a named account of where it comes from.

    Attributes:
        expectation: rule for the expectation over plans; engines that only ask for `pointwise` do not use it.
    """

    expectation: eqx.AbstractVar[AbstractExpectation]

    @property
    def pathwise(self) -> bool:
        return self.expectation.pathwise

    @abc.abstractmethod
    def explain(self, value: Array, args: PlanningContext, *, key: Key) -> PyTree:
        """A named record of the terms of the energy of one plan, in nats."""

    def __call__(self, distribution: Distribution, args: PlanningContext, *, key: Key) -> Energy:
        """E_q[U(plan) + log q(plan)]; all plans are compared on the same random numbers."""
        point_key, energy_key = jr.split(key)
        points = self.expectation.points(distribution, key=point_key)
        energies = jax.vmap(lambda plan: self.pointwise(plan, args, key=energy_key) + distribution.log_prob(plan))(
            points.values
        )
        return self.expectation.average(points, energies)


def forecast_beliefs(context: PlanningContext, actions: Array, *, key: Key) -> AbstractBelief:
    """The beliefs q(s_1), ..., q(s_H) that a plan leads to, without observations on the way.

        q(s_t) = E_{q(s_{t-1})}[p(s_t | s_{t-1}, a_t)]

    Args:
        context: where the plan starts; the `predict` of its filter carries the belief through the model.
        actions: the plan, [horizon, ...].
        key: random key, for filters that predict by sampling.

    Returns:
        A belief whose leaves have a leading axis [horizon].
    """

    def body(belief, inputs):
        action, step_key = inputs
        predicted = context.filter.predict(context.model, belief, action, key=step_key)
        return predicted, predicted

    horizon = actions.shape[0]
    _, beliefs = scan(body, context.belief, (actions, jr.split(key, horizon)), unroll=min(horizon, 4))
    return beliefs


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
