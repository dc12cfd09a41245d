"""Filters: recursive beliefs about a hidden state."""

from ._beliefs import GaussianBelief as GaussianBelief, ParticleBelief as ParticleBelief
from ._categorical_belief import CategoricalBelief as CategoricalBelief, RegimeBelief as RegimeBelief
from ._deep import (
    amortized_variational_filter as amortized_variational_filter,
    deep_markov_filter as deep_markov_filter,
    srnn_filter as srnn_filter,
    svg_filter as svg_filter,
    two_timescales_filter as two_timescales_filter,
    vrnn_filter as vrnn_filter,
)
from ._encoders import (
    CarryEncoder as CarryEncoder,
    FlatFeatures as FlatFeatures,
    FlatReader as FlatReader,
    FrameCode as FrameCode,
    MemoryEncoder as MemoryEncoder,
    NormalizedMean as NormalizedMean,
    ObservationFeatures as ObservationFeatures,
)
from ._ensemble import Ensemble as Ensemble, Taper as Taper
from ._extended import Extended as Extended
from ._forward import Forward as Forward
from ._guided import (
    AbstractLookahead as AbstractLookahead,
    AbstractProposal as AbstractProposal,
    AuxiliaryScore as AuxiliaryScore,
    BootstrapProposal as BootstrapProposal,
    BoundScore as BoundScore,
    GuidedParticle as GuidedParticle,
    NoLookahead as NoLookahead,
    VariationalProposal as VariationalProposal,
    auxiliary_particle as auxiliary_particle,
)
from ._history import History as History
from ._interacting import InteractingModels as InteractingModels
from ._joint import AbstractGaussianFilter as AbstractGaussianFilter, JointGaussian as JointGaussian
from ._kalman import Kalman as Kalman
from ._log_evidence import log_evidence as log_evidence
from ._memory import AbstractMemory as AbstractMemory, RecurrentMemory as RecurrentMemory, StepContext as StepContext
from ._offline import AbstractOfflineFilter as AbstractOfflineFilter, Filtered as Filtered
from ._particle import Particle as Particle
from ._propagation import (
    AbstractPropagation as AbstractPropagation,
    MixtureBelief as MixtureBelief,
    MomentMatching as MomentMatching,
    SampledHistories as SampledHistories,
)
from ._resampling import systematic as systematic
from ._unscented import Unscented as Unscented
from ._variational import VariationalFilter as VariationalFilter
