"""The verbs of inference, and the engines that carry them out."""

from ._filter import (
    filter as filter,
    length_mask as length_mask,
    masked as masked,
    predictive_log_likelihood as predictive_log_likelihood,
)
from ._forecast import forecast as forecast, sample_sequence as sample_sequence
from ._infer import Posterior as Posterior, infer as infer
from ._modes import (
    AbstractMerging as AbstractMerging,
    KeepAll as KeepAll,
    MergeByDivergence as MergeByDivergence,
    ModePosterior as ModePosterior,
    infer_modes as infer_modes,
    nearest_offset as nearest_offset,
)
from ._smooth import smooth as smooth
from ._start import (
    standard_start as standard_start,
    start_at_prediction as start_at_prediction,
    start_at_prior as start_at_prior,
)
from ._unroll import Unrolled as Unrolled, unroll as unroll
from .filters import Filtered as Filtered
from .learners._baum_welch import (
    StateParts as StateParts,
    StatePrior as StatePrior,
    baum_welch as baum_welch,
    pooled_prior as pooled_prior,
)
from .learners._counts_start import start_counts as start_counts
from .learners._energy_descent import (
    AbstractProblem as AbstractProblem,
    DescentMetrics as DescentMetrics,
    EnergyDescent as EnergyDescent,
    EnergyDescentState as EnergyDescentState,
    ModelWithEngine as ModelWithEngine,
    Slope as Slope,
    Weigh as Weigh,
    loss_descent as loss_descent,
)
from .learners._evidence_ascent import Learned as Learned
from .learners._evidence_descent import evidence_descent as evidence_descent
from .learners._examples import energy_descent as energy_descent, free_energy_descent as free_energy_descent
from .learners._expectation_maximization import (
    Parts as Parts,
    expectation_maximization as expectation_maximization,
    transition_moments as transition_moments,
)
from .learners._factor_analysis import (
    fit_factor_analysis as fit_factor_analysis,
    fit_probabilistic_pca as fit_probabilistic_pca,
)
from .learners._filtering import ModelWithFilter as ModelWithFilter, filtering_descent as filtering_descent
from .learners._guard import (
    Failure as Failure,
    first_failure as first_failure,
    no_failure as no_failure,
    unless_failed as unless_failed,
)
from .learners._incomplete_factors import (
    fit_incomplete_factor_analysis as fit_incomplete_factor_analysis,
    fit_incomplete_probabilistic_pca as fit_incomplete_probabilistic_pca,
)
from .learners._iteration_loss import (
    AbstractIterationWeights as AbstractIterationWeights,
    AllIterations as AllIterations,
    FirstIteration as FirstIteration,
    LastIteration as LastIteration,
    Posed as Posed,
    iteration_loss as iteration_loss,
)
from .learners._maximum_likelihood import maximum_likelihood as maximum_likelihood
from .learners._noise_factors import keep_factors as keep_factors
from .learners._predictive_coding import (
    local_gradients as local_gradients,
    predictive_coding_descent as predictive_coding_descent,
)
from .learners._sequence_batch import (
    SequenceBatch as SequenceBatch,
    StreamBatch as StreamBatch,
    condition_on_first as condition_on_first,
    random_crops as random_crops,
)
from .learners._smoothing import smoothing_descent as smoothing_descent
from .learners._sparse_coding import learn_dictionary as learn_dictionary, map_estimate as map_estimate
from .learners._switching_start import start_switching as start_switching
from .learners._variational_em import IndexedData as IndexedData, variational_em as variational_em
from .smoothers import (
    ForwardBackward as ForwardBackward,
    RauchTungStriebel as RauchTungStriebel,
    Smoothed as Smoothed,
    viterbi as viterbi,
)
