"""Engines: one class a method, used for perception and for control alike."""

from ._amortized import (
    AbstractFeedbackEngine as AbstractFeedbackEngine,
    Direct as Direct,
    Iterative as Iterative,
    LevelwiseIterative as LevelwiseIterative,
)
from ._chain import Chain as Chain, StopGradient as StopGradient
from ._encodings import (
    AbstractEncoding as AbstractEncoding,
    Data as Data,
    Estimate as Estimate,
    Feedback as Feedback,
    InferenceGradient as InferenceGradient,
    LogGradient as LogGradient,
    Normalized as Normalized,
    PredictionErrors as PredictionErrors,
    WeightedErrors as WeightedErrors,
)
from ._gradient import Gradient as Gradient
from ._local_errors import HierarchyErrors as HierarchyErrors
from ._natural_gradient import (
    AbstractCurvature as AbstractCurvature,
    Fisher as Fisher,
    Hessian as Hessian,
    NaturalGradient as NaturalGradient,
    NaturalGradientState as NaturalGradientState,
    Stein as Stein,
)
from ._path import PathNaturalGradient as PathNaturalGradient, PathNewton as PathNewton
from ._predictive_coding import (
    AbstractGain as AbstractGain,
    ConstantGain as ConstantGain,
    PredictiveCoding as PredictiveCoding,
)
from ._sampling import (
    MPPI as MPPI,
    AbstractSamplingEngine as AbstractSamplingEngine,
    CrossEntropy as CrossEntropy,
    Enumerate as Enumerate,
)
from ._updates import (
    AbstractUpdateRule as AbstractUpdateRule,
    BoundLogScale as BoundLogScale,
    Gated as Gated,
    LearnedSGD as LearnedSGD,
    Residual as Residual,
    ScaledGradient as ScaledGradient,
)
