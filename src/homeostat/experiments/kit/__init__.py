"""What experiments share: methods, training, comparison over seeds, reports, and claims from published figures."""

from ._filters import (
    OWN as OWN,
    SequenceTraining as SequenceTraining,
    Update as Update,
    UpdateNetwork as UpdateNetwork,
    avf as avf,
    filtering_methods as filtering_methods,
)
from ._method import (
    Comparison as Comparison,
    Method as Method,
    Result as Result,
    Training as Training,
    at as at,
    compare as compare,
    only as only,
    scales as scales,
    stage_name as stage_name,
    train as train,
)
from ._report import (
    EVERYWHERE as EVERYWHERE,
    Column as Column,
    OfSeeds as OfSeeds,
    Published as Published,
    difference as difference,
    least_lead as least_lead,
    mean_and_error as mean_and_error,
    measure as measure,
    measure_figure as measure_figure,
    measure_lead as measure_lead,
    printed as printed,
    report as report,
    setting_curve as setting_curve,
)
from ._sequences import (
    ClipNats as ClipNats,
    Reporting as Reporting,
    SequenceTask as SequenceTask,
    compare_filters as compare_filters,
    nats_per_step as nats_per_step,
    report_filters as report_filters,
)
