"""A model with its engine, its learner and the way its results are measured, from a set of options."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax.random as jr
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import MonteCarlo
from ...inference import EnergyDescent, LastIteration, ModelWithEngine, free_energy_descent
from ...models.static import LatentGaussian
from ...objectives import (
    AbstractWeighting,
    Annealing,
    Beta,
    DistortionConstraint,
    FreeBits,
    FreeEnergy,
    RateConstraint,
    Unweighted,
    Weighted,
)
from ...results import BadInputError
from ...typing import Array, Float, Key
from .._checks import check_training, require, require_positive
from .._task import Selected, make_optimizer
from ._describe import RowsDescription
from ._engines import Inference, for_reporting, make_family, make_inference
from ._models import latent_dims, make_model
from ._options import LINEAR, ONE_STEP, OWN_POSTERIOR, WEIGHTINGS, RowsOptions


class InferenceSetup(NamedTuple):
    """All that inference with a fitted model needs; it fits `metrics.evaluate` and `infer`.

    Attributes:
        model: the generative model.
        engine: finds posteriors.
        family: of the posteriors, beside the model's prior.
        num_steps: steps of the engine.
        objective: what the engine descends.
    """

    model: AbstractModel
    engine: AbstractEngine
    family: AbstractFamily
    num_steps: int
    objective: FreeEnergy | Weighted


@final
class Binarize(eqx.Module):
    """x ~ Bernoulli(fraction), anew at each call."""

    def __call__(self, batch: Float[Array, "..."], *, key: Key) -> Float[Array, "..."]:
        return jr.bernoulli(key, batch).astype(batch.dtype)


BINARIZE: Callable[..., Any] = Binarize()


@final
class RowsSystem(NamedTuple):
    """A model with its engine before training.

    Attributes:
        options: of the fit.
        description: of the rows.
        learned: model and engine.
        inference: the engine as it is trained.
        weighting: around the terms of the free energy.
    """

    options: RowsOptions
    description: RowsDescription
    learned: ModelWithEngine
    inference: Inference
    weighting: AbstractWeighting

    @property
    def dims(self) -> tuple[int, ...]:
        """Latent variables of each level."""
        model = self.learned.model
        return model.dims if isinstance(model, LatentGaussian) else latent_dims(self.options)

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
            prepare=BINARIZE if self.description.binarized else None,
        )

    def setup(self, selected: Selected, *, iterations: int | None = None) -> InferenceSetup:
        """Inference with a fitted model.

        Args:
            selected: learned numbers.
            iterations: of inference, in place of those it was trained with.
        """
        model, engine = selected.learned.model, selected.learned.engine
        name, steps = self.options.engine, iterations
        if iterations is not None:
            require(iterations >= 1, "at least one iteration", iterations)
            if name in ONE_STEP and iterations != 1:
                raise BadInputError(
                    f"Expected one iteration of the engine {name}, which has no more to say, got {iterations}."
                )
            steps = iterations + (name == "semi-amortized")
        family = self.inference.family if selected.learned.family is None else selected.learned.family
        trained = self.inference._replace(engine=engine, family=family)
        inference = for_reporting(trained, sum(self.dims), steps)
        free_energy = FreeEnergy(model, MonteCarlo(self.options.samples))
        weighted = not isinstance(self.weighting, Unweighted)
        objective = Weighted(free_energy, self.weighting, selected.weighting) if weighted else free_energy
        family = inference.family.given(model.initial())
        return InferenceSetup(model, inference.engine, family, inference.num_steps, objective)


def check_rows_options(options: RowsOptions) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises:
        BadInputError: they do.
    """
    check_training(options)
    require_positive(options, "width", "iterations", "samples", "evaluation_rows")
    require(options.depth >= (options.mapping == "highway"), "--depth of 0 or more (highway: 1)", options.depth)
    require(options.units >= 0, "--units of 0 or more", options.units)
    require(options.evaluation_samples >= 2, "--evaluation-samples of at least 2", options.evaluation_samples)
    require(0.0 < options.inference_rate < math.inf, "a positive --inference-rate", options.inference_rate)
    require(options.hold_mib >= 0.0, "--hold-mib of 0 or more", options.hold_mib)
    if options.engine == "natural-gradient":
        require(options.inference_rate <= 1.0, "--inference-rate up to 1 for natural-gradient", options.inference_rate)
    latent_dims(options)
    _check_weighting(options)
    _check_engine(options)
    _check_posterior(options)


