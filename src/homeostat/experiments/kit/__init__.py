"""What experiments share: methods, training, comparison over seeds, reports, and claims from published figures."""

from ._claims import EVERYWHERE as EVERYWHERE, Published as Published
from ._compare import (
    Comparison as Comparison,
    Result as Result,
    compare as compare,
    difference as difference,
    mean_and_error as mean_and_error,
    stage_name as stage_name,
)
from ._filters import (
    OWN as OWN,
    SequenceTraining as SequenceTraining,
    Update as Update,
    UpdateNetwork as UpdateNetwork,
    avf as avf,
    filtering_methods as filtering_methods,
)
from ._method import Method as Method, Trained as Trained, Training as Training, only as only, train as train
from ._report import (
    Column as Column,
    OfSeeds as OfSeeds,
    least_lead as least_lead,
    measure as measure,
    measure_figure as measure_figure,
    measure_lead as measure_lead,
    printed as printed,
    report as report,
)
from ._sequences import (
    ClipNats as ClipNats,
    Reporting as Reporting,
    SequenceTask as SequenceTask,
    compare_filters as compare_filters,
    nats_per_step as nats_per_step,
    report_filters as report_filters,
)
