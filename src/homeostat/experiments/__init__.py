"""Experiments are claims: one readable module for each set of claims, `experiments/<group>/<name>.py`."""

from ._claims import (
    AbstractRelation as AbstractRelation,
    AtLeast as AtLeast,
    AtMost as AtMost,
    Between as Between,
    Claim as Claim,
    relation as relation,
)
from ._protocol import (
    AbstractRunContext as AbstractRunContext,
    Experiment as Experiment,
    ExperimentConfig as ExperimentConfig,
    FitResult as FitResult,
    Minutes as Minutes,
    ProgressBar as ProgressBar,
    RunFunction as RunFunction,
    Scale as Scale,
)
from ._registry import (
    GroupSummary as GroupSummary,
    ProtocolError as ProtocolError,
    Registry as Registry,
    Summary as Summary,
)
