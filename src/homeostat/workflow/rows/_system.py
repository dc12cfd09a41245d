"""A model with its engine, its learner and the way its results are measured, from a set of options."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax.random as jr
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import MonteCarlo
from ...inference import Failure, FreeEnergyDescent, FreeEnergyDescentState, LastIteration, ModelWithEngine
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
from ...typing import Array, Float, Key, PyTree
from ._describe import Observations
from ._engines import Inference, for_reporting, make_family, make_inference
from ._models import latent_dims, make_model
from ._networks import require_positive
from ._options import LINEAR, ONE_STEP, OWN_POSTERIOR, WEIGHTINGS, RowsOptions


class Kept(NamedTuple):
    """What training leaves behind.

    Attributes:
        learned: model and engine.
        weighting: state of the weighting they were trained under.
    """

    learned: ModelWithEngine
    weighting: PyTree


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


@final
class System(NamedTuple):
    """A model with its engine before or after training.

    Attributes:
        config: the options.
        observations: what the rows are.
        learned: model and engine.
        inference: the engine as it is trained.
        weighting: around the terms of the free energy.
    """

    config: RowsOptions
    observations: Observations
    learned: ModelWithEngine
    inference: Inference
    weighting: AbstractWeighting

    @property
    def dims(self) -> tuple[int, ...]:
        """Latent variables of each level."""
        model = self.learned.model
        return model.dims if isinstance(model, LatentGaussian) else latent_dims(self.config)

    @property
    def closed_form(self) -> bool:
        """Whether the model is learned without gradients."""
        return self.config.engine == "exact"

    def start(self) -> Kept:
        """Where learning starts."""
        return Kept(self.learned, self.weighting.init())

    def learner(self) -> FreeEnergyDescent:
        """Descends the weighted free energy in model and engine together."""
        return FreeEnergyDescent(
            self.learned,
            self.inference.family,
            _optimizer(self.config),
            MonteCarlo(self.config.samples),
            self.inference.num_steps,
            self.weighting,
            engine_weights=self.inference.engine_weights,
            model_weights=LastIteration(),
            prepare=BINARIZE if self.observations.binarized else None,
        )

    @staticmethod
    def keep(state: FreeEnergyDescentState) -> Kept:
        """What of a learner's state is worth keeping."""
        return Kept(state.learned, state.weighting)

    def perception(self, kept: Kept, *, iterations: int | None = None) -> InferenceSetup:
        """How a fitted model perceives.

        Args:
            kept: what training left.
            iterations: of inference, in place of those it was trained with.
        """
        model, engine = kept.learned.model, kept.learned.engine
        if iterations is not None and iterations < 1:
            raise BadInputError(f"Expected at least one iteration, got {iterations}.")
        if iterations is not None and self.config.engine in ONE_STEP and iterations != 1:
            raise BadInputError(
                f"Expected one iteration of the engine {self.config.engine}, which has no more to say, got {iterations}."
            )
        steps = iterations
        if iterations is not None and self.config.engine == "semi-amortized":
            steps = 1 + iterations
        family = self.inference.family if kept.learned.family is None else kept.learned.family
        trained = self.inference._replace(engine=engine, family=family)
        inference = for_reporting(trained, sum(self.dims), steps)
        free_energy = FreeEnergy(model, MonteCarlo(self.config.samples))
        weighted = not isinstance(self.weighting, Unweighted)
        objective = Weighted(free_energy, self.weighting, kept.weighting) if weighted else free_energy
        family = inference.family.given(model.initial())
        return InferenceSetup(model, inference.engine, family, inference.num_steps, objective)


BINARIZE: Callable[..., Any] = Binarize()


def failure_text(failure: Failure) -> str | None:
    """At which update training had to stop, and which terms were at fault; None if it did not stop."""
    if int(failure.step) < 0:
        return None
    names = [name for name in ("distortion", "rate", "gradient") if bool(getattr(failure, name))]
    return f"update {int(failure.step)}: the {' and the '.join(names)} became NaN or infinite"


