"""Inference engines by name."""

from functools import partial
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.flatten_util import ravel_pytree

from ...core import AbstractEngine, AbstractFamily, AbstractModel, StepInfo
from ...distributions import (
    Delta,
    DiagonalGaussian,
    DiagonalGaussianParams,
    FullGaussian,
    FullGaussianParams,
    Ladder,
    MonteCarlo,
)
from ...flows import ConditionalFlow, NormalizingFlow
from ...inference import AbstractIterationWeights, AllIterations, FirstIteration, LastIteration, infer
from ...inference.engines import (
    AbstractEncoding,
    AbstractUpdateRule,
    BoundLogScale,
    Chain,
    Data,
    Direct,
    Estimate,
    Feedback,
    Fisher,
    Gated,
    Gradient,
    InferenceGradient,
    Iterative,
    LearnedSGD,
    LevelwiseIterative,
    LogGradient,
    NaturalGradient,
    Normalized,
    PredictionErrors,
    PredictiveCoding,
    Residual,
    StopGradient,
    WeightedErrors,
)
from ...models.static import AbstractLinearFactors, LatentGaussian
from ...objectives import Errors, Evidence, FreeEnergy, Weighted
from ...results import BadInputError
from ...typing import Array, Callable, Float, Key
from ._describe import RowsDescription
from ._models import latent_dims
from ._networks import dense, make_encoder, make_reader
from ._options import RowsOptions


class Inference(NamedTuple):
    """An engine with what it needs to run.

    Attributes:
        num_steps: steps of the engine on each row.
        engine_weights: weights of the losses of single iterations, for the engine.
    """

    engine: AbstractEngine
    family: AbstractFamily
    num_steps: int
    engine_weights: AbstractIterationWeights


@final
class PointWithSpread(AbstractEngine[DiagonalGaussianParams, None]):
    """All steps of an engine of points at once, and then the spread of a Gaussian around the point (Laplace's method).

        q(z) = N(z*, diag(H)^-1),   H = Fisher information of p(x | z*) - grad^2 log p(z*)

    Point estimates alone have no density, so neither a bound nor a likelihood could be told of them.

    Attributes:
        engine: finds z*, in the family `Delta`.
    """

    engine: AbstractEngine
    num_steps: int = eqx.field(static=True)

    def init(self, objective, family, params, args):
        return None

    def step(self, objective, family, params, args, state, *, key):
        points = Delta(params.loc.shape[0])
        point = points.init()._replace(loc=params.loc)
        found = infer(
            objective, self.engine, points, args, key=key, params=point, num_steps=self.num_steps, throw=False
        )
        loc = found.params.loc
        precision = jnp.diagonal(Fisher()(objective, found.distribution, loc, loc, args, key=key))
        # A likelihood without an own curvature may bend the wrong way at a saddle: no wider than a hundred units.
        log_scale = -0.5 * jnp.log(jnp.maximum(precision, 1e-4)).astype(params.log_scale.dtype)
        return DiagonalGaussianParams(loc, log_scale), None, StepInfo(found.path_nats[0])


@final
class ExactPosterior(AbstractEngine[FullGaussianParams, None]):
    """p(z | x) of a linear-Gaussian model by its formula: what `infer` descends to, at once."""

    def init(self, objective, family, params, args):
        return None

    def step(self, objective, family, params, args, state, *, key):
        free_energy = objective.free_energy if isinstance(objective, Weighted) else objective
        assert isinstance(free_energy, FreeEnergy) and isinstance(free_energy.model, AbstractLinearFactors)
        assert isinstance(family, FullGaussian)
        energy = objective(family(params), args, key=key)
        found = free_energy.model.posterior(args.observation, args.observed)
        return family.from_scale_tril(found.loc, jnp.asarray(found.scale_tril)), None, StepInfo(energy)


def make_family(options: RowsOptions, *, key: Key) -> AbstractFamily:
    """The posterior's family, for engines that leave the choice. Not to be compiled: flowjax keeps arrays out of sight of JAX."""
    dim = sum(latent_dims(options))
    if options.posterior == "full":
        return FullGaussian(dim)
    if options.posterior == "flow":
        # An engine that learns shares the flow's weights between rows; one that does not has a flow for each row.
        return NormalizingFlow(dim, key=key) if options.engine == "gradient" else ConditionalFlow(dim, dim, key=key)
    return DiagonalGaussian(dim)


