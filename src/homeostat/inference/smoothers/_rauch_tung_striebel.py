"""Gaussian smoothing: a backward pass over the result of any filter with Gaussian beliefs."""

from typing import ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractFilter, AbstractSequentialModel, AbstractSmoother, require_key
from ...distributions import AbstractRecursion, Sequential
from ...results import RESULTS, BadInputError
from ...typing import Action, Array, Float, Key, Observation, Scalar
from .._filter import Filtered, filter
from ..filters import AbstractGaussianFilter, GaussianBelief, Kalman
from ..filters._joint import backward


class Smoothed(NamedTuple):
    """What a Gaussian smoother found.

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
        """Lag-one covariances Cov(z_{t+1}, z_t | x_1, ..., x_T) = P_{t+1} G_t^T, [time - 1, d, d]."""
        return self.beliefs.covariance[1:] @ jnp.swapaxes(self.gains, -1, -2)

    @property
    def log_evidence_nats(self) -> Scalar:
        """log p(x_1, ..., x_T), as exact as the filter's."""
        return -self.filtered.free_energy_nats


@final
class RauchTungStriebel(AbstractSmoother):
    """Smoothing by cross-covariances, exact after a `Kalman` filter of a linear-Gaussian model.

    With the joint Gaussian of z_t and z_{t+1} that the filter predicts with, of means m_t and n_t, covariance of z_{t+1} S_t and
    cross-covariance C_t, and the gain G_t = C_t S_t^-1,

        m_t^s = m_t + G_t (m_{t+1}^s - n_t),   P_t^s = D_t D_t^T + G_t P_{t+1}^s G_t^T,   D_t D_t^T = P_t - G_t S_t G_t^T.

    After `Extended` it is the extended and after `Unscented` the unscented (cubature, Gauss-Hermite) smoother. Any other filter
    with Gaussian beliefs, a `VariationalFilter` for instance, needs to be told where the joint comes from.

    Attributes:
        filter: the forward pass.
        recursion: `Sequential()`, or `Parallel()` in time.
        joint: gives the joint of neighbours; by default the filter itself.

    References:
        Rauch, Tung and Striebel 1965; Park and Kailath 1994 (square-root form); Sarkka, "Unscented Rauch-Tung-Striebel
        smoother", 2008, Eqs. 19-21.
    """

    stochastic: ClassVar[bool] = False
    filter: AbstractFilter = Kalman()
    recursion: AbstractRecursion = Sequential()
    joint: AbstractGaussianFilter | None = None

    def smooth(
        self,
        model: AbstractSequentialModel,
        observations: Observation,
        actions: Action = None,
        *,
        key: Key | None = None,
        throw: bool = True,
    ) -> Smoothed:
        """Both passes.

        Args:
            model: any model that the filter takes.
            observations: x_1, ..., x_T as for `filter`.
            actions: a_1, ..., a_{T-1}, or None.
            key: for filters that draw; the Gaussian ones of this package do not.
            throw: raise if an energy or a smoothed belief is not finite.

        Raises:
            BadInputError: the filter's beliefs are not Gaussian, or it draws and there is no key.
        """
        if not isinstance(self.filter, AbstractGaussianFilter):
            key = require_key(key, f"{type(self.filter).__name__} may draw samples")
        key = jr.key(0) if key is None else key
        smoothed = self(model, filter(self.filter, model, observations, actions, key=key, throw=throw), actions)
        if throw:
            finite = jnp.all(jnp.isfinite(smoothed.beliefs.loc)) & jnp.all(jnp.isfinite(smoothed.beliefs.scale_tril))
            result = RESULTS.where(finite, RESULTS.successful, RESULTS.singular_prediction)
            smoothed = smoothed._replace(beliefs=result.error_if(smoothed.beliefs, result != RESULTS.successful))
        return smoothed

    def __call__(self, model: AbstractSequentialModel, filtered: Filtered, actions: Action = None) -> Smoothed:
        """The backward pass over the result of the forward pass."""
        source = self.filter if self.joint is None else self.joint
        if not isinstance(filtered.beliefs, GaussianBelief) or not isinstance(source, AbstractGaussianFilter):
            raise BadInputError(
                f"Expected the result of a filter with Gaussian beliefs and a source of their joint with the next state, got "
                f"beliefs of type {type(filtered.beliefs).__name__} from {type(self.filter).__name__}: pass joint=Unscented() "
                f"or joint=Extended() for filters that have none."
            )
        past = jax.tree.map(lambda leaf: leaf[:-1], filtered.beliefs)
        last = jax.tree.map(lambda leaf: leaf[-1:], filtered.beliefs)

        def kernel(belief: GaussianBelief, action: Action):
            return backward(belief, source.transition_joint(model, belief, action))

        in_axes = (0, None if actions is None else 0)
        offsets, gains, trils = jax.vmap(kernel, in_axes=in_axes)(past, actions)
        locs = self.recursion.affine(gains, jnp.concatenate([offsets, last.loc]))
        factors = self.recursion.marginals(gains, jnp.concatenate([trils, last.scale_tril]))
        return Smoothed(GaussianBelief(locs, factors), gains, trils, filtered)
