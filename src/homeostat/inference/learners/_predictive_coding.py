"""Learning by local errors: every level changes its own weights and precisions by what it mispredicted itself.

    z_n     = where inference settles on x_n
    theta_l <- theta_l + optimizer(mean_n (d mu^l / d theta_l)^T xi^{l-1}_n + ...)

The slope of a level's parameters comes from the errors right below that level alone; for a linear prediction p(x | z) = N(W z,
sigma^2) it is the Hebbian product xi_x z^T. Precisions are learned from the same errors: d log p / d log sigma = sigma^2 xi^2 - 1
settles where sigma^2 is the mean squared error, so an error counts for as much as it has been reliable.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractEngine, AbstractModel, check_kind
from ...distributions import Delta
from ...objectives import Evidence, FreeEnergy, FreeEnergyTerms
from ...results import BadInputError
from ...typing import Array, Energy, Float, Int, Key, PyTree, Scalar
from .._infer import infer
from ..engines import PredictiveCoding
from ..engines._local_errors import local_pass
from ._energy_descent import AbstractProblem, EnergyDescent, Slope, Weigh, everything, keep


class LocalGradients(NamedTuple):
    """Slopes of the mean energy of a batch, each from the errors of one level.

    Attributes:
        distortion_nats: mean of -log p(x | z).
        rate_nats: mean of -log p(z).
        weights: slope in the model's parameters, in its structure.
        latents: slope in every z of the energy of its own datum; zero at equilibrium.
    """

    distortion_nats: Energy
    rate_nats: Energy
    weights: PyTree
    latents: Float[Array, "batch d"]


def local_gradients(
    model: AbstractModel,
    observations: Float[Array, "batch ..."] | Int[Array, "batch ..."],
    latents: Float[Array, "batch d"],
) -> LocalGradients:
    """What each level learns from its own errors at given latents.

    With those held fixed this is the gradient of the whole mean energy, though nothing differentiates it as a whole.

    Args:
        model: whose parameters have slopes.
        observations: x of every datum.
        latents: z of every datum, flat, the lowest level first.

    References:
        Marino (thesis), Sec. 8.2: the gradient in W is xi_x z^T (with sigma^2 in xi_x where the thesis prints sigma).
    """
    found = local_pass(model, Evidence(observations), latents, lift=jax.vmap)
    weights = jax.tree.map(lambda leaf: -leaf / latents.shape[0], found.weights)
    return LocalGradients(-jnp.mean(found.log_likelihood_nats), -jnp.mean(found.log_prior_nats), weights, -found.ascent)


class PredictiveCodingMetrics(NamedTuple):
    """What one update measured: means over the batch, after inference and before the parameters moved.

    Attributes:
        energy_nats: -log p(x, z).
        distortion_nats: -log p(x | z).
        rate_nats: -log p(z).
        unrest_nats: norm of the slope in z that inference left over, in nats per unit of z; zero at equilibrium.
        failed_step: number of the update at which training stopped because something was not finite; -1 otherwise.
    """

    energy_nats: Scalar
    distortion_nats: Scalar
    rate_nats: Scalar
    unrest_nats: Scalar
    failed_step: Scalar


@final
class LocalErrors(AbstractProblem):
    """The energy of latents that an engine settles anew for every batch, with the gradient that each level finds by itself."""

    engine: AbstractEngine
    num_steps: int = eqx.field(static=True)

    def slope(self, learned: AbstractModel, carry: None, batch: Array, weigh: Weigh, *, key: Key) -> Slope:
        found = local_gradients(learned, batch, self.settle(learned, batch, key=key))
        terms = FreeEnergyTerms(found.distortion_nats, found.rate_nats[None])
        return Slope(found.weights, terms, weigh(terms), carry, None, found)

    def metrics(self, slope: Slope, failed_step: Scalar) -> PredictiveCodingMetrics:
        found: LocalGradients = slope.details
        unrest = jnp.mean(jnp.linalg.norm(found.latents, axis=1))
        energy = found.distortion_nats + found.rate_nats
        return PredictiveCodingMetrics(energy, found.distortion_nats, found.rate_nats, unrest, failed_step)

    def settle(self, model: AbstractModel, observations: PyTree, *, key: Key) -> Float[Array, "batch d"]:
        """Latents of every datum after `num_steps` of the engine, from the standard start."""
        family = Delta(model.initial().event_shape[0])
        objective = FreeEnergy(model)

        def one(observation: Array, key: Key) -> Array:
            return infer(
                objective, self.engine, family, Evidence(observation), key=key, num_steps=self.num_steps, throw=False
            ).params.loc

        return jax.vmap(one)(observations, jr.split(key, observations.shape[0]))


def predictive_coding_descent(
    model: AbstractModel,
    optimizer: optax.GradientTransformation,
    engine: AbstractEngine = PredictiveCoding(optax.sgd(0.1)),
    num_steps: int = 20,
    *,
    learnable: Callable[[PyTree], PyTree] = everything,
    project: Callable[[Any], Any] = keep,
    prepare: Callable[..., PyTree] | None = None,
) -> EnergyDescent:
    """A learner that settles on every datum of a batch, and then lets every level correct its own predictions.

    Latents start anew at every batch. The energy -log p(x, z) at the settled point is no bound on -log p(x): it has no entropy.
    So it can be lowered without end by weights that grow while latents shrink, and by scales that collapse; then the curvature
    in z grows too, until the engine's rate is too large. `project` fixes the weights' length, and the levels' and likelihoods'
    floors bound scales. Without either, stop early.

    Args:
        model: where learning starts.
        optimizer: for the parameters of the model, precisions included.
        engine: settles the latents; `PredictiveCoding`, or a `Chain` that starts with a feedforward pass.
        num_steps: engine steps on each datum; enough of them to come near equilibrium, or the weights learn from errors that
            inference would still have explained (`PredictiveCodingMetrics.unrest_nats` tells).
        learnable: maps the model to a tree of booleans: which leaves are learned.
        project: applied to the model after every update.
        prepare: applied to a batch before it is used, with a key of its own, such as dynamic binarisation.

    References:
        Rao and Ballard (1999); Whittington and Bogacz, "An approximation of the error backpropagation algorithm in a predictive
        coding network with local Hebbian synaptic plasticity", Neural Computation 29 (2017); Marino (thesis), Sec. 8.2.
    """
    if num_steps < 1:
        raise BadInputError(f"Expected at least one step of inference, got num_steps={num_steps}.")
    check_kind(model, AbstractModel, "the model")
    problem = LocalErrors(engine, num_steps)
    return EnergyDescent(model, problem, optimizer, prepare=prepare, learnable=learnable, project=project)