def make_inference(
    model: AbstractModel, family: AbstractFamily, description: RowsDescription, options: RowsOptions, *, key: Key
) -> Inference:
    """The engine that the options name, for training."""
    steps, dims, adam = options.iterations, latent_dims(options), optax.adam(options.inference_rate)
    match options.engine:
        case "direct":
            return Inference(_direct(options, description, family, key), family, 1, AllIterations())
        case "ladder":
            if not isinstance(model, LatentGaussian) or len(dims) < 2:
                raise BadInputError(
                    "Expected at least two levels for --engine ladder, got one: say --latents 64,32, or use --engine direct."
                )
            ladder = Ladder(model.levels)
            return Inference(_direct(options, description, ladder, key), ladder, 1, AllIterations())
        case "semi-amortized":
            engine = Chain((_direct(options, description, family, key), Gradient(adam)), (1,))
            return Inference(engine, family, 1 + steps, FirstIteration())
        case "iterative":
            engine = _iterative(options, description, _feedback(description, family, sum(dims)), family, key)
            return Inference(engine, family, steps, AllIterations())
        case "levelwise":
            feedback = _feedback(description, family, sum(dims))
            levels = [
                _iterative(options, description, feedback.level(index, dims), family, level_key)
                for index, level_key in enumerate(jr.split(key, len(dims)))
            ]
            return Inference(LevelwiseIterative(tuple(levels), dims), family, steps, AllIterations())
        case "gradient":
            return Inference(StopGradient(Gradient(adam)), family, steps, LastIteration())
        case "natural-gradient":
            engine = NaturalGradient(options.inference_rate, expectation=MonteCarlo(options.samples))
            return Inference(StopGradient(engine), family, steps, LastIteration())
        case "predictive-coding":
            return Inference(StopGradient(PredictiveCoding(adam)), Delta(sum(dims)), steps, LastIteration())
        case _:
            return Inference(ExactPosterior(), FullGaussian(sum(dims)), 1, LastIteration())


def _bound(family: AbstractFamily) -> Callable[[Float[Array, " k"]], Float[Array, " k"]]:
    """Keeps scales in bounds, where they stand in the flat parameters."""
    if isinstance(family, FullGaussian):
        size = family.dim * (family.dim + 3) // 2
        return partial(_clipped, slice(size - family.dim, size))
    if isinstance(family, ConditionalFlow):
        return partial(_clipped, slice(family.dim, 2 * family.dim))
    return BoundLogScale()


def _clipped(scales: slice, estimate: Float[Array, " k"]) -> Float[Array, " k"]:
    bound = BoundLogScale()
    return estimate.at[scales].set(jnp.clip(estimate[scales], bound.low, bound.high))


def _direct(options: RowsOptions, description: RowsDescription, family: AbstractFamily, key: Key) -> Direct:
    size = ravel_pytree(family.init())[0].size
    return Direct(make_encoder(options, description, size, _bound(family), key=key))


def _iterative(
    options: RowsOptions, description: RowsDescription, feedback: Feedback, family: AbstractFamily, key: Key
) -> Iterative:
    encodings = _encodings(options, description)
    shapes = eqx.filter_eval_shape(lambda f: [encoding(f) for encoding in encodings], feedback)
    updates: dict[str, AbstractUpdateRule] = {"gated": Gated(), "residual": Residual(), "learned-sgd": LearnedSGD()}
    update = updates[options.update]
    network = dense(options)(sum(shape.shape[0] for shape in shapes), update.outputs(feedback.estimate.size), key=key)
    return Iterative(network, encodings, update, bound=_bound(family))


def _feedback(description: RowsDescription, family: AbstractFamily, dim: int) -> Feedback:
    """Feedback of zeros, whose shapes tell how much a network reads."""
    flat = ravel_pytree(family.init())[0]
    data, latent = jnp.zeros(description.size), jnp.zeros(dim)
    errors = Errors(data, latent, data, latent)
    return Feedback(flat, flat, Evidence(jnp.zeros(description.event_shape)), lambda: errors)


def _encodings(options: RowsOptions, description: RowsDescription) -> tuple[AbstractEncoding, ...]:
    known: dict[str, AbstractEncoding] = {
        # Means and log scales apart, where there are as many of these as of those.
        "gradients": Normalized(InferenceGradient(), 2 if options.posterior == "diagonal" else 1),
        "log-gradients": LogGradient(),
        "errors": Normalized(WeightedErrors()),
        "plain-errors": PredictionErrors(),
        "data": Data(make_reader(description)),
    }
    names = [name.strip() for name in options.encoding.split("+")]
    wrong = [name for name in names if name not in known]
    if wrong or len(set(names)) != len(names):
        raise BadInputError(
            f"Expected --encoding made of {', '.join(known)}, each at most once and joined by +, got {options.encoding!r}."
        )
    if description.likelihood == "categorical" and {"errors", "plain-errors"} & set(names):
        raise BadInputError(
            f"Expected an encoding without errors for a categorical likelihood, whose mean is not defined, got "
            f"{options.encoding!r}: use log-gradients+data."
        )
    return (Estimate(), *(known[name] for name in names))
