"""Learning by local errors: every level changes its own weights and precisions by what it mispredicted itself.

    z_n     = where inference settles on x_n
    theta_l <- theta_l + optimizer(mean_n (d mu^l / d theta_l)^T xi^{l-1}_n + ...)

The slope of a level's parameters comes from the errors right below that level alone; for a linear prediction p(x | z) = N(W z,
sigma^2) it is the Hebbian product xi_x z^T. Precisions are learned from the same errors: d log p / d log sigma = sigma^2 xi^2 - 1
settles where sigma^2 is the mean squared error, so an error counts for as much as it has been reliable.
"""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ..core import AbstractEngine, AbstractLearner, AbstractModel
from ..distributions import Delta
from ..objectives import Evidence, FreeEnergy
from ..results import BadInputError
from ..typing import Array, Energy, Float, Int, Key, PyTree, Scalar
from ._amortized_learning import Failure
from ._infer import infer
from ._variational_learning import everything, keep
from .engines import PredictiveCoding
from .engines._local_errors import local_pass


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


class PredictiveCodingState(NamedTuple):
    """What training carries on.

    Attributes:
        model: the generative model.
        optimizer: state of the optimiser of its parameters.
        step: number of updates done.
        failure: why updates stopped, if they did.
    """

    model: AbstractModel
    optimizer: optax.OptState
    step: Int[Array, ""]
    failure: Failure


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
class PredictiveCodingLearning(AbstractLearner[PredictiveCodingState, PredictiveCodingMetrics]):
    """Settle on every datum of a batch, then let every level correct its own predictions.

    Latents start anew at every batch. The energy -log p(x, z) at the settled point is no bound on -log p(x): it has no entropy.
    So it can be lowered without end by weights that grow while latents shrink, and by scales that collapse; then the curvature
    in z grows too, until the engine's rate is too large. `project` fixes the weights' length, and the levels' and likelihoods'
    floors bound scales. Without either, stop early.

    Attributes:
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

    model: AbstractModel
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    engine: AbstractEngine = PredictiveCoding(optax.sgd(0.1))
    num_steps: int = eqx.field(static=True, default=20)
    learnable: Callable[[PyTree], PyTree] = eqx.field(static=True, default=everything)
    project: Callable[[AbstractModel], AbstractModel] = eqx.field(static=True, default=keep)
    prepare: Callable[..., PyTree] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one step of inference, got num_steps={self.num_steps}.")

    def init(self, *, key: Key) -> PredictiveCodingState:
        learned, _ = eqx.partition(self.model, self.learnable(self.model))
        fine = jnp.zeros((), bool)
        failure = Failure(jnp.full((), -1, jnp.int32), fine, fine, fine)
        return PredictiveCodingState(self.model, self.optimizer.init(learned), jnp.zeros((), jnp.int32), failure)

    def update(
        self, state: PredictiveCodingState, batch: Array, *, key: Key
    ) -> tuple[PredictiveCodingState, PredictiveCodingMetrics]:
        prepare_key, key = jr.split(key)
        batch = batch if self.prepare is None else self.prepare(batch, key=prepare_key)
        found = local_gradients(state.model, batch, self.settle(state.model, batch, key=key))
        learned, fixed = eqx.partition(state.model, self.learnable(state.model))
        gradient = jax.tree.map(
            lambda leaf, slope: None if leaf is None else slope,
            learned,
            found.weights,
            is_leaf=lambda leaf: leaf is None,
        )
        updates, optimizer = self.optimizer.update(gradient, state.optimizer, learned)
        model = self.project(eqx.combine(eqx.apply_updates(learned, updates), fixed))
        failure = _judge(state, found)
        # From a failure on the last good numbers are kept, so that what was trained until then is not lost.
        (now, rest), (before, _) = (eqx.partition(tree, eqx.is_array) for tree in ((model, optimizer), state[:2]))
        kept = jax.tree.map(lambda new, old: jnp.where(failure.step >= 0, old, new), now, before)
        model, optimizer = eqx.combine(kept, rest)
        metrics = PredictiveCodingMetrics(
            found.distortion_nats + found.rate_nats,
            found.distortion_nats,
            found.rate_nats,
            jnp.mean(jnp.linalg.norm(found.latents, axis=1)),
            failure.step.astype(found.distortion_nats.dtype),
        )
        return PredictiveCodingState(model, optimizer, state.step + 1, failure), metrics

    def settle(self, model: AbstractModel, observations: PyTree, *, key: Key) -> Float[Array, "batch d"]:
        """Latents of every datum after `num_steps` of the engine, from the standard start."""
        family = Delta(model.initial().event_shape[0])
        objective = FreeEnergy(model)

        def one(observation: Array, key: Key) -> Array:
            return infer(
                objective, self.engine, family, Evidence(observation), key=key, num_steps=self.num_steps, throw=False
            ).params.loc

        return jax.vmap(one)(observations, jr.split(key, observations.shape[0]))


def _judge(state: PredictiveCodingState, found: LocalGradients) -> Failure:
    """The first failure so far: an earlier one, or what is not finite now."""
    distortion, rate = ~jnp.isfinite(found.distortion_nats), ~jnp.isfinite(found.rate_nats)
    gone = ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(found.weights)]))
    now = Failure(jnp.where(distortion | rate | gone, state.step, -1), distortion, rate, gone & ~distortion & ~rate)
    return jax.tree.map(lambda old, new: jnp.where(state.failure.step >= 0, old, new), state.failure, now)
