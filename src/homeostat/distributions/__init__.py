"""Families (parameters <-> distribution) and the closed forms that engines and objectives use."""

from ._block_tridiagonal import (
    BlockTridiagonal as BlockTridiagonal,
    BlockTridiagonalParams as BlockTridiagonalParams,
    PathGaussian as PathGaussian,
    PathMarginals as PathMarginals,
    PathNatural as PathNatural,
    natural_markov as natural_markov,
    require_path as require_path,
)
from ._closed_forms import (
    GaussianMoments as GaussianMoments,
    closed_form_divergence as closed_form_divergence,
    fisher_information as fisher_information,
    gaussian_moments as gaussian_moments,
    innermost as innermost,
    is_factorised as is_factorised,
    is_gaussian as is_gaussian,
)
from ._composite import Joint as Joint, Masked as Masked
from ._density import sample_with_log_prob as sample_with_log_prob
from ._discretized_normal import DiscretizedNormal as DiscretizedNormal
from ._expectation import (
    AbstractExpectation as AbstractExpectation,
    Antithetic as Antithetic,
    Cubature as Cubature,
    Enumeration as Enumeration,
    GaussHermite as GaussHermite,
    MeanPoint as MeanPoint,
    MonteCarlo as MonteCarlo,
    SigmaPoints as SigmaPoints,
    at_points as at_points,
)
from ._families import (
    Categorical as Categorical,
    CategoricalParams as CategoricalParams,
    Delta as Delta,
    DeltaParams as DeltaParams,
    Squash as Squash,
    SquashedGaussian as SquashedGaussian,
    bound as bound,
    check_bounds as check_bounds,
)
from ._gaussian import (
    AbstractGaussianFamily as AbstractGaussianFamily,
    DiagonalGaussian as DiagonalGaussian,
    DiagonalGaussianParams as DiagonalGaussianParams,
    FullGaussian as FullGaussian,
    FullGaussianParams as FullGaussianParams,
    NaturalParams as NaturalParams,
)
from ._hierarchical import (
    AbstractLevel as AbstractLevel,
    Hierarchical as Hierarchical,
    level_divergences as level_divergences,
    split_levels as split_levels,
)
from ._ladder import Ladder as Ladder
from ._matrix_normal_inverse_wishart import (
    MatrixNormalInverseWishart as MatrixNormalInverseWishart,
    positive_columns as positive_columns,
    positive_tria as positive_tria,
)
from ._missing import (
    Known as Known,
    any_observed as any_observed,
    complete as complete,
    known_entries as known_entries,
    partial_log_prob as partial_log_prob,
)
from ._recursions import (
    AbstractRecursion as AbstractRecursion,
    BlockFactor as BlockFactor,
    BlockPrecision as BlockPrecision,
    Parallel as Parallel,
    Sequential as Sequential,
)
from ._score_function import (
    AbstractBaseline as AbstractBaseline,
    ConstantBaseline as ConstantBaseline,
    LeaveOneOut as LeaveOneOut,
    NoBaseline as NoBaseline,
    ScoreFunction as ScoreFunction,
)
from ._support import require_emission as require_emission
