"""Engines: one class a method, used for perception and for control alike."""

from ._amortized import (
    AbstractEncoding as AbstractEncoding,
    AbstractUpdateRule as AbstractUpdateRule,
    Data as Data,
    Direct as Direct,
    Estimate as Estimate,
    Feedback as Feedback,
    Gated as Gated,
    Iterative as Iterative,
    LearnedSGD as LearnedSGD,
    LogGradient as LogGradient,
    NormalizedGradient as NormalizedGradient,
    Residual as Residual,
)
from ._gradient import Gradient as Gradient
from ._natural_gradient import (
    AbstractCurvature as AbstractCurvature,
    Fisher as Fisher,
    Hessian as Hessian,
    NaturalGradient as NaturalGradient,
    NaturalGradientState as NaturalGradientState,
    Stein as Stein,
)
from ._sampling import (
    AbstractSamplingEngine as AbstractSamplingEngine,
    CrossEntropy as CrossEntropy,
    Exhaustive as Exhaustive,
    PathIntegral as PathIntegral,
)
from ._sequence import Sequence as Sequence
