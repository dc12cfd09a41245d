"""Agents, and the verbs that run them in a world."""

from ._belief_agent import BeliefAgent as BeliefAgent
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
from ._rollout import rollout as rollout, rollout_gymnasium as rollout_gymnasium
