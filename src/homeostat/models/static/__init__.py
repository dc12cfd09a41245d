"""Models of one observation at a time."""

from ._blocks import Blocks as Blocks
from ._coordinates import Similarity as Similarity, SpriteCoordinates as SpriteCoordinates
from ._decoders import BernoulliDecoder as BernoulliDecoder, GaussianDecoder as GaussianDecoder
from ._occluded_sprites import ExplainingAway as ExplainingAway, OccludedSprites as OccludedSprites
from ._sampling import sample_template as sample_template
from ._sparse_template import PoseAndWeights as PoseAndWeights, SparseTemplate as SparseTemplate
from ._spatial_transformer import SpatialTransformer as SpatialTransformer
from ._template_choice import (
    TemplateChoice as TemplateChoice,
    choice_free_energy as choice_free_energy,
    choice_probabilities as choice_probabilities,
    stack_models as stack_models,
)
