"""Protocols only, no algorithm."""

from ._agent import AbstractAgent as AbstractAgent
from ._belief import (
    AbstractBelief as AbstractBelief,
    AbstractGaussianBelief as AbstractGaussianBelief,
    AbstractVectorBelief as AbstractVectorBelief,
    Points as Points,
    Snapshot as Snapshot,
)
from ._check import check_fields as check_fields, check_kind as check_kind, require_key as require_key
from ._controller import (
    AbstractController as AbstractController,
    Decision as Decision,
    PlanningContext as PlanningContext,
)
from ._engine import AbstractEngine as AbstractEngine, StepInfo as StepInfo
from ._environment import AbstractEnvironment as AbstractEnvironment
from ._family import AbstractFamily as AbstractFamily
from ._filter import AbstractFilter as AbstractFilter, FilterInfo as FilterInfo
from ._learner import AbstractLearner as AbstractLearner
from ._model import (
    AbstractMarkovModel as AbstractMarkovModel,
    AbstractModel as AbstractModel,
    AbstractSequentialModel as AbstractSequentialModel,
)
from ._objective import AbstractObjective as AbstractObjective, check_differentiable as check_differentiable
from ._smoother import AbstractSmoother as AbstractSmoother
from ._spec import Bounded as Bounded, map_spec as map_spec