def _check_weighting(options: RowsOptions) -> None:
    given = {f"--{name.replace('_', '-')}": getattr(options, name) for name in WEIGHTINGS}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise BadInputError(
            f"Expected at most one weighting, got {' and '.join(given)}: they exclude each other, choose one."
        )
    for name, value in given.items():
        inside = name in ("--distortion-constraint", "--anneal") or value >= 0
        require(math.isfinite(value) and inside, f"{name} of 0 or more", value)
    if given and options.engine in ("natural-gradient", "predictive-coding", "exact"):
        raise BadInputError(
            f"Expected no weighting with --engine {options.engine}, whose steps are made for the free energy itself, got "
            f"{next(iter(given))}: leave it out, or use another engine."
        )


def _check_posterior(options: RowsOptions) -> None:
    name = options.posterior
    if name != "diagonal" and options.engine in OWN_POSTERIOR:
        raise BadInputError(
            f"Expected no --posterior with --engine {options.engine}, which is made for one of its own, got {name}: leave it out, "
            f"or use direct, iterative, semi-amortized or gradient."
        )
    if name == "flow" and options.engine == "natural-gradient":
        raise BadInputError(
            "Expected a Gaussian for --engine natural-gradient, got --posterior flow: use diagonal or full, or --engine gradient."
        )
    if name == "flow" and sum(latent_dims(options)) < 2:
        raise BadInputError("Expected at least two latent variables for --posterior flow, got one: use diagonal.")


def _check_engine(options: RowsOptions) -> None:
    if options.engine == "exact" and options.model not in LINEAR:
        raise BadInputError(
            f"Expected {' or '.join(LINEAR)} for --engine exact, which needs a posterior in closed form, got {options.model}."
        )
    if options.engine == "predictive-coding" and options.model != "latent-gaussian":
        raise BadInputError(
            f"Expected --model latent-gaussian for --engine predictive-coding, got {options.model}: use another engine."
        )
    if options.model == "sparse-coding" and options.engine == "natural-gradient":
        raise BadInputError(
            "Expected a smooth prior for --engine natural-gradient, got sparse-coding, whose prior has a corner: use "
            "--engine gradient or an amortized engine."
        )
    if options.mapping == "convolutional" and options.model != "latent-gaussian":
        raise BadInputError(f"Expected --model latent-gaussian for --mapping convolutional, got {options.model}.")


def build_rows_system(options: RowsOptions, description: RowsDescription, *, key: Key | None) -> RowsSystem:
    """Turn options into objects.

    Args:
        options: of the fit.
        description: of the rows.
        key: for initial weights; None for shapes in place of arrays, to check that all fits together, and to restore into.

    Raises:
        BadInputError: options contradict each other or the data.
    """
    check_rows_options(options)
    known = jr.key(0) if key is None else key
    family = make_family(options, key=jr.fold_in(known, 1))

    def initial(key: Key) -> tuple[AbstractModel, Inference]:
        model_key, engine_key = jr.split(key)
        model = make_model(options, description, key=model_key)
        return model, make_inference(model, family, description, options, key=engine_key)

    # Compiled, because initialising eagerly costs seconds of dispatch.
    model, inference = eqx.filter_eval_shape(initial, known) if key is None else eqx.filter_jit(initial)(known)
    levels = len(model.dims) if isinstance(model, LatentGaussian) else 1
    learned = ModelWithEngine(model, inference.engine, inference.learned_family)
    # A posterior that cannot be taken apart along the levels has one rate for all of them.
    rates = levels if options.posterior == "diagonal" else 1
    return RowsSystem(options, description, learned, inference, _weighting(options, rates))


def _weighting(options: RowsOptions, num_levels: int) -> AbstractWeighting:
    if options.beta is not None:
        return Beta(options.beta)
    if options.anneal is not None:
        return Annealing(optax.linear_schedule(0.0, 1.0, options.anneal))
    if options.free_bits is not None:
        return FreeBits(options.free_bits, num_levels)
    if options.rate_constraint is not None:
        return RateConstraint(options.rate_constraint)
    if options.distortion_constraint is not None:
        return DistortionConstraint(options.distortion_constraint)
    return Unweighted()
