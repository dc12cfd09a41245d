"""Agents, and the verbs that run them in a world."""

from ._acting import ActingLoader as ActingLoader
from ._belief_agent import BeliefAgent as BeliefAgent
from ._flat import flat_size as flat_size, flat_state as flat_state, to_action as to_action
from ._play import Played as Played, play as play
from ._policy_agent import (
    AbstractWarmStart as AbstractWarmStart,
    FromInitial as FromInitial,
    FromNoise as FromNoise,
    FromPrevious as FromPrevious,
    PolicyAgent as PolicyAgent,
    PolicyInfo as PolicyInfo,
    median_action as median_action,
    sample_action as sample_action,
)
from ._policy_networks import (
    STATE_BOUND as STATE_BOUND,
    direct_policy as direct_policy,
    iterative_policy as iterative_policy,
)
from ._rollout import rollout as rollout, rollout_gymnasium as rollout_gymnasium
from ._soft_actor_critic import (
    ActorCritic as ActorCritic,
    Episodes as Episodes,
    Experience as Experience,
    SoftActorCritic as SoftActorCritic,
    SoftActorCriticState as SoftActorCriticState,
    ValueProblem as ValueProblem,
)
