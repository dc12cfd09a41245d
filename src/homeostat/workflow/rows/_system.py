"""A model with its engine, its learner and the way its results are measured, from a set of options."""

from typing import Any, NamedTuple, final

import jax.random as jr

from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import Delta, DiagonalGaussian, Masked, MonteCarlo
from ...inference import EnergyDescent, LastIteration, ModelWithEngine, Posterior, free_energy_descent, infer
from ...models.static import AbstractLinearFactors
from ...objectives import AbstractWeighting, Evidence, FreeEnergy, Unweighted, Weighted
from ...results import BadInputError
from ...typing import Array, Key
from .._task import Selected, make_optimizer, require
from ._describe import RowsDescription
from ._engines import ExactPosterior, Inference, PointWithSpread
from ._models import latent_dims
from ._options import ONE_STEP, RowsOptions


class InferenceSetup(NamedTuple):
    """All that inference with a fitted model needs; it fits `metrics.evaluate`."""

    model: AbstractModel
    engine: AbstractEngine
    family: AbstractFamily
    num_steps: int
    objective: FreeEnergy | Weighted

    @property
    def exact(self) -> AbstractLinearFactors | None:
        """The model, if posteriors and likelihoods are those of its formulas."""
        model = self.model
        return model if isinstance(self.engine, ExactPosterior) and isinstance(model, AbstractLinearFactors) else None

    def infer(self, evidence: Evidence, *, key: Key) -> Posterior:
        """The posterior of one row as the model sees it."""
        _, engine, family, steps, objective = self
        return infer(objective, engine, family, evidence, key=key, num_steps=steps, throw=False)


def binarize(batch: Array | Masked, *, key: Key) -> Any:
    """x ~ Bernoulli(fraction), anew at each call."""
    if isinstance(batch, Masked):
        return Masked(binarize(batch.value, key=key), batch.observed)
    return jr.bernoulli(key, batch).astype(batch.dtype)


@final
class RowsSystem(NamedTuple):
    """A model with its engine before training."""

    options: RowsOptions
    description: RowsDescription
    learned: ModelWithEngine
    inference: Inference
    weighting: AbstractWeighting

    @property
    def dims(self) -> tuple[int, ...]:
        """Latent variables of each level."""
        return latent_dims(self.options)

    def learner(self) -> EnergyDescent:
        """Descends the weighted free energy in model and engine together."""
        return free_energy_descent(
            self.learned,
            self.inference.family,
            make_optimizer(self.options),
            MonteCarlo(self.options.samples),
            self.inference.num_steps,
            self.weighting,
            engine_weights=self.inference.engine_weights,
            model_weights=LastIteration(),
            prepare=binarize if self.description.binarized else None,
        )

    def setup(self, selected: Selected, *, iterations: int | None = None) -> InferenceSetup:
        """Inference with a fitted model, with the number of iterations of its training unless another is given."""
        learned, steps, name = selected.learned, self.inference.num_steps, self.options.engine
        if iterations is not None:
            require(iterations >= 1, "at least one iteration", iterations)
            if name in ONE_STEP and iterations != 1:
                raise BadInputError(
                    f"Expected one iteration of the engine {name}, which has no more to say, got {iterations}."
                )
            steps = iterations + (name == "semi-amortized")
        engine, family = learned.engine, self.inference.family if learned.family is None else learned.family
        if isinstance(family, Delta):
            # What is reported needs a density.
            engine, family, steps = PointWithSpread(engine, steps), DiagonalGaussian(sum(self.dims)), 1
        objective = free_energy = FreeEnergy(learned.model, MonteCarlo(self.options.samples))
        if not isinstance(self.weighting, Unweighted):
            objective = Weighted(free_energy, self.weighting, selected.weighting)
        return InferenceSetup(learned.model, engine, family.given(learned.model.initial()), steps, objective)
