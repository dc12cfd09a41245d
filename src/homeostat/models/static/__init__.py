"""Models of one observation at a time."""

from ._spatial_transformer import (
    Similarity as Similarity,
    SpatialTransformer as SpatialTransformer,
    SpriteCoordinates as SpriteCoordinates,
    sample_template as sample_template,
)
