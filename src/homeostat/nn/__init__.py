"""Networks: dense, highway and convolutional, unbatched; and angles of symmetric things."""

from ._circular import angle_of as angle_of, direction_of as direction_of
from ._convolution import (
    Convolution as Convolution,
    ConvolutionalDecoder as ConvolutionalDecoder,
    ConvolutionalEncoder as ConvolutionalEncoder,
    FlatImage as FlatImage,
    PatchEmbedding as PatchEmbedding,
    PatchExpansion as PatchExpansion,
)
from ._dense import (
    MLP as MLP,
    RELU_GAIN as RELU_GAIN,
    Dense as Dense,
    Features as Features,
    HighwayMLP as HighwayMLP,
    LayerNorm as LayerNorm,
    clipped_leaky_relu as clipped_leaky_relu,
    xavier_uniform as xavier_uniform,
)
from ._images import (
    DCGANDecoder as DCGANDecoder,
    DCGANEncoder as DCGANEncoder,
    GroupNorm as GroupNorm,
    VGGDecoder as VGGDecoder,
    VGGEncoder as VGGEncoder,
)
from ._recurrent import GRU as GRU, LSTM as LSTM, AbstractRecurrent as AbstractRecurrent, LSTMState as LSTMState
