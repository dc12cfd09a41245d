"""Protocols only, no algorithm."""

from ._controller import AbstractController as AbstractController, Decision as Decision
from ._engine import AbstractEngine as AbstractEngine, StepInfo as StepInfo
from ._environment import AbstractEnvironment as AbstractEnvironment
from ._family import AbstractFamily as AbstractFamily
from ._filter import (
    AbstractBelief as AbstractBelief,
    AbstractFilter as AbstractFilter,
    FilterInfo as FilterInfo,
    Snapshot as Snapshot,
)
from ._learner import AbstractLearner as AbstractLearner
from ._model import (
    AbstractMarkovModel as AbstractMarkovModel,
    AbstractModel as AbstractModel,
    AbstractSequentialModel as AbstractSequentialModel,
)
from ._objective import AbstractObjective as AbstractObjective, Errors as Errors
