"""All models of sequences that have a name."""

from .._options import SequencesOptions
from ._continuous import ContinuousModel
from ._deep import DEEP_MODELS
from ._hidden_markov import HiddenMarkovModel
from ._linear_gaussian import LinearGaussianModel
from ._named import AbstractNamedModel
from ._nonlinear import NonlinearModel
from ._poisson import PoissonModel
from ._structural import StructuralModel
from ._switching import SwitchingModel

MODELS: dict[str, AbstractNamedModel] = {
    model.name: model
    for model in (
        LinearGaussianModel(),
        StructuralModel(),
        ContinuousModel(),
        HiddenMarkovModel(),
        SwitchingModel(),
        NonlinearModel(),
        PoissonModel(),
        *DEEP_MODELS,
    )
}


def named_model(options: SequencesOptions) -> AbstractNamedModel:
    """The model that options name."""
    return MODELS[options.model]
