"""Controllers: inference over plans, and the verb that runs an agent in a world."""

from ._model_predictive import (
    AbstractChoice as AbstractChoice,
    Deliberation as Deliberation,
    ModelPredictive as ModelPredictive,
    MostLikely as MostLikely,
    Sampled as Sampled,
    active_inference as active_inference,
)
from ._plans import (
    AbstractPlan as AbstractPlan,
    Bounded as Bounded,
    Factored as Factored,
    Held as Held,
    Sequences as Sequences,
    Unbounded as Unbounded,
)
from ._preferences import (
    PreferredOutcomes as PreferredOutcomes,
    PreferredStates as PreferredStates,
    TargetState as TargetState,
    target_image as target_image,
)
from ._rollout import Moment as Moment, Rollout as Rollout, rollout as rollout
