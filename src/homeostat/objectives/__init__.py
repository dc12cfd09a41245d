"""Energies in nats, lower is better: what engines descend."""

from ._expected_free_energy import (
    AbstractFunctional as AbstractFunctional,
    AbstractParameterInformation as AbstractParameterInformation,
    AbstractPreference as AbstractPreference,
    EFETerms as EFETerms,
    ExpectedFreeEnergy as ExpectedFreeEnergy,
    KnownParameters as KnownParameters,
    PlanAccount as PlanAccount,
    PragmaticEpistemic as PragmaticEpistemic,
    Preferred as Preferred,
    RiskAmbiguity as RiskAmbiguity,
    UncertainDynamics as UncertainDynamics,
)
from ._free_energy import (
    Evidence as Evidence,
    FreeEnergy as FreeEnergy,
    FreeEnergyTerms as FreeEnergyTerms,
    ImportanceWeighted as ImportanceWeighted,
)
from ._information import (
    AbstractEstimator as AbstractEstimator,
    AbstractSupport as AbstractSupport,
    AllPoints as AllPoints,
    Drawn as Drawn,
    FiniteOutcomes as FiniteOutcomes,
    Information as Information,
    Linearized as Linearized,
    MomentMatched as MomentMatched,
    NestedMonteCarlo as NestedMonteCarlo,
)
from ._path_curvature import (
    AbstractPathCurvature as AbstractPathCurvature,
    PathFisher as PathFisher,
    PathHessian as PathHessian,
)
from ._path_energy import PathAccount as PathAccount, PathEnergy as PathEnergy
from ._path_free_energy import (
    AbstractPathExpectation as AbstractPathExpectation,
    Neighbours as Neighbours,
    PathDerivatives as PathDerivatives,
    PathEvidence as PathEvidence,
    PathFreeEnergy as PathFreeEnergy,
    PathPoints as PathPoints,
    Seen as Seen,
    WholePaths as WholePaths,
    at_paths as at_paths,
    within as within,
)
from ._prospect import AbstractPlanEnergy as AbstractPlanEnergy, Prospect as Prospect, forecast as forecast
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
