"""The agent with a model: observe, update the belief, decide, predict."""

from typing import NamedTuple, final

import jax.random as jr

from ..core import (
    AbstractAgent,
    AbstractBelief,
    AbstractController,
    AbstractFilter,
    AbstractSequentialModel,
    Decision,
    FilterInfo,
    PlanningContext,
)
from ..typing import Key, Observation, PyTree


class BeliefAgentState(NamedTuple):
    """What is expected before the next observation.

    Attributes:
        belief: about the present state, before it is observed.
        carry: of the controller.
    """

    belief: AbstractBelief
    carry: PyTree


class BeliefInfo(NamedTuple):
    """What an action was based on.

    Attributes:
        belief: after the observation.
        filtering: what the update measured.
        control: what the controller says of its decision.
    """

    belief: AbstractBelief
    filtering: FilterInfo
    control: PyTree


@final
class BeliefAgent(AbstractAgent[BeliefAgentState]):
    """belief = update(prediction, x_t),   a_t = controller(belief),   prediction = predict(belief, a_t).

    Attributes:
        model: what the agent takes the world to be.
        filter: how it keeps its belief.
        controller: how it acts.
    """

    model: AbstractSequentialModel
    filter: AbstractFilter
    controller: AbstractController

    def init(self, *, key: Key) -> BeliefAgentState:
        return self.init_at(self.filter.init(self.model, key=key))

    def init_at(self, belief: AbstractBelief) -> BeliefAgentState:
        """State at the start of an episode of which something is known.

        Args:
            belief: about the first state, before it is observed.
        """
        return BeliefAgentState(belief, self.controller.init())

    def act(self, state: BeliefAgentState, observation: Observation, *, key: Key) -> tuple[Decision, BeliefAgentState]:
        update_key, act_key, predict_key = jr.split(key, 3)
        belief, filtering = self.filter.update(self.model, state.belief, observation, key=update_key)
        context = PlanningContext(self.model, self.filter, belief)
        decision, carry = self.controller.act(context, state.carry, key=act_key)
        predicted = self.filter.predict(self.model, belief, decision.action, key=predict_key)
        info = BeliefInfo(belief, filtering, decision.info)
        return Decision(decision.action, info), BeliefAgentState(predicted, carry)
