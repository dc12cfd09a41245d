"""Families (parameters <-> distribution) and the closed forms that engines and objectives use."""

from ._closed_forms import (
    GaussianMoments as GaussianMoments,
    closed_form_divergence as closed_form_divergence,
    gaussian_divergence as gaussian_divergence,
    gaussian_moments as gaussian_moments,
    is_gaussian as is_gaussian,
)
from ._expectation import (
    AbstractExpectation as AbstractExpectation,
    Antithetic as Antithetic,
    Cubature as Cubature,
    Enumeration as Enumeration,
    MonteCarlo as MonteCarlo,
    Points as Points,
)
from ._families import (
    Categorical as Categorical,
    CategoricalParams as CategoricalParams,
    Delta as Delta,
    DeltaParams as DeltaParams,
    SquashedGaussian as SquashedGaussian,
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
from ._matrix_normal_inverse_wishart import (
    MatrixNormalInverseWishart as MatrixNormalInverseWishart,
    RegressionSample as RegressionSample,
    positive_columns as positive_columns,
    positive_tria as positive_tria,
)
from ._squash import Squash as Squash
