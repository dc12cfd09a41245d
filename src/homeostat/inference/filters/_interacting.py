"""The interacting-multiple-model filter of switching linear dynamics."""

from typing import ClassVar, final

import jax
import jax.numpy as jnp

from ...core import AbstractFilter, AbstractSequentialModel, FilterInfo
from ...distributions import positive_tria
from ...models.sequential import SwitchingLinear
from ...results import BadInputError
from ...typing import Action, Array, Float, Key
from ._beliefs import GaussianBelief
from ._categorical_belief import RegimeBelief, normalised
from ._forward import _log
from ._joint import side_by_side
from ._kalman import Kalman, LinearObservation


@final
class InteractingModels(AbstractFilter):
    """One Kalman filter for each regime of a `SwitchingLinear` model, mixed before every prediction.

    The exact belief after t steps is a mixture of K^t Gaussians, one for each path of regimes. Here the mixture over the regime
    before is replaced, for every regime to come, by one Gaussian of the same mean and covariance:

        N(m_s', P_s')  for  sum_s p(s | s') N(m_s, P_s),   p(s | s') ~ p(s' | s) p(s)

    That is the only approximation. It is none for the first observation, where regimes follow one another with certainty, and
    where they do not differ.
    `free_energy_nats` is minus the log evidence of the mixed model, neither an upper nor a lower bound.

    References:
        Blom and Bar-Shalom, "The interacting multiple model algorithm for systems with Markovian switching coefficients", 1988.
    """

    stochastic: ClassVar[bool] = False

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> RegimeBelief:
        model = _require_switching(model)
        regimes = model.regimes
        logs = jax.nn.log_softmax(model.initial_logits)
        return RegimeBelief(logs, regimes.initial_mean, regimes.initial_scale_tril)

    def predict(
        self, model: AbstractSequentialModel, belief: RegimeBelief, action: Action = None, *, key: Key | None = None
    ) -> RegimeBelief:
        """Mix, then move every mixture with the dynamics of the regime it leads to."""
        model = _require_switching(model)
        joint = belief.log_probabilities[:, None] + model.transitions.log_matrix(action)
        # A regime that cannot be reached has no weights; its belief does not count, but it and its derivatives must stay finite.
        reachable = jnp.any(joint > -jnp.inf, axis=0)
        weights = jax.nn.softmax(jnp.where(reachable[None, :], joint, 0.0), axis=0)
        mixed = jax.vmap(lambda weight: _collapse(weight, belief), in_axes=1)(weights)
        moved = jax.vmap(lambda regime, start: Kalman().predict(regime, start, action))(model.regimes, mixed)
        return RegimeBelief(_log(jnp.sum(jnp.exp(joint), axis=0)), moved.loc, moved.scale_tril)

    def update(
        self,
        model: AbstractSequentialModel,
        belief: RegimeBelief,
        observation: LinearObservation,
        *,
        key: Key | None = None,
    ) -> tuple[RegimeBelief, FilterInfo]:
        """Condition every regime's belief, and weigh the regimes by how well they predicted."""
        model = _require_switching(model)
        regimes = GaussianBelief(belief.locs, belief.scale_trils)
        moved, info = jax.vmap(lambda regime, start: Kalman().update(regime, start, observation))(
            model.regimes, regimes
        )
        logs, log_evidence = normalised(belief.log_probabilities - info.free_energy_nats)
        return RegimeBelief(logs, moved.loc, moved.scale_tril), FilterInfo(-log_evidence)


def _collapse(weights: Float[Array, " k"], belief: RegimeBelief) -> GaussianBelief:
    """The Gaussian with the mean and covariance of a mixture."""
    mean = weights @ belief.locs
    roots = jnp.sqrt(jnp.where(weights > 0.0, weights, 1.0)) * (weights > 0.0)
    spread = (roots[:, None] * (belief.locs - mean[None, :])).T
    within = side_by_side(roots[:, None, None] * belief.scale_trils)
    return GaussianBelief(mean, positive_tria(jnp.concatenate([spread, within], axis=1)))


def _require_switching(model: AbstractSequentialModel) -> SwitchingLinear:
    if not isinstance(model, SwitchingLinear):
        raise BadInputError(f"Expected a SwitchingLinear model, got {type(model).__name__}: use `Particle` for it.")
    return model
