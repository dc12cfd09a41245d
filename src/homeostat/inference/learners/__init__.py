"""Learners: energy descent for whatever can be differentiated, expectation maximisation where the maximum is known."""

from ._baum_welch import LearnedStates as LearnedStates, StateParts as StateParts, baum_welch as baum_welch
from ._energy_descent import (
    AbstractProblem as AbstractProblem,
    DescentMetrics as DescentMetrics,
    EnergyDescent as EnergyDescent,
    EnergyDescentState as EnergyDescentState,
    ModelWithEngine as ModelWithEngine,
    Slope as Slope,
    Weigh as Weigh,
)
from ._examples import (
    AbstractExample as AbstractExample,
    AnyEnergy as AnyEnergy,
    Examples as Examples,
    Row as Row,
    energy_descent as energy_descent,
    free_energy_descent as free_energy_descent,
)
from ._expectation_maximization import (
    Learned as Learned,
    Parts as Parts,
    TransitionMoments as TransitionMoments,
    expectation_maximization as expectation_maximization,
    transition_moments as transition_moments,
)
from ._factor_analysis import (
    LearnedFactors as LearnedFactors,
    fit_factor_analysis as fit_factor_analysis,
    fit_probabilistic_pca as fit_probabilistic_pca,
)
from ._filtering import (
    Filtering as Filtering,
    ModelWithFilter as ModelWithFilter,
    filtering_descent as filtering_descent,
)
from ._guard import (
    Failure as Failure,
    first_failure as first_failure,
    no_failure as no_failure,
    unless_failed as unless_failed,
)
from ._iteration_weights import (
    AbstractIterationWeights as AbstractIterationWeights,
    AllIterations as AllIterations,
    FirstIteration as FirstIteration,
    LastIteration as LastIteration,
)
from ._predictive_coding import (
    LocalErrors as LocalErrors,
    LocalGradients as LocalGradients,
    PredictiveCodingMetrics as PredictiveCodingMetrics,
    local_gradients as local_gradients,
    predictive_coding_descent as predictive_coding_descent,
)
from ._sequence_batch import (
    SequenceBatch as SequenceBatch,
    StreamBatch as StreamBatch,
    condition_on_first as condition_on_first,
    random_crops as random_crops,
)
from ._smoothing import WholeSequence as WholeSequence, smoothing_descent as smoothing_descent
from ._sparse_coding import (
    LearnedDictionary as LearnedDictionary,
    SparseEstimate as SparseEstimate,
    learn_dictionary as learn_dictionary,
    map_estimate as map_estimate,
)
from ._variational_em import EachDatum as EachDatum, IndexedData as IndexedData, variational_em as variational_em
