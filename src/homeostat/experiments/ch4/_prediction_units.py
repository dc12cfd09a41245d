"""Inference in units of the prediction: what a learned filter reads and moves has no unit and starts at the origin.

With the prediction N(m, L L^T) of a step, an estimate N(mu, K K^T) is written as

    mu = m + L u,   K = L S,   S lower triangular with diagonal e^{s_ii}

so that inference starts at u = 0, s = 0, and gradients with respect to (u, s) are in nats. Where the model is linear and
Gaussian, with g and G the gradient with respect to u and the curvature at the prediction, the posterior is

    u = -(I + G)^{-1} g,   S S^T = (I + G)^{-1}

whatever the dynamics are: an update network that has learned this function of its gradient is a Kalman filter.
"""

from collections.abc import Callable
from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from numpyro.distributions.transforms import LowerCholeskyTransform

from ...distributions import gaussian_moments
from ...inference.engines import (
    AbstractFeedbackEngine,
    AbstractUpdateRule,
    Direct,
    Estimate,
    Feedback,
    Iterative,
    LogGradient,
)
from ...nn import MLP
from ...objectives import Evidence
from ...typing import Array, Distribution, Float, Key, PyTree

LARGEST = 30.0
"""Prediction standard deviations by which inference may move the mean; the largest logarithm of a ratio of standard deviations is a
tenth of it. A network that was not trained yet stays finite."""
_DECADES = 3.0
"""Gradients below e^-3 nats count as small for the logarithmic encoding."""


def from_units(flat: Float[Array, " k"], dim: int, prediction: Distribution) -> Float[Array, " k"]:
    """Parameters of `FullGaussian` from (u, s)."""
    moments = gaussian_moments(prediction)
    loc = moments.loc + moments.scale_tril @ flat[:dim]
    factor = moments.scale_tril @ LowerCholeskyTransform()(flat[dim:])
    return jnp.concatenate([loc, LowerCholeskyTransform().inv(factor)])


def to_units(flat: Float[Array, " k"], dim: int, prediction: Distribution) -> Float[Array, " k"]:
    """(u, s) from parameters of `FullGaussian`."""
    moments = gaussian_moments(prediction)
    factor = LowerCholeskyTransform()(flat[dim:])
    shift = solve_triangular(moments.scale_tril, flat[:dim] - moments.loc, lower=True)
    ratio = solve_triangular(moments.scale_tril, factor, lower=True)
    return jnp.concatenate([shift, LowerCholeskyTransform().inv(ratio)])


def within_bounds(dim: int, largest: float, flat: Float[Array, " k"]) -> Float[Array, " k"]:
    """u, the first `dim` numbers, softly kept within `largest` prediction standard deviations, s within a tenth of `LARGEST`."""
    u, s, ratio = flat[:dim], flat[dim:], 0.1 * LARGEST
    return jnp.concatenate([largest * jnp.tanh(u / largest), ratio * jnp.tanh(s / ratio)])


@final
class Preconditioned(AbstractUpdateRule):
    """u <- u - Q Q^T g + o,  s <- s + v: the network gives the factor Q of a preconditioner, an offset and a change.

    Attributes:
        dim: number of state coordinates.
        first_log_rate: added to the logarithm of Q's diagonal, negative so that the first steps are short.
    """

    dim: int = eqx.field(static=True)
    first_log_rate: float = eqx.field(static=True, default=-1.0)

    def outputs(self, size: int) -> int:
        return 2 * size - self.dim

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        dim, entries = self.dim, feedback.estimate.size - self.dim
        vector, offset, change = jnp.split(output, [entries, entries + dim])
        lower = LowerCholeskyTransform()(vector.at[-dim:].add(self.first_log_rate))
        step = lower @ (lower.T @ feedback.gradient[:dim])
        return feedback.estimate + jnp.concatenate([offset - step, change])


@final
class InPredictionUnits(AbstractFeedbackEngine[PyTree]):
    """An update network that works in units of the prediction, over a `FullGaussian` family.

    Attributes:
        engine: sees (u, s) as the estimate, and the gradient with respect to it.
        dim: number of state coordinates.
        detach: as for `Iterative`; the engine's own is not used.
    """

    engine: Iterative
    dim: int = eqx.field(static=True)
    detach: Callable[[Array], Array] = eqx.field(static=True, default=jax.lax.stop_gradient)

    def start(self) -> PyTree:
        return self.engine.start()

    def propose(self, feedback: Feedback, state: PyTree) -> tuple[Float[Array, " k"], PyTree]:
        prediction = feedback.args.prior
        inner = to_units(feedback.estimate, self.dim, prediction)
        _, pull = jax.vjp(lambda flat: from_units(flat, self.dim, prediction), inner)
        gradient = jax.lax.stop_gradient(pull(feedback.gradient)[0])
        proposal, state = self.engine.propose(Feedback(inner, gradient, feedback.args, feedback.errors), state)
        return from_units(proposal, self.dim, prediction), state


@final
class PredictionEncoder(eqx.Module):
    """An encoder that reads x_t, the mean and the log standard deviations of the prediction, and answers in units of it.

    Attributes:
        network: maps what it reads, [m + 2 d], to (u, s).
        largest: how far u may go, in prediction standard deviations.
        scale: what the prediction's mean is divided by before it is read, in the state's unit.
    """

    network: Callable[[Array], Array]
    largest: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        moments = gaussian_moments(args.prior)
        spread = 0.5 * jnp.log(jnp.sum(moments.scale_tril**2, axis=1))
        seen = jnp.ravel(args.observation) / self.scale
        output, dim = self.network(jnp.concatenate([seen, moments.loc / self.scale, spread])), moments.loc.size
        return from_units(within_bounds(dim, self.largest, output), dim, args.prior)


def update_engine(
    dim: int, width: int, depth: int, *, largest: float = LARGEST, first_log_rate: float = -1.0, key: Key
) -> InPredictionUnits:
    """The update network of amortized variational filtering over a full Gaussian: it reads estimate and gradient alone.

    The mean may move by `largest` prediction standard deviations; `first_log_rate` is that of `Preconditioned`.
    """
    size, update = num_params(dim), Preconditioned(dim, first_log_rate)
    network = MLP(3 * size, update.outputs(size), width, depth, key=key, output_gain=0.1)
    bound = partial(within_bounds, dim, largest)
    return InPredictionUnits(Iterative(network, (Estimate(), LogGradient(_DECADES)), update, bound=bound), dim)


def direct_engine(
    observed: int, dim: int, width: int, depth: int, *, scale: float = 1.0, largest: float = LARGEST, key: Key
) -> Direct:
    """The direct filter over a full Gaussian: a network that reads observation and prediction; arguments as for `update_engine`."""
    network = MLP(observed + 2 * dim, num_params(dim), width, depth, key=key, output_gain=0.1)
    return Direct(PredictionEncoder(network, largest, scale))


def num_params(dim: int) -> int:
    """Parameters of a full Gaussian."""
    return dim + dim * (dim + 1) // 2
