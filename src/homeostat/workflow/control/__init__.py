"""Agents that learn by acting: from the name of an environment to a trained agent, and what can be asked of it."""

from ._options import POLICIES as POLICIES, ControlOptions as ControlOptions, preset as preset
