"""The verbs of inference, and the engines that carry them out."""

from ._expectation_maximization import (
    Learned as Learned,
    Parts as Parts,
    TransitionMoments as TransitionMoments,
    expectation_maximization as expectation_maximization,
    transition_moments as transition_moments,
)
from ._filter import (
    Filtered as Filtered,
    filter as filter,
    predictive_log_likelihood as predictive_log_likelihood,
)
from ._infer import Posterior as Posterior, infer as infer
from ._modes import (
    AbstractMerging as AbstractMerging,
    KeepAll as KeepAll,
    MergeByDivergence as MergeByDivergence,
    ModePosterior as ModePosterior,
    infer_modes as infer_modes,
    nearest_offset as nearest_offset,
)
from ._smooth import RauchTungStriebel as RauchTungStriebel, Smoothed as Smoothed, smooth as smooth
from ._variational_learning import (
    FreeEnergyDescent as FreeEnergyDescent,
    FreeEnergyDescentState as FreeEnergyDescentState,
    IndexedData as IndexedData,
    LearningMetrics as LearningMetrics,
    ModelWithEngine as ModelWithEngine,
    VariationalEM as VariationalEM,
    VariationalEMState as VariationalEMState,
)
