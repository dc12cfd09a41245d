"""Protocols only, no algorithm."""

from ._agent import AbstractAgent as AbstractAgent
from ._controller import (
    AbstractController as AbstractController,
    Decision as Decision,
    PlanningContext as PlanningContext,
)
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
from ._spec import Bounded as Bounded, map_spec as map_spec
