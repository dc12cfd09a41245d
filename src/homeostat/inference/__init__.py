"""The verbs of inference, and the engines that carry them out."""

from ._amortized_learning import (
    DescentMetrics as DescentMetrics,
    Failure as Failure,
    FreeEnergyDescent as FreeEnergyDescent,
    FreeEnergyDescentState as FreeEnergyDescentState,
    ModelWithEngine as ModelWithEngine,
)
from ._baum_welch import LearnedStates as LearnedStates, StateParts as StateParts, baum_welch as baum_welch
from ._expectation_maximization import (
    Learned as Learned,
    Parts as Parts,
    TransitionMoments as TransitionMoments,
    expectation_maximization as expectation_maximization,
    transition_moments as transition_moments,
)
from ._factor_analysis_learning import (
    LearnedFactors as LearnedFactors,
    fit_factor_analysis as fit_factor_analysis,
    fit_probabilistic_pca as fit_probabilistic_pca,
)
from ._filter import (
    Filtered as Filtered,
    filter as filter,
    length_mask as length_mask,
    masked as masked,
    predictive_log_likelihood as predictive_log_likelihood,
)
from ._forecast import (
    Forecast as Forecast,
    SampledSequence as SampledSequence,
    forecast as forecast,
    sample_sequence as sample_sequence,
)
from ._infer import Posterior as Posterior, infer as infer
from ._iteration_weights import (
    AbstractIterationWeights as AbstractIterationWeights,
    AllIterations as AllIterations,
    FirstIteration as FirstIteration,
    LastIteration as LastIteration,
)
from ._modes import (
    AbstractMerging as AbstractMerging,
    KeepAll as KeepAll,
    MergeByDivergence as MergeByDivergence,
    ModePosterior as ModePosterior,
    infer_modes as infer_modes,
    nearest_offset as nearest_offset,
)
from ._predictive_coding_learning import (
    LocalGradients as LocalGradients,
    PredictiveCodingLearning as PredictiveCodingLearning,
    PredictiveCodingMetrics as PredictiveCodingMetrics,
    PredictiveCodingState as PredictiveCodingState,
    local_gradients as local_gradients,
)
from ._sequence_batch import (
    SequenceBatch as SequenceBatch,
    StreamBatch as StreamBatch,
    condition_on_first as condition_on_first,
    random_crops as random_crops,
)
from ._sequence_learning import (
    FilteringDescent as FilteringDescent,
    FilteringMetrics as FilteringMetrics,
    FilteringState as FilteringState,
    ModelWithFilter as ModelWithFilter,
)
from ._smooth import smooth as smooth
from ._sparse_coding_learning import (
    LearnedDictionary as LearnedDictionary,
    SparseEstimate as SparseEstimate,
    learn_dictionary as learn_dictionary,
    map_estimate as map_estimate,
)
from ._start import (
    standard_start as standard_start,
    start_at_prediction as start_at_prediction,
    start_at_prior as start_at_prior,
)
from ._stream_learning import StreamingDescent as StreamingDescent, StreamState as StreamState
from ._unroll import Unrolled as Unrolled, unroll as unroll
from ._variational_learning import (
    IndexedData as IndexedData,
    LearningMetrics as LearningMetrics,
    VariationalEM as VariationalEM,
    VariationalEMState as VariationalEMState,
)
from .smoothers import (
    ForwardBackward as ForwardBackward,
    RauchTungStriebel as RauchTungStriebel,
    Smoothed as Smoothed,
    viterbi as viterbi,
)
