"""Measurements of inference and models."""

from ._amortization_gap import amortization_gap as amortization_gap, share_closed as share_closed, steps_to as steps_to
from ._calibrate import CalibrationReport as CalibrationReport, calibrate as calibrate
from ._calibration import (
    Calibration as Calibration,
    Simulation as Simulation,
    count_band as count_band,
    coverage_curve as coverage_curve,
    ecdf_difference_band as ecdf_difference_band,
    holm as holm,
    rank_counts as rank_counts,
    rank_uniformity as rank_uniformity,
    simulation_based_calibration as simulation_based_calibration,
    uniformity as uniformity,
)
from ._cost import (
    count_weights as count_weights,
    median_seconds as median_seconds,
    take_turns as take_turns,
    update_seconds as update_seconds,
)
from ._evaluate import Evaluation as Evaluation, bound_path as bound_path, estimates as estimates, evaluate as evaluate
from ._filter_outputs import (
    FilterOutputs as FilterOutputs,
    expected as expected,
    predictions_and_updates as predictions_and_updates,
)
from ._inference_gaps import inference_gaps as inference_gaps
from ._likelihood import (
    LikelihoodEstimate as LikelihoodEstimate,
    bits_per_dimension as bits_per_dimension,
    log_likelihood as log_likelihood,
    mean_with_error as mean_with_error,
    perplexity as perplexity,
)
from ._rate_distortion import information_bounds as information_bounds, rate_distortion as rate_distortion
from ._reference_optimum import Optimum as Optimum, ReferenceOptimum as ReferenceOptimum
from ._representation import encode as encode, posterior_mean as posterior_mean, representation as representation
from ._sequence_evaluation import (
    SequenceEvaluation as SequenceEvaluation,
    evaluate_sequences as evaluate_sequences,
    lead as lead,
)
from ._statistics import (
    Estimated as Estimated,
    bootstrap as bootstrap,
    pareto_shape as pareto_shape,
    proportion as proportion,
    ratio_over_blocks as ratio_over_blocks,
    ratio_with_error as ratio_with_error,
)
from .baselines import (
    Baseline as Baseline,
    StepTable as StepTable,
    binary_row_baselines as binary_row_baselines,
    binary_sequence_baselines as binary_sequence_baselines,
    chosen_rows as chosen_rows,
    count_row_baselines as count_row_baselines,
    independent_bernoulli_nats as independent_bernoulli_nats,
    independent_discretized_nats as independent_discretized_nats,
    independent_gaussian_nats as independent_gaussian_nats,
    level_row_baselines as level_row_baselines,
    level_sequence_baselines as level_sequence_baselines,
    most_rows as most_rows,
    rate_row_baselines as rate_row_baselines,
    rate_sequence_baselines as rate_sequence_baselines,
    real_row_baselines as real_row_baselines,
    real_sequence_baselines as real_sequence_baselines,
    symbol_sequence_baselines as symbol_sequence_baselines,
    word_frequencies as word_frequencies,
)
