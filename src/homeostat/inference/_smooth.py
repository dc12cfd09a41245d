"""`smooth`: beliefs about every state given the whole sequence."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.kalman.smoothing import associative_params_single

from ..core import AbstractModel
from ..distributions import positive_tria
from ..models.sequential import Measurement
from ..results import BadInputError
from ..typing import Array, Float, Scalar
from ._filter import Filtered, filter
from .filters import GaussianBelief, Kalman
from .filters._kalman import require_linear_gaussian


class Smoothed(NamedTuple):
    """What a smoother found.

    Attributes:
        beliefs: p(z_t | x_1, ..., x_T), leading axis time.
        gains: G_t of p(z_t | z_{t+1}, x_1, ..., x_t) = N(G_t z_{t+1} + g_t, D_t D_t^T), [time - 1, d, d].
        conditional_trils: D_t, [time - 1, d, d].
        filtered: the forward pass.
    """

    beliefs: GaussianBelief
    gains: Float[Array, "steps d d"]
    conditional_trils: Float[Array, "steps d d"]
    filtered: Filtered

    @property
    def cross_covariances(self) -> Float[Array, "steps d d"]:
        """Cov(z_{t+1}, z_t | x_1, ..., x_T) = P_{t+1} G_t^T, [time - 1, d, d]."""
        return self.beliefs.covariance[1:] @ jnp.swapaxes(self.gains, -1, -2)

    @property
    def log_evidence_nats(self) -> Scalar:
        """log p(x_1, ..., x_T)."""
        return -self.filtered.free_energy_nats


@final
class RauchTungStriebel(eqx.Module):
    """The exact smoother of linear-Gaussian models, a backward pass after a Kalman filter.

    With the filtered m_t and P_t, and G_t = P_t A^T (A P_t A^T + L L^T)^-1, the gain of z_t on z_{t+1},

        m_t^s = m_t + G_t (m_{t+1}^s - A m_t - B u_t - c),   P_t^s = D_t D_t^T + G_t P_{t+1}^s G_t^T.

    Attributes:
        filter: the forward pass.

    References:
        Rauch, Tung and Striebel 1965; square-root form of Park and Kailath 1994, through cuthbert.
    """

    filter: Kalman = Kalman()

    def __call__(self, model: AbstractModel, filtered: Filtered, actions: Array | None = None) -> Smoothed:
        """The backward pass over the result of the forward pass."""
        dynamics = require_linear_gaussian(model).dynamics
        if not isinstance(filtered.beliefs, GaussianBelief):
            raise BadInputError(
                f"Expected the result of a Kalman filter, got beliefs of type {type(filtered.beliefs).__name__}."
            )
        locs, factors = filtered.beliefs.loc, filtered.beliefs.scale_tril
        steps = locs.shape[0] - 1
        actions = jnp.zeros((steps, dynamics.action_dim), locs.dtype) if actions is None else actions
        shifts = jax.vmap(dynamics.shift)(actions)

        def body(later, inputs):
            loc, factor, shift = inputs
            backward, gain, rest = associative_params_single(loc, factor, dynamics.matrix, shift, dynamics.scale_tril)
            scale_tril = positive_tria(jnp.concatenate([rest, gain @ later.scale_tril], axis=1))
            belief = GaussianBelief(backward + gain @ later.loc, scale_tril)
            return belief, (belief, gain, rest)

        last = GaussianBelief(locs[-1], factors[-1])
        inputs = (locs[:-1], factors[:-1], shifts)
        _, (earlier, gains, rests) = jax.lax.scan(body, last, inputs, reverse=True)
        beliefs = jax.tree.map(lambda path, end: jnp.concatenate([path, end[None]]), earlier, last)
        return Smoothed(beliefs, gains, rests, filtered)


@eqx.filter_jit
def smooth(
    method: RauchTungStriebel,
    model: AbstractModel,
    observations: Float[Array, "time m"] | Measurement,
    actions: Array | None = None,
    *,
    throw: bool = True,
) -> Smoothed:
    """p(z_t | x_1, ..., x_T) for every t. Arguments as for `filter`; nothing is random, so there is no key.

    Args:
        method: the smoother, with the filter of its forward pass.
        model: a `LinearGaussian` model.
        observations: [time, m], or a `Measurement` with its own noise at each time; NaN where missing.
        actions: [time - 1, a], or None.
        throw: raise if the evidence is not finite.

    Returns:
        Smoothed beliefs, the covariances of neighbours, and the log evidence in nats.
    """
    # A Kalman filter draws nothing, so the key that every filter is given has no effect.
    filtered = filter(method.filter, model, observations, actions, key=jr.key(0), throw=throw)
    return method(model, filtered, actions)
