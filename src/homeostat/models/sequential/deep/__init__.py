"""Deep models of sequences: recurrent ones (VRNN, SRNN, SVG), a Markov one, and one of two time scales."""

from ._deep_markov import DeepMarkov as DeepMarkov, GatedTransition as GatedTransition, deep_markov as deep_markov
from ._densities import (
    OUTPUT_LOG_VARIANCE as OUTPUT_LOG_VARIANCE,
    VRNN_LOG_VARIANCE as VRNN_LOG_VARIANCE,
    music_density as music_density,
    speech_density as speech_density,
    video_density as video_density,
)
from ._parts import ConditionalNormal as ConditionalNormal, Readout as Readout, gain_of as gain_of
from ._srnn import (
    SRNN as SRNN,
    SRNN_MUSIC as SRNN_MUSIC,
    SRNN_SPEECH as SRNN_SPEECH,
    SRNNCarry as SRNNCarry,
    SRNNSizes as SRNNSizes,
    srnn as srnn,
)
from ._svg import (
    SVG as SVG,
    SVG_KTH as SVG_KTH,
    SVG_MOVING_DIGITS as SVG_MOVING_DIGITS,
    SVG_ROBOT as SVG_ROBOT,
    SVGCarry as SVGCarry,
    SVGSizes as SVGSizes,
    svg as svg,
)
from ._two_timescales import (
    TwoTimescales as TwoTimescales,
    TwoTimescalesCarry as TwoTimescalesCarry,
    two_timescales as two_timescales,
)
from ._vrnn import (
    VRNN as VRNN,
    VRNN_SPEECH as VRNN_SPEECH,
    VRNNCarry as VRNNCarry,
    VRNNSizes as VRNNSizes,
    vrnn as vrnn,
)
