"""What to measure about inference and models."""

from ._amortization_gap import (
    FirstPassage as FirstPassage,
    Gap as Gap,
    amortization_gap as amortization_gap,
    share_closed as share_closed,
    steps_to as steps_to,
)
from ._calibration import (
    Band as Band,
    Calibration as Calibration,
    RankUniformity as RankUniformity,
    Simulation as Simulation,
    count_band as count_band,
    coverage_curve as coverage_curve,
    ecdf_difference_band as ecdf_difference_band,
    holm as holm,
    pareto_shape as pareto_shape,
    rank_counts as rank_counts,
    rank_uniformity as rank_uniformity,
    simulation_based_calibration as simulation_based_calibration,
    uniformity as uniformity,
)
from ._statistics import Estimated as Estimated, bootstrap as bootstrap, proportion as proportion
