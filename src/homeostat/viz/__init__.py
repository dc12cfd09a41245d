"""What results look like: reports and plots."""

from ._calibration import (
    CalibrationSeries as CalibrationSeries,
    RankCurves as RankCurves,
    plot_calibration_series as plot_calibration_series,
    plot_coverage as plot_coverage,
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
from ._dynamics import (
    plot_evidence as plot_evidence,
    plot_forecasts as plot_forecasts,
    plot_frames as plot_frames,
    plot_matrices as plot_matrices,
)
from ._inference import (
    EnergyCurves as EnergyCurves,
    Gaps as Gaps,
    PathOnSurface as PathOnSurface,
    plot_energies as plot_energies,
    plot_energy_surface as plot_energy_surface,
    plot_gaps as plot_gaps,
    plot_reconstructions as plot_reconstructions,
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
from ._templates import (
    plot_bounds as plot_bounds,
    plot_learned_template as plot_learned_template,
    plot_scenes as plot_scenes,
    plot_sparse_templates as plot_sparse_templates,
)
