"""Linear dynamics behind counts: learned from Gaussians over whole paths, evaluated by particles."""

from typing import Any, ClassVar, final

import numpy as np

from ....core import AbstractLearner
from ....data import AbstractSequences
from ....inference import ModelWithEngine, ModelWithFilter, SequenceBatch, keep_factors, smoothing_descent, start_counts
from ....inference.engines import PathNewton, StopGradient
from ....inference.filters import Particle
from ....models.sequential import LEAST_NOISE, GeneralizedLinear, LinearDynamics
from ....objectives import Neighbours
from ....typing import Float, Key
from ..._counts import count_likelihood
from ..._numbers import Range
from ..._task import Selected
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._descended import AbstractDescendedModel, linear_model, optimizer
from ._named import SequencesSystem

PATH_STEPS = 6
"""Newton steps on the path of each piece; more and natural gradients after them won nothing on spike counts with known dynamics."""
NUM_PARTICLES = 1_000
"""On 200 steps of five neurons, at two spikes a step, the estimate scatters by 0.004 nats a step (by 0.007 with 300, 0.019 with 100)."""


@final
class PoissonModel(AbstractDescendedModel):
    """`poisson`."""

    name: ClassVar[str] = "poisson"
    likelihoods: ClassVar[tuple[str, ...]] = ("poisson", "negative-binomial")

    def fitting(self, sequences: AbstractSequences, numbers: Range) -> str:
        return "poisson"

    def announce(self, options: SequencesOptions) -> list[str]:
        return ["start: a linear model of smoothed log counts"]

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        linear = linear_model(options, description, key=key)
        likelihood = count_likelihood(description.likelihood, description.scaling, description.event_shape)
        parts = (linear.initial_mean, linear.initial_scale_tril, linear.dynamics, linear.emission_matrix)
        return ModelWithFilter(GeneralizedLinear(*parts, likelihood), Particle(NUM_PARTICLES))

    def start(self, system: SequencesSystem, batch: SequenceBatch, *, key: Key) -> GeneralizedLinear:
        model = system.learned.model
        assert isinstance(model, GeneralizedLinear)
        return start_counts(model.likelihood, batch, model.dim, key=key)

    def learner(self, system: SequencesSystem) -> AbstractLearner:
        learned = ModelWithEngine(system.learned.model, StopGradient(PathNewton()))
        descent = keep_factors(optimizer(system.options), LEAST_NOISE)
        return smoothing_descent(learned, descent, PATH_STEPS, Neighbours(), system.weighting)

    def select(self, system: SequencesSystem, state: Any) -> Selected:
        return Selected(ModelWithFilter(state.learned.model, system.learned.filter), state.weighting)

    def estimate(self, options: SequencesOptions) -> str:
        return "bound by a particle filter"

    def effects(
        self, learned: ModelWithFilter[Any], description: SequencesDescription
    ) -> Float[np.ndarray, "entries inputs"] | None:
        """Of the logarithm of the expected count."""
        model = learned.model
        assert isinstance(model, GeneralizedLinear) and isinstance(model.dynamics, LinearDynamics)
        return np.asarray(model.emission_matrix @ model.dynamics.control, np.float64)
