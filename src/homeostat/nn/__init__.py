"""Networks: dense, highway and convolutional, unbatched; and angles of symmetric things."""

from ._circular import angle_of as angle_of, direction_of as direction_of
from ._convolution import (
    Convolution as Convolution,
    ConvolutionalDecoder as ConvolutionalDecoder,
    ConvolutionalEncoder as ConvolutionalEncoder,
    Flattened as Flattened,
    PatchEmbedding as PatchEmbedding,
    PatchExpansion as PatchExpansion,
)
from ._dense import (
    MLP as MLP,
    Dense as Dense,
    HighwayMLP as HighwayMLP,
    LayerNorm as LayerNorm,
    xavier_uniform as xavier_uniform,
)
from ._recurrent import GRU as GRU, AbstractRecurrent as AbstractRecurrent
