"""Controllers: inference over plans."""

from ._model_predictive import (
    AbstractChoice as AbstractChoice,
    ModelPredictive as ModelPredictive,
    MostLikely as MostLikely,
    Sampled as Sampled,
    active_inference as active_inference,
)
from ._plans import (
    AbstractPlan as AbstractPlan,
    ActionSequences as ActionSequences,
    ConstantAction as ConstantAction,
    Factored as Factored,
    GaussianPlan as GaussianPlan,
    SquashedPlan as SquashedPlan,
)
from ._preferences import (
    PreferredOutcomes as PreferredOutcomes,
    PreferredStates as PreferredStates,
    TargetState as TargetState,
    target_image as target_image,
)
