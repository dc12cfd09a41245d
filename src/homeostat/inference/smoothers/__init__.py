"""Smoothers: beliefs about whole paths."""

from ._forward_backward import (
    ForwardBackward as ForwardBackward,
    Path as Path,
    SmoothedStates as SmoothedStates,
    viterbi as viterbi,
)
from ._particle import ParticleSmoother as ParticleSmoother, SmoothedParticles as SmoothedParticles
from ._rauch_tung_striebel import RauchTungStriebel as RauchTungStriebel, Smoothed as Smoothed
from ._recognition import (
    AbstractSequenceNetwork as AbstractSequenceNetwork,
    Bidirectional as Bidirectional,
    DirectForm as DirectForm,
    ProductForm as ProductForm,
    Stepwise as Stepwise,
    in_order as in_order,
)
from ._structured import (
    SmoothedPath as SmoothedPath,
    Structured as Structured,
    extended_path as extended_path,
    path_family as path_family,
    prior_path as prior_path,
)
