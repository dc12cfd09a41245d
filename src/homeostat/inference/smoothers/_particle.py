"""Particle smoothers: paths drawn backwards through what a particle filter kept."""

from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.smc.smoothing import exact_sampling, tracing
from cuthbertlib.smc.smoothing.protocols import BackwardSampling

from ...core import AbstractMarkovModel, AbstractSmoother, require_key
from ...results import RESULTS, BadInputError
from ...typing import Action, Array, Float, Scalar
from .._filter import Filtered, filter
from ..filters import GuidedParticle, Particle, ParticleBelief, systematic


class SmoothedParticles(NamedTuple):
    """Paths drawn from p(z_{1:T} | x_{1:T}), all of one weight.

    Attributes:
        paths: z_{1:T}, [paths, time, d].
        filtered: the forward pass.
    """

    paths: Float[Array, "paths time d"]
    filtered: Filtered

    @property
    def mean(self) -> Float[Array, "time d"]:
        """E[z_t | x_{1:T}]."""
        return jnp.mean(self.paths, axis=0)

    @property
    def covariance(self) -> Float[Array, "time d d"]:
        """Cov(z_t | x_{1:T})."""
        centred = self.paths - self.mean[None]
        return jnp.einsum("nti,ntj->tij", centred, centred) / self.paths.shape[0]

    @property
    def cross_covariances(self) -> Float[Array, "steps d d"]:
        """Cov(z_{t+1}, z_t | x_{1:T})."""
        centred = self.paths - self.mean[None]
        return jnp.einsum("nti,ntj->tij", centred[:, 1:], centred[:, :-1]) / self.paths.shape[0]

    @property
    def log_evidence_nats(self) -> Scalar:
        """Estimate of log p(x_{1:T}) by the forward pass; its exponential is unbiased."""
        return -self.filtered.free_energy_nats


@final
class ParticleSmoother(AbstractSmoother):
    """A particle filter, and paths drawn backwards through its particles.

    The end of a path is drawn by the last weights. With `exact_sampling.simulate` of cuthbert (forward filtering, backward
    simulation) a path goes from z_{t+1} to particle i of time t with probability w_t^i p(z_{t+1} | z_t^i, a_t), which takes a
    Markov model and num_paths x num_particles densities a step; `mcmc.simulate` with a number of steps
    bound by `functools.partial` costs num_paths of them. With `tracing.simulate` a path follows the ancestors of its end, for any
    sequential model and at no cost, but all paths soon share their beginning.

    Attributes:
        filter: the forward pass.
        num_paths: paths to draw.
        backward: how to go one step back.

    References:
        Godsill, Doucet and West, "Monte Carlo smoothing for nonlinear time series", JASA 99 (2004); Kitagawa 1996 for the
        genealogy; Dau and Chopin, "On backward smoothing algorithms", arXiv 2207.00976.
    """

    stochastic: ClassVar[bool] = True
    filter: Particle | GuidedParticle = Particle()
    num_paths: int = eqx.field(static=True, default=200)
    backward: BackwardSampling = eqx.field(static=True, default=exact_sampling.simulate)

    def __check_init__(self):
        if self.num_paths < 1:
            raise BadInputError(f"Expected at least one path, got num_paths={self.num_paths}.")

    def smooth(self, model, observations, actions=None, *, key=None, throw=True) -> SmoothedParticles:
        """Filter forwards, draw backwards.

        Where a drawn step has no finite density, as with noise that is singular, this raises; with throw=False the paths are
        NaN.

        Raises:
            BadInputError: the model is not Markov, and the backward step is not the genealogy.
        """
        if not isinstance(model, AbstractMarkovModel) and self.backward is not tracing.simulate:
            raise BadInputError(
                f"Expected a Markov model for backward sampling, got {type(model).__name__}: what a particle's future was depends on "
                f"all of its past. Pass backward=cuthbertlib.smc.smoothing.tracing.simulate."
            )
        forward_key, end_key, *_ = keys = jr.split(require_key(key, "paths are drawn"), 3)
        filtered = filter(self.filter, model, observations, actions, key=forward_key, throw=throw)
        kept = filtered.beliefs
        if not isinstance(kept, ParticleBelief) or kept.ancestors is None:
            raise BadInputError(f"Expected a particle filter that keeps ancestors, got {type(self.filter).__name__}.")
        ends, _, last = systematic(end_key, kept.log_weights[-1], kept.particles[-1], self.num_paths)
        steps = kept.particles.shape[0] - 1

        def body(carry: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], Array]:
            later, ancestors = carry
            particles, log_weights, own_ancestors, action, step_key = inputs

            def log_density(state: Array, following: Array) -> Scalar:
                # Only a genealogy goes on without a Markov model, and it asks for no density.
                if not isinstance(model, AbstractMarkovModel):
                    return jnp.zeros(())
                return model.transition(state, action).log_prob(following)

            states, indices = self.backward(step_key, particles, later, log_weights, log_density, ancestors)
            return (states, own_ancestors[indices]), states

        genealogy = kept.ancestors
        inputs = (kept.particles[:-1], kept.log_weights[:-1], genealogy[:-1], actions, jr.split(keys[2], steps))
        _, earlier = jax.lax.scan(body, (last, genealogy[-1][ends]), inputs, reverse=True)
        paths = jnp.swapaxes(jnp.concatenate([earlier, last[None]]), 0, 1)
        if isinstance(model, AbstractMarkovModel) and self.backward is not tracing.simulate:
            paths = _checked(model, paths, actions, throw=throw)
        return SmoothedParticles(paths, filtered)


def _checked(
    model: AbstractMarkovModel, paths: Float[Array, "paths time d"], actions: Action, *, throw: bool
) -> Float[Array, "paths time d"]:
    """The paths, if each of their steps has a finite density; by densities that are not numbers nothing was drawn."""

    def density(state: Array, following: Array, action: Action) -> Scalar:
        return model.transition(state, action).log_prob(following)

    along = jax.vmap(density, in_axes=(0, 0, None if actions is None else 0))
    densities = jax.vmap(lambda path: along(path[:-1], path[1:], actions))(paths)
    finite = jnp.all(jnp.isfinite(densities))
    if not throw:
        return jnp.where(finite, paths, jnp.nan)
    result = RESULTS.where(finite, RESULTS.successful, RESULTS.singular_noise)
    return result.error_if(paths, result != RESULTS.successful)
