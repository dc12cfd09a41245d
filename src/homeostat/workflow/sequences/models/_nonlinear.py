"""Networks with additive Gaussian noise: learned through a Gaussian filter, or from a Gaussian over the whole path."""

from typing import Any, ClassVar, final

import jax

from ....core import AbstractLearner
from ....inference import (
    ModelWithEngine,
    ModelWithFilter,
    SequenceBatch,
    evidence_descent,
    keep_factors,
    smoothing_descent,
)
from ....inference.engines import PathNewton, StopGradient
from ....inference.filters import Extended, Unscented
from ....inference.smoothers import extended_path
from ....models.sequential import LEAST_NOISE, NonlinearGaussian
from ....objectives import Neighbours, PathFisher
from ....typing import Key
from ..._task import Selected
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._descended import AbstractDescendedModel, linear_model, linear_start, optimizer
from ._named import SequencesSystem

PATH_STEPS = 4
"""Newton steps on the path of each piece, from that of an extended smoother: what the networks say alone leads away from the data."""


@final
class NonlinearModel(AbstractDescendedModel):
    """`nonlinear`."""

    name: ClassVar[str] = "nonlinear"

    def announce(self, options: SequencesOptions) -> list[str]:
        return ["start: the best linear model, with networks that are zero at first"]

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        linear_key, key = jax.random.split(key)
        sizes = {"width": options.width, "depth": options.depth}
        model = NonlinearGaussian.around(linear_model(options, description, key=linear_key), **sizes, key=key)
        return ModelWithFilter(model, Extended() if options.engine == "extended" else Unscented())

    def start(self, system: SequencesSystem, batch: SequenceBatch, *, key: Key) -> NonlinearGaussian:
        linear_key, key = jax.random.split(key)
        sizes = {"width": system.options.width, "depth": system.options.depth}
        return NonlinearGaussian.around(linear_start(system, batch, key=linear_key), **sizes, key=key)

    def learner(self, system: SequencesSystem) -> AbstractLearner:
        options = system.options
        if options.engine != "structured":
            return evidence_descent(system.learned, optimizer(options), floor=LEAST_NOISE)
        engine = StopGradient(PathNewton(PathFisher()))
        learned = ModelWithEngine(system.learned.model, engine)
        descent = keep_factors(optimizer(options), LEAST_NOISE)
        return smoothing_descent(learned, descent, PATH_STEPS, Neighbours(), system.weighting, start=extended_path)

    def select(self, system: SequencesSystem, state: Any) -> Selected:
        return Selected(ModelWithFilter(state.learned.model, system.learned.filter), state.weighting)

    def estimate(self, options: SequencesOptions) -> str:
        return "log score of an approximate filter"
