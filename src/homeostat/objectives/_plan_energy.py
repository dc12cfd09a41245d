"""Energies of plans: what they depend on, and what all of them share."""

import abc

import equinox as eqx
import jax
import jax.random as jr

from .._scan import scan
from ..core import AbstractBelief, AbstractObjective, PlanningContext
from ..distributions import AbstractExpectation
from ..typing import Array, Distribution, Energy, Key, PyTree


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
