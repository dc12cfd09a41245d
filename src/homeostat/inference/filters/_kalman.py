"""The exact filter of linear-Gaussian models, with the square-root updates of cuthbert."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from cuthbertlib import kalman
from cuthbertlib.kalman.filtering import FilterScanElement, associative_params_single, filtering_operator
from cuthbertlib.linalg import collect_nans_chol, tria
from jax.scipy.linalg import solve_triangular

from ...core import AbstractBelief, AbstractSequentialModel, FilterInfo
from ...distributions import AbstractRecursion, Masked, Parallel, Sequential, positive_columns
from ...models.sequential import AffineStep, LinearGaussian, Measurement, Periodic
from ...results import BadInputError
from ...typing import Action, Array, Bool, Float, Key, Scalar
from ._beliefs import GaussianBelief
from ._joint import AbstractGaussianFilter, JointGaussian
from ._offline import AbstractOfflineFilter, Filtered, length_of

LinearObservation = Array | Measurement | Masked
"""What a linear-Gaussian model can be given."""


LARGEST = 2**24
"""Numbers that the noise factors of all times may take up together; beyond, they are made one step at a time."""


class Rows(NamedTuple):
    """x = C z + d + R^(1/2) eps of one time, its missing rows last, empty, and without a share in the evidence."""

    matrix: Float[Array, "... m d"]
    offset: Float[Array, "... m"]
    scale_tril: Float[Array, "... m m"]
    value: Float[Array, "... m"]
    missing: Bool[Array, "... m"]


@final
class Kalman(AbstractGaussianFilter, AbstractOfflineFilter):
    """Exact recursive inference in a `LinearGaussian` model.

    Observations are arrays [m], which the model's own noise R applies to, or a `Measurement` with its own. NaN entries are
    missing. `FilterInfo.free_energy_nats` is -log p(x_t | x_1, ..., x_{t-1}) exactly.

    Attributes:
        periodic: which observed coordinates are angles: they are moved to the branch nearest to the prediction. With them
            the filter is exact up to the mass that a belief has beyond half a period.
        recursion: how the verb `filter` goes through a sequence: `Sequential()`, or `Parallel()` for a number of dependent steps
            that grows with log T. Steps taken one by one, with `predict` and `update`, do not depend on it.

    References:
        Bierman, "Factorization methods for discrete sequential estimation", 1977 (square-root form); Yaghoobi, Corenflos,
        Hassan and Sarkka, "Parallel square-root statistical linear regression for inference in nonlinear state space models",
        2025 (parallel in time, through cuthbert).
    """

    periodic: Periodic | None = None
    recursion: AbstractRecursion = Sequential()

    def __check_init__(self):
        if self.periodic is not None and isinstance(self.recursion, Parallel):
            raise BadInputError(
                "Expected a Sequential recursion with periodic coordinates, got Parallel: an angle's branch is chosen by the "
                "prediction, which a filter parallel in time does not have when it needs it."
            )

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> GaussianBelief:
        model = require_linear_gaussian(model)
        return GaussianBelief(model.initial_mean, model.initial_scale_tril)

    def transition_joint(
        self, model: AbstractSequentialModel, belief: GaussianBelief, action: Action = None
    ) -> JointGaussian:
        matrix, shift, scale_tril = require_linear_gaussian(model).dynamics.step(action)
        return JointGaussian(
            matrix @ belief.loc + shift,
            jnp.concatenate([matrix @ belief.scale_tril, scale_tril], axis=1),
            jnp.concatenate([belief.scale_tril, jnp.zeros_like(scale_tril)], axis=1),
        )

    def update(
        self,
        model: AbstractSequentialModel,
        belief: GaussianBelief,
        observation: LinearObservation,
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
        return _update(belief, Rows(matrix, offset, measurement.scale_tril, value, jnp.isnan(value)))

    def filter(
        self, model: AbstractSequentialModel, observations: LinearObservation, actions: Action = None
    ) -> Filtered:
        """All beliefs; missing entries are sorted out and predictions made for all times at once.

        Observations are counted from C c + d and states from c, the initial mean where the observations lie near it, so that a
        large offset takes no digits from small differences.
        """
        model = require_linear_gaussian(model)
        shape = jax.tree.leaves(observations)[0].shape
        if shape[1:] != (model.observation_dim,):
            raise BadInputError(f"Expected observations of shape (time, {model.observation_dim}), got {shape}.")
        steps = _steps(model, actions, length_of(observations))
        if self.periodic is not None:
            return self._one_by_one(model, self.init(model), observations, steps)
        model, measurements, steps, centre = _centred(model, as_measurement(model, observations), steps)
        return _moved(self._recursion(model, measurements, steps), centre)

    def _recursion(self, model: LinearGaussian, measurements: Measurement, steps: AffineStep) -> Filtered:
        first, shape = self.init(model), measurements.value.shape
        if shape[0] * shape[1] ** 2 > LARGEST and isinstance(self.recursion, Sequential):
            return self._one_by_one(model, first, measurements, steps)
        rows = jax.vmap(lambda x: _collect(model, x))(measurements)
        forward = _parallel if isinstance(self.recursion, Parallel) else _sequential
        beliefs = forward(first, rows, steps)
        earlier = jax.tree.map(lambda leaf: leaf[:-1], beliefs)
        predictions = jax.vmap(_predict)(earlier, steps)
        predictions = jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first, predictions)
        info = jax.vmap(_energy)(predictions, rows)
        return Filtered(beliefs, predictions, FilterInfo(info))

    def _one_by_one(
        self, model: LinearGaussian, first: GaussianBelief, observations: LinearObservation, steps: AffineStep
    ) -> Filtered:
        def body(prediction, inputs):
            observation, step = inputs
            belief, info = self.update(model, prediction, observation)
            return _predict(belief, step), (belief, prediction, info)

        # The prediction after the last observation is not used; any step completes the array.
        pad_actions = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape[1:]), leaf.dtype), steps)
        padded = jax.tree.map(lambda leaf, end: jnp.concatenate([leaf, end]), steps, pad_actions)
        first = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), first, _predict(first, _first(padded)))
        return Filtered(*jax.lax.scan(body, first, (observations, padded))[1])


def _centred(
    model: LinearGaussian, observations: Measurement, steps: AffineStep
) -> tuple[LinearGaussian, Measurement, AffineStep, Float[Array, " d"]]:
    """The same problem for z - c and x - C c - d, and c: the initial mean if the observations are nearer to it than to zero."""
    mean, value = model.initial_mean, observations.value - model.emission_offset[None, :]
    level = model.emission_matrix @ mean
    near = jnp.nansum(jnp.abs(value - level[None, :])) < jnp.nansum(jnp.abs(value))
    # Whatever c is, nothing else changes.
    centre = jax.lax.stop_gradient(jnp.where(near, mean, jnp.zeros_like(mean)))
    drift = steps.matrix - jnp.eye(centre.shape[0], dtype=centre.dtype)[None]
    shifted = Measurement(value - (model.emission_matrix @ centre)[None, :], observations.scale_tril)
    kept = (mean - centre, jnp.zeros_like(model.emission_offset))
    where = lambda model: (model.initial_mean, model.emission_offset)  # noqa: E731
    return eqx.tree_at(where, model, kept), shifted, steps._replace(shift=steps.shift + drift @ centre), centre


def _moved(found: Filtered, centre: Float[Array, " d"]) -> Filtered:
    """Beliefs and predictions about z, from those about z - c."""

    def move(belief: AbstractBelief) -> AbstractBelief:
        assert isinstance(belief, GaussianBelief)
        return eqx.tree_at(lambda belief: belief.loc, belief, belief.loc + centre[None, :])

    return Filtered(move(found.beliefs), move(found.predictions), found.info)


def _update(belief: GaussianBelief, rows: Rows) -> tuple[GaussianBelief, FilterInfo]:
    # cuthbert broadcasts over ranks where an observation has one coordinate; strict callers would be refused.
    with jax.numpy_rank_promotion("allow"):
        (mean, factor), log_evidence = kalman.filter_update(belief.loc, belief.scale_tril, *rows[:4])
    return GaussianBelief(mean, positive_columns(factor)), FilterInfo(-log_evidence)


def _predict(belief: GaussianBelief, step: AffineStep) -> GaussianBelief:
    mean, factor = kalman.predict(belief.loc, belief.scale_tril, *step)
    return GaussianBelief(mean, positive_columns(factor))


def _collect(model: LinearGaussian, measurement: Measurement) -> Rows:
    """The rows of what was seen, and empty ones for the rest."""
    missing = jnp.isnan(measurement.value)
    with jax.numpy_rank_promotion("allow"):  # As in `_update`.
        missing, tril, matrix, offset, value = collect_nans_chol(
            missing, measurement.scale_tril, model.emission_matrix, model.emission_offset, measurement.value
        )
    return Rows(matrix, offset, tril, value, missing)


def _energy(prediction: GaussianBelief, rows: Rows) -> Scalar:
    """-log p(x_t | x_1, ..., x_{t-1})."""
    factor = tria(jnp.concatenate([rows.matrix @ prediction.scale_tril, rows.scale_tril], axis=1))
    residual = rows.value - rows.matrix @ prediction.loc - rows.offset
    whitened = solve_triangular(factor, residual, lower=True)
    scales = jnp.log(jnp.abs(jnp.diagonal(factor))) + 0.5 * jnp.log(2.0 * jnp.pi)
    # Missing rows have a scale at which they add nothing but rounding errors.
    return 0.5 * jnp.sum(whitened**2) + jnp.sum(jnp.where(rows.missing, 0.0, scales))


def _sequential(first: GaussianBelief, rows: Rows, steps: AffineStep) -> GaussianBelief:
    """Prediction and update in one triangularisation for each time."""
    size, dim = rows.matrix.shape[-2:]

    def condition(mean: Array, root: Float[Array, "d n"], row: Rows) -> GaussianBelief:
        upper = jnp.concatenate([row.matrix @ root, row.scale_tril], axis=1)
        lower = jnp.concatenate([root, jnp.zeros((dim, size), root.dtype)], axis=1)
        factor = tria(jnp.concatenate([upper, lower]))
        residual = row.value - row.matrix @ mean - row.offset
        gain = factor[size:, :size] @ solve_triangular(factor[:size, :size], residual, lower=True)
        return GaussianBelief(mean + gain, factor[size:, size:])

    def body(belief: GaussianBelief, inputs: tuple[Rows, AffineStep]) -> tuple[GaussianBelief, GaussianBelief]:
        row, (matrix, shift, scale_tril) = inputs
        root = jnp.concatenate([matrix @ belief.scale_tril, scale_tril], axis=1)
        belief = condition(matrix @ belief.loc + shift, root, row)
        return belief, belief

    start = condition(first.loc, first.scale_tril, _first(rows))
    later = jax.tree.map(lambda leaf: leaf[1:], rows)
    _, rest = jax.lax.scan(body, start, (later, steps))
    beliefs = jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), start, rest)
    return GaussianBelief(beliefs.loc, jax.vmap(positive_columns)(beliefs.scale_tril))


def _parallel(first: GaussianBelief, rows: Rows, steps: AffineStep) -> GaussianBelief:
    """Prefix sums of the filtering operator."""
    start, _ = _update(first, _first(rows))
    zero, nothing = jnp.zeros_like(start.scale_tril), jnp.zeros_like(start.loc)
    first_element = FilterScanElement(zero, start.loc, start.scale_tril, nothing, zero, jnp.zeros((), start.loc.dtype))
    later = jax.tree.map(lambda leaf: leaf[1:], rows)
    with jax.numpy_rank_promotion("allow"):
        elements = jax.vmap(associative_params_single)(*steps, *later[:4])
        elements = jax.tree.map(lambda head, rest: jnp.concatenate([head[None], rest]), first_element, elements)

        def combine(earlier: FilterScanElement, later: FilterScanElement) -> FilterScanElement:
            # The evidence follows from the predictions; the operator's own needs every factor to be invertible, which the
            # noise of a singular step is not.
            return filtering_operator(earlier, later)._replace(ell=earlier.ell)

        swept = jax.lax.associative_scan(jax.vmap(combine), elements)
    return GaussianBelief(swept.b, jax.vmap(positive_columns)(swept.U))


def _steps(model: LinearGaussian, actions: Action, length: int) -> AffineStep:
    """A, b and L of every step."""
    if actions is None:
        step = model.dynamics.step(None)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (length - 1, *leaf.shape)), step)
    return jax.vmap(model.dynamics.step)(actions)


def _first(tree: Rows | AffineStep):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def as_measurement(model: LinearGaussian, observation: LinearObservation) -> Measurement:
    """The observation with its noise, the model's own unless it brings one; leading axes are kept."""
    if isinstance(observation, Measurement):
        return observation
    if isinstance(observation, Masked):
        observation = jnp.where(observation.observed, observation.value.astype(model.emission_matrix.dtype), jnp.nan)
    shape = (*observation.shape, observation.shape[-1])
    return Measurement(observation, jnp.broadcast_to(model.emission_scale_tril, shape))


def require_linear_gaussian(model: AbstractSequentialModel) -> LinearGaussian:
    """The model, if an exact filter can run on it."""
    if not isinstance(model, LinearGaussian):
        raise BadInputError(
            f"Expected a LinearGaussian model, got {type(model).__name__}: use `Extended`, `Unscented`, `VariationalFilter` or "
            f"`Particle` for it."
        )
    return model
