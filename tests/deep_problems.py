"""Deep sequential models of a few numbers, with the filters that were published for them."""

from functools import partial

from homeostat.inference.filters import deep_markov_filter, srnn_filter, svg_filter, two_timescales_filter, vrnn_filter
from homeostat.models.sequential import SRNNSizes, SVGSizes, VRNNSizes, deep_markov, srnn, svg, two_timescales, vrnn
from homeostat.models.static import ConditionalGaussian
from homeostat.nn import DCGANDecoder, DCGANEncoder

VECTOR = ConditionalGaussian((5,))
IMAGE = ConditionalGaussian((8, 8, 2))

VRNN_TINY = VRNNSizes(2, 4, 3, 3, 3, 3, 3, depth=1)
SRNN_TINY = SRNNSizes(2, 4, 3, depth=1)
SVG_TINY = SVGSizes(2, 3, 4, 2, partial(DCGANEncoder, channels=(2,)), partial(DCGANDecoder, channels=(2,)))

DEEP_MODELS = {
    "VRNN": partial(vrnn, VECTOR, VRNN_TINY),
    "SRNN": partial(srnn, VECTOR, SRNN_TINY),
    "SVG": partial(svg, IMAGE, SVG_TINY),
    "two time scales": partial(two_timescales, VECTOR, (2, 1), 3, memory_width=4, width=3),
    "deep Markov": partial(deep_markov, VECTOR, 2, transition_width=3, decoder_width=3),
}
"""`DEEP_MODELS[name](key=..., action_dim=...)`."""

DEEP_FILTERS = {
    "VRNN": partial(vrnn_filter, sizes=VRNN_TINY),
    "SRNN": partial(srnn_filter, sizes=SRNN_TINY),
    "SVG": partial(svg_filter, sizes=SVG_TINY),
    "two time scales": partial(two_timescales_filter, width=3),
    "deep Markov": partial(deep_markov_filter, width=3),
}
"""`DEEP_FILTERS[name](model, key=...)`."""
