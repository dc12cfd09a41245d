"""Energies in nats, lower is better: what engines descend."""

from ._expected_free_energy import (
    AbstractFunctional as AbstractFunctional,
    AbstractParameterInformation as AbstractParameterInformation,
    AbstractPreference as AbstractPreference,
    EFEInfo as EFEInfo,
    EFETerms as EFETerms,
    ExpectedFreeEnergy as ExpectedFreeEnergy,
    NoParameterGain as NoParameterGain,
    PragmaticEpistemic as PragmaticEpistemic,
    Preferred as Preferred,
    RiskAmbiguity as RiskAmbiguity,
    UncertainDynamics as UncertainDynamics,
)
from ._free_energy import (
    AbstractPredictive as AbstractPredictive,
    Errors as Errors,
    Evidence as Evidence,
    FreeEnergy as FreeEnergy,
    FreeEnergyTerms as FreeEnergyTerms,
    ImportanceWeighted as ImportanceWeighted,
    evidence_of as evidence_of,
)
from ._information import (
    AbstractEstimator as AbstractEstimator,
    AbstractSupport as AbstractSupport,
    AutomaticEstimator as AutomaticEstimator,
    FiniteOutcomes as FiniteOutcomes,
    Information as Information,
    Linearized as Linearized,
    MomentMatched as MomentMatched,
    NestedMonteCarlo as NestedMonteCarlo,
    SampledPoints as SampledPoints,
    WeightedPoints as WeightedPoints,
)
from ._multiplier import (
    AbstractMultiplier as AbstractMultiplier,
    DualAscent as DualAscent,
    DualVariable as DualVariable,
)
from ._path_curvature import (
    AbstractPathCurvature as AbstractPathCurvature,
    PathFisher as PathFisher,
    PathHessian as PathHessian,
)
from ._path_energy import PathEnergy as PathEnergy, ReturnInfo as ReturnInfo
from ._path_free_energy import (
    AbstractPathExpectation as AbstractPathExpectation,
    Neighbours as Neighbours,
    PathEvidence as PathEvidence,
    PathFreeEnergy as PathFreeEnergy,
    PathPoints as PathPoints,
    WholePaths as WholePaths,
    at_paths as at_paths,
    within as within,
)
from ._plan_energy import AbstractPlanEnergy as AbstractPlanEnergy, forecast_beliefs as forecast_beliefs
from ._soft_return import MINIMUM_OF_TWO as MINIMUM_OF_TWO, ActionProblem as ActionProblem, SoftReturn as SoftReturn
from ._weighted import (
    AbstractWeighting as AbstractWeighting,
    Annealing as Annealing,
    Beta as Beta,
    DistortionConstraint as DistortionConstraint,
    FreeBits as FreeBits,
    RateConstraint as RateConstraint,
    Unweighted as Unweighted,
    Weighted as Weighted,
)
