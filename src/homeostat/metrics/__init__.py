"""What to measure about inference and models."""

from ._calibration import (
    Band as Band,
    Calibration as Calibration,
    count_band as count_band,
    coverage_curve as coverage_curve,
    ecdf_difference_band as ecdf_difference_band,
    holm as holm,
    pareto_shape as pareto_shape,
    rank_counts as rank_counts,
    rank_uniformity as rank_uniformity,
    RankUniformity as RankUniformity,
    Simulation as Simulation,
    simulation_based_calibration as simulation_based_calibration,
    uniformity as uniformity,
)
from ._amortization_gap import (
    amortization_gap as amortization_gap,
    FirstPassage as FirstPassage,
    Gap as Gap,
    share_closed as share_closed,
    steps_to as steps_to,
)
from ._statistics import bootstrap as bootstrap, Estimated as Estimated, proportion as proportion