def check_rows_options(config: RowsOptions) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises:
        BadInputError: they do.
    """
    require_positive(
        width=config.width,
        iterations=config.iterations,
        samples=config.samples,
        steps=config.steps,
        batch_size=config.batch_size,
        validate_every=config.validate_every,
        report_every=config.report_every,
        evaluation_rows=config.evaluation_rows,
    )
    _require(
        config.depth >= (1 if config.mapping == "highway" else 0), "--depth of 0 or more (highway: 1)", config.depth
    )
    _require(config.units >= 0, "--units of 0 or more", config.units)
    _require(config.patience >= 0, "--patience of 0 or more", config.patience)
    _require(config.clip_norm >= 0.0, "--clip-norm of 0 or more", config.clip_norm)
    _require(config.evaluation_samples >= 2, "--evaluation-samples of at least 2", config.evaluation_samples)
    _require(0.0 < config.learning_rate < math.inf, "a positive --learning-rate", config.learning_rate)
    _require(0.0 < config.inference_rate < math.inf, "a positive --inference-rate", config.inference_rate)
    _require(config.hold_mib >= 0.0, "--hold-mib of 0 or more", config.hold_mib)
    _require(0.0 <= config.validation_fraction < 1.0, "a --validation-fraction in [0, 1)", config.validation_fraction)
    if config.engine == "natural-gradient":
        _require(config.inference_rate <= 1.0, "--inference-rate up to 1 for natural-gradient", config.inference_rate)
    latent_dims(config)
    given = [name for name in WEIGHTINGS if getattr(config, name) is not None]
    options = [f"--{name.replace('_', '-')}" for name in given]
    if len(given) > 1:
        raise BadInputError(
            f"Expected at most one weighting, got {' and '.join(options)}: they exclude each other, choose one."
        )
    for name in given:
        value = getattr(config, name)
        low = 1 if name == "anneal" else 0
        inside = name == "distortion_constraint" or value >= low
        _require(math.isfinite(value) and inside, f"--{name.replace('_', '-')} of {low} or more", value)
    if given and config.engine in ("natural-gradient", "predictive-coding", "exact"):
        raise BadInputError(
            f"Expected no weighting with --engine {config.engine}, whose steps are made for the free energy itself, got "
            f"{options[0]}: leave it out, or use another engine."
        )
    _check_engine(config)
    _check_posterior(config)


def _check_posterior(config: RowsOptions) -> None:
    name = config.posterior
    if name != "diagonal" and config.engine in OWN_POSTERIOR:
        raise BadInputError(
            f"Expected no --posterior with --engine {config.engine}, which is made for one of its own, got {name}: leave it out, "
            f"or use direct, iterative, semi-amortized or gradient."
        )
    if name == "flow" and config.engine == "natural-gradient":
        raise BadInputError(
            "Expected a Gaussian for --engine natural-gradient, got --posterior flow: use diagonal or full, or --engine gradient."
        )
    if name == "flow" and sum(latent_dims(config)) < 2:
        raise BadInputError("Expected at least two latent variables for --posterior flow, got one: use diagonal.")


def _check_engine(config: RowsOptions) -> None:
    if config.engine == "exact" and config.model not in LINEAR:
        raise BadInputError(
            f"Expected {' or '.join(LINEAR)} for --engine exact, which needs a posterior in closed form, got {config.model}."
        )
    if config.engine == "predictive-coding" and config.model != "latent-gaussian":
        raise BadInputError(
            f"Expected --model latent-gaussian for --engine predictive-coding, got {config.model}: use another engine."
        )
    if config.model == "sparse-coding" and config.engine == "natural-gradient":
        raise BadInputError(
            "Expected a smooth prior for --engine natural-gradient, got sparse-coding, whose prior has a corner: use "
            "--engine gradient or an amortized engine."
        )
    if config.mapping == "convolutional" and config.model != "latent-gaussian":
        raise BadInputError(f"Expected --model latent-gaussian for --mapping convolutional, got {config.model}.")


def build_rows_system(config: RowsOptions, observations: Observations, *, key: Key) -> System:
    """Turn options into objects.

    Args:
        config: the options.
        observations: what the rows are, from `describe`.
        key: for initial weights.

    Raises:
        BadInputError: options contradict each other or the data.
    """
    # Compiled, because initialising eagerly costs seconds of dispatch.
    initial = _initial(config, observations, jr.fold_in(key, 1))
    return _assemble(config, observations, eqx.filter_jit(initial)(key))


def outline_rows_system(config: RowsOptions, observations: Observations) -> System:
    """The system without numbers: shapes in place of arrays, to check that all fits together, and to restore into."""
    initial = _initial(config, observations, jr.key(0))
    return _assemble(config, observations, eqx.filter_eval_shape(initial, jr.key(0)))


def _initial(
    config: RowsOptions, observations: Observations, family_key: Key
) -> Callable[[Key], tuple[AbstractModel, Inference]]:
    check_rows_options(config)
    family = make_family(config, key=family_key)

    def initial(key: Key) -> tuple[AbstractModel, Inference]:
        model_key, engine_key = jr.split(key)
        model = make_model(config, observations, key=model_key)
        return model, make_inference(model, family, observations, config, key=engine_key)

    return initial


def _assemble(config: RowsOptions, observations: Observations, parts: tuple[AbstractModel, Inference]) -> System:
    model, inference = parts
    levels = len(model.dims) if isinstance(model, LatentGaussian) else 1
    learned = ModelWithEngine(model, inference.engine, inference.learned_family)
    # A posterior that cannot be taken apart along the levels has one rate for all of them.
    rates = levels if config.posterior == "diagonal" else 1
    return System(config, observations, learned, inference, _weighting(config, rates))


def _weighting(config: RowsOptions, num_levels: int) -> AbstractWeighting:
    if config.beta is not None:
        return Beta(config.beta)
    if config.anneal is not None:
        return Annealing(optax.linear_schedule(0.0, 1.0, config.anneal))
    if config.free_bits is not None:
        return FreeBits(config.free_bits, num_levels)
    if config.rate_constraint is not None:
        return RateConstraint(config.rate_constraint)
    if config.distortion_constraint is not None:
        return DistortionConstraint(config.distortion_constraint)
    return Unweighted()


def _optimizer(config: RowsOptions) -> optax.GradientTransformation:
    adam = optax.adam(config.learning_rate)
    return adam if config.clip_norm == 0.0 else optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


def _require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadInputError(f"Expected {expected}, got {got}.")
