"""Controllers: inference over plans."""

from ._action_priors import (
    AbstractActionPrior as AbstractActionPrior,
    FixedPrior as FixedPrior,
    LearnedPrior as LearnedPrior,
    UniformPrior as UniformPrior,
    policy_family as policy_family,
)
from ._critics import (
    AbstractCritics as AbstractCritics,
    ContinuousCritics as ContinuousCritics,
    DiscreteCritics as DiscreteCritics,
    dense_critics as dense_critics,
    stacked as stacked,
)
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
from ._returns import (
    AbstractReturn as AbstractReturn,
    Ahead as Ahead,
    NStep as NStep,
    Retrace as Retrace,
    Segment as Segment,
)
from ._temperature import (
    AbstractTemperature as AbstractTemperature,
    DivergenceTarget as DivergenceTarget,
    FixedTemperature as FixedTemperature,
    default_target as default_target,
    entropy_target as entropy_target,
)
