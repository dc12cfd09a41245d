"""Families (parameters <-> distribution) and the closed forms that engines and objectives use."""

from ._block_tridiagonal import (
    BlockTridiagonal as BlockTridiagonal,
    BlockTridiagonalParams as BlockTridiagonalParams,
    PathGaussian as PathGaussian,
    PathMarginals as PathMarginals,
    PathNatural as PathNatural,
    natural_markov as natural_markov,
    path_divergence as path_divergence,
    require_path as require_path,
)
from ._closed_forms import (
    GaussianMoments as GaussianMoments,
    closed_form_divergence as closed_form_divergence,
    gaussian_divergence as gaussian_divergence,
    gaussian_moments as gaussian_moments,
    is_gaussian as is_gaussian,
)
from ._discretized_normal import DiscretizedNormal as DiscretizedNormal
from ._expectation import (
    AbstractExpectation as AbstractExpectation,
    Antithetic as Antithetic,
    Cubature as Cubature,
    Enumeration as Enumeration,
    MeanPoint as MeanPoint,
    MonteCarlo as MonteCarlo,
    at_points as at_points,
)
from ._families import (
    Categorical as Categorical,
    CategoricalParams as CategoricalParams,
    Delta as Delta,
    DeltaParams as DeltaParams,
    SquashedGaussian as SquashedGaussian,
    bound as bound,
    check_bounds as check_bounds,
)
from ._fisher import fisher_information as fisher_information
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
    Descent as Descent,
    Hierarchical as Hierarchical,
    is_factorised as is_factorised,
    level_divergences as level_divergences,
    split_levels as split_levels,
)
from ._joint import Joint as Joint
from ._ladder import Corrected as Corrected, Ladder as Ladder
from ._matrix_normal_inverse_wishart import (
    MatrixNormalInverseWishart as MatrixNormalInverseWishart,
    RegressionSample as RegressionSample,
    positive_columns as positive_columns,
    positive_tria as positive_tria,
)
from ._missing import (
    Known as Known,
    Masked as Masked,
    any_observed as any_observed,
    complete as complete,
    known_entries as known_entries,
    partial_log_prob as partial_log_prob,
)
from ._quadrature import GaussHermite as GaussHermite, SigmaPoints as SigmaPoints
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
from ._squash import Squash as Squash
