"""Plots and reports of results."""

from ._calibration import (
    CalibrationSeries as CalibrationSeries,
    CalibrationSummary as CalibrationSummary,
    plot_calibration_series as plot_calibration_series,
    plot_calibration_summary as plot_calibration_summary,
    plot_ranks as plot_ranks,
)
from ._control import (
    animate_control as animate_control,
    animate_gaze as animate_gaze,
    plot_belief_maps as plot_belief_maps,
    plot_success as plot_success,
    plot_terms as plot_terms,
    wilson_interval as wilson_interval,
)
from ._filtering import (
    BeliefBand as BeliefBand,
    CostCurve as CostCurve,
    plot_cost as plot_cost,
    plot_evidence as plot_evidence,
    plot_forecasts as plot_forecasts,
    plot_frames as plot_frames,
    plot_matrices as plot_matrices,
    plot_posterior_bands as plot_posterior_bands,
    plot_prediction_update as plot_prediction_update,
)
from ._inference import (
    PathOnSurface as PathOnSurface,
    plot_energies as plot_energies,
    plot_energy_surface as plot_energy_surface,
    plot_gaps as plot_gaps,
    plot_reconstructions as plot_reconstructions,
)
from ._learning import plot_returns as plot_returns
from ._perception import (
    BoundCurve as BoundCurve,
    ComparisonRow as ComparisonRow,
    SettingCurve as SettingCurve,
    plot_bound_by_setting as plot_bound_by_setting,
    plot_bound_progress as plot_bound_progress,
    plot_comparison as plot_comparison,
    plot_gradient_norms as plot_gradient_norms,
    plot_reconstructions_over_iterations as plot_reconstructions_over_iterations,
)
from ._report import (
    ClaimRow as ClaimRow,
    CurvesItem as CurvesItem,
    ImageItem as ImageItem,
    Item as Item,
    NoteItem as NoteItem,
    Report as Report,
    Section as Section,
    TableItem as TableItem,
    format_value as format_value,
    render_report as render_report,
)
from ._representation import (
    RateDistortionSeries as RateDistortionSeries,
    plot_active_units as plot_active_units,
    plot_learning as plot_learning,
    plot_rate_distortion as plot_rate_distortion,
    plot_samples as plot_samples,
    plot_selection as plot_selection,
    plot_sheets as plot_sheets,
)
from ._sequences import (
    plot_iterations as plot_iterations,
    plot_one_step as plot_one_step,
    plot_prediction_update_rolls as plot_prediction_update_rolls,
    plot_prediction_update_waves as plot_prediction_update_waves,
    plot_quantile_fan as plot_quantile_fan,
    plot_whiteness as plot_whiteness,
)
from ._states import (
    plot_probabilities_in_time as plot_probabilities_in_time,
    plot_probability_table as plot_probability_table,
    plot_regime_dynamics as plot_regime_dynamics,
    plot_state_emissions as plot_state_emissions,
)
from ._style import literal as literal
from ._templates import (
    plot_bounds as plot_bounds,
    plot_learned_template as plot_learned_template,
    plot_scenes as plot_scenes,
    plot_sparse_templates as plot_sparse_templates,
)
