"""The exact filter of linear-Gaussian models, with the square-root updates of cuthbert."""

from typing import final

import jax
import jax.numpy as jnp
from cuthbertlib import kalman

from ...core import AbstractFilter, AbstractModel, FilterInfo
from ...distributions import positive_columns
from ...models.sequential import LinearGaussian, Measurement, Periodic
from ...results import BadInputError
from ...typing import Array, Float, Key
from ._beliefs import GaussianBelief


@final
class Kalman(AbstractFilter):
    """Exact recursive inference in a `LinearGaussian` model.

    Observations are arrays [m], which the model's own noise R applies to, or a `Measurement` with its own. NaN entries are
    missing. `FilterInfo.free_energy_nats` is -log p(x_t | x_1, ..., x_{t-1}) exactly.

    Attributes:
        periodic: which observed coordinates are angles: they are moved to the branch nearest to the prediction. With them
            the filter is exact up to the mass that a belief has beyond half a period.

    References:
        Bierman, "Factorization methods for discrete sequential estimation", 1977 (square-root form).
    """

    periodic: Periodic | None = None

    def init(self, model: AbstractModel, *, key: Key | None = None) -> GaussianBelief:
        model = require_linear_gaussian(model)
        return GaussianBelief(model.initial_mean, model.initial_scale_tril)

    def predict(
        self, model: AbstractModel, belief: GaussianBelief, action: Array | None = None, *, key: Key | None = None
    ) -> GaussianBelief:
        """N(A m + B u + c, A P A^T + L L^T)."""
        dynamics = require_linear_gaussian(model).dynamics
        mean, factor = kalman.predict(
            belief.loc, belief.scale_tril, dynamics.matrix, dynamics.shift(action), dynamics.scale_tril
        )
        return GaussianBelief(mean, positive_columns(factor))

    def update(
        self,
        model: AbstractModel,
        belief: GaussianBelief,
        observation: Float[Array, " m"] | Measurement,
        *,
        key: Key | None = None,
    ) -> tuple[GaussianBelief, FilterInfo]:
        """Condition on one observation."""
        model = require_linear_gaussian(model)
        measurement = as_measurement(model, observation)
        value = measurement.value
        if value.shape != (model.observation_dim,):
            raise BadInputError(
                f"Expected one observation of shape {(model.observation_dim,)}, got {value.shape}: for a sequence use "
                f"`filter`, for a batch of sequences map it with `jax.vmap`."
            )
        matrix, offset = model.emission_matrix, model.emission_offset
        if self.periodic is not None:
            value = self.periodic.nearest(value, matrix @ belief.loc + offset)
        # cuthbert broadcasts over ranks where an observation has one coordinate; strict callers would be refused.
        with jax.numpy_rank_promotion("allow"):
            (mean, factor), log_evidence = kalman.filter_update(
                belief.loc, belief.scale_tril, matrix, offset, measurement.scale_tril, value
            )
        return GaussianBelief(mean, positive_columns(factor)), FilterInfo(-log_evidence)


def as_measurement(model: LinearGaussian, observation: Array | Measurement) -> Measurement:
    """The observation with its noise, the model's own unless it brings one; leading axes are kept."""
    if isinstance(observation, Measurement):
        return observation
    shape = (*observation.shape, observation.shape[-1])
    return Measurement(observation, jnp.broadcast_to(model.emission_scale_tril, shape))


def require_linear_gaussian(model: AbstractModel) -> LinearGaussian:
    """The model, if an exact filter can run on it."""
    if not isinstance(model, LinearGaussian):
        raise BadInputError(
            f"Expected a LinearGaussian model, got {type(model).__name__}: use `VariationalFilter` or `Particle` for it."
        )
    return model
