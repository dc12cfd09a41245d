"""Models of one observation at a time."""

from ._coordinates import Similarity as Similarity, SpriteCoordinates as SpriteCoordinates
from ._factor_analysis import (
    AbstractLinearFactors as AbstractLinearFactors,
    FactorAnalysis as FactorAnalysis,
    ProbabilisticPCA as ProbabilisticPCA,
)
from ._latent_gaussian import LatentGaussian as LatentGaussian, latent_gaussian as latent_gaussian
from ._levels import (
    AbstractWiring as AbstractWiring,
    ConditionalLevel as ConditionalLevel,
    LearnedLevel as LearnedLevel,
    NoSkip as NoSkip,
    Skip as Skip,
    StandardLevel as StandardLevel,
)
from ._likelihoods import (
    AbstractLikelihood as AbstractLikelihood,
    Bernoulli as Bernoulli,
    CategoricalOutput as CategoricalOutput,
    ConditionalDiscretizedGaussian as ConditionalDiscretizedGaussian,
    ConditionalGaussian as ConditionalGaussian,
    DiscretizedGaussian as DiscretizedGaussian,
    Gaussian as Gaussian,
    Multinomial as Multinomial,
    NegativeBinomialCounts as NegativeBinomialCounts,
    PoissonCounts as PoissonCounts,
)
from ._observations import BernoulliLikelihood as BernoulliLikelihood, WordCounts as WordCounts
from ._occluded_sprites import ExplainingAway as ExplainingAway, OccludedSprites as OccludedSprites
from ._sampling import sample_template as sample_template
from ._sparse_coding import SparseCoding as SparseCoding, unit_columns as unit_columns
from ._sparse_template import SparseTemplate as SparseTemplate
from ._spatial_transformer import SpatialTransformer as SpatialTransformer
from ._template_choice import (
    TemplateChoice as TemplateChoice,
    choice_free_energy as choice_free_energy,
    choice_probabilities as choice_probabilities,
    model_at as model_at,
    stack_models as stack_models,
)
