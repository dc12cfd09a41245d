"""Experiments are claims: one readable module for each set of claims, `experiments/<group>/<name>.py`."""

from ._protocol import (
    AbstractRelation as AbstractRelation,
    AbstractRunContext as AbstractRunContext,
    AtLeast as AtLeast,
    AtMost as AtMost,
    Between as Between,
    Claim as Claim,
    Experiment as Experiment,
    ExperimentConfig as ExperimentConfig,
    LoopResult as LoopResult,
    Minutes as Minutes,
    ProgressBar as ProgressBar,
    relation as relation,
    RunFunction as RunFunction,
    Scale as Scale,
)
