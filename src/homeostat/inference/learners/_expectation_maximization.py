"""Exact expectation maximisation for linear-Gaussian models, in square-root form.

The E-step smooths every sequence. All that the M-step needs of it are expected second moments of v_t = (z_t, u_t, 1, z_{t+1}),
kept as a square root S with S S^T = sum_t E[v_t v_t^T]. With G = tria(S) the regression of z_{t+1} on the rest is read off its
blocks, [A B c] = G_21 G_11^-1 and L L^T = G_22 G_22^T / N, without a subtraction, so the noise stays positive definite.

References:
    Shumway and Stoffer, "An approach to time series smoothing and forecasting using the EM algorithm", 1982;
    Ghahramani and Hinton, "Parameter estimation for linear dynamical systems", 1996.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from ...distributions import positive_tria
from ...models.sequential import LinearDynamics, LinearGaussian, Measurement
from ...results import BadInputError
from ...typing import Action, Array, Bool, Float, Int
from .._filter import length_mask, masked, require_observable
from .._smooth import smooth
from ..filters import Kalman
from ..smoothers import RauchTungStriebel, Smoothed
from ._evidence_ascent import Improved, Learned, ascend_evidence
from ._guard import all_finite


class Parts(NamedTuple):
    """Which parts of a `LinearGaussian` model are learned; the others stay as they are.

    Attributes:
        matrix: A.
        control: B.
        offset: c.
        noise: L.
        initial: mean and covariance of z_1 (needs several sequences to mean something).
        emission_matrix: C.
        emission_offset: d.
        emission_noise: R.
    """

    matrix: bool = True
    control: bool = True
    offset: bool = False
    noise: bool = True
    initial: bool = False
    emission_matrix: bool = False
    emission_offset: bool = False
    emission_noise: bool = False


class TransitionMoments(NamedTuple):
    """Expected second moments of (z_t, u_t, 1, z_{t+1}) over transitions.

    Attributes:
        square_root: S with S S^T = sum E[v v^T], [2 d + a + 1, 2 d + a + 1].
        count: number of transitions.
    """

    square_root: Float[Array, "... n n"]
    count: Float[Array, "..."]

    def pool(self) -> "TransitionMoments":
        """The sum over a leading axis of sequences."""
        return TransitionMoments(_square(_side_by_side(self.square_root)), jnp.sum(self.count))

    def without_constant(self, dim: int) -> Float[Array, "rows n"]:
        """The square root for the regressors (z_t, u_t) only, of a state with `dim` coordinates."""
        constant = self.square_root.shape[0] - dim - 1
        return jnp.concatenate([self.square_root[:constant], self.square_root[constant + 1 :]])


def expectation_maximization(
    model: LinearGaussian,
    observations: Float[Array, "sequences time m"] | Measurement,
    actions: Action = None,
    *,
    lengths: Int[Array, " sequences"] | None = None,
    parts: Parts = Parts(),
    smoother: RauchTungStriebel = RauchTungStriebel(),
    num_steps: int = 20,
    throw: bool = True,
) -> Learned[LinearGaussian]:
    """Maximise log p(observations) over the chosen parts; no step lowers it.

    Latents that were inferred from images enter as a `Measurement`: posterior means with posterior factors. With an angle
    in the smoother's filter, its branches are chosen anew in every E-step.

    Args:
        model: where to start.
        observations: [sequences, time, m], or a `Measurement` with these leading axes; NaN where missing.
        actions: [sequences, time - 1, a], or None.
        lengths: of sequences that were padded (with anything) to one length; what lies beyond teaches nothing.
        parts: what to learn.
        smoother: the E-step.
        num_steps: number of EM steps.
        throw: raise if the evidence or what was learned ends non-finite (for instance because an action never varied, so that its
            column of B cannot be learned, or because every padded sequence has one step).

    Returns:
        The learned model and the evidence along the way, in nats.

    Raises:
        BadInputError: no sequence axis, steps of different durations, or emission parts are to be learned from measurements that
            bring their own noise.
    """
    _check(model, observations, actions, parts, num_steps)
    value = observations.value if isinstance(observations, Measurement) else observations
    lengths = jnp.full(value.shape[0], value.shape[1]) if lengths is None else lengths
    # Out here, because lengths can be refused only while their values are known.
    mask = length_mask(lengths, value.shape[1])
    observations = jax.vmap(masked)(observations, mask)
    require_observable(model, observations, ("sequence", "step"))
    actions = None if actions is None else jnp.where(mask[:, 1:, None], actions, jnp.zeros_like(actions))
    improve = eqx.Partial(_improve, observations, actions, mask, parts, smoother)
    return ascend_evidence(improve, model, num_steps, throw, all_finite)


def _improve(
    observations: Array | Measurement,
    actions: Array | None,
    mask: Bool[Array, "sequences time"],
    parts: Parts,
    smoother: RauchTungStriebel,
    model: LinearGaussian,
) -> Improved:
    """One step, and log p(observations) before it."""
    in_axes = (0, None if actions is None else 0)
    smoothed = jax.vmap(lambda x, u: smooth(smoother, model, x, u, throw=False), in_axes=in_axes)(observations, actions)
    updated = _maximize(model, smoothed, observations, actions, mask, parts, smoother)
    return Improved(updated, -jnp.sum(smoothed.filtered.info.free_energy_nats))


def transition_moments(
    smoothed: Smoothed, actions: Array | None = None, observed: Bool[Array, " time"] | None = None
) -> TransitionMoments:
    """Expected second moments of one smoothed sequence; for many, `jax.vmap(transition_moments)(...).pool()`.

    Args:
        smoothed: what `smooth` returned.
        actions: [time - 1, a], or None.
        observed: True for the times that belong to the sequence (see `length_mask`); all of them by default.
    """
    means, factors = smoothed.beliefs.loc, smoothed.beliefs.scale_tril
    steps, dim = smoothed.gains.shape[0], means.shape[-1]
    actions = jnp.zeros((steps, 0), means.dtype) if actions is None else actions.astype(means.dtype)
    ones = jnp.ones((steps, 1), means.dtype)
    certain = jnp.concatenate([means[:-1], actions, ones, means[1:]], axis=1).T
    # The pair (z_t, z_{t+1}) has the covariance root [[G F, D], [F, 0]] with F the factor of z_{t+1}.
    now = jnp.concatenate([smoothed.gains @ factors[1:], smoothed.conditional_trils], axis=2)
    then = jnp.concatenate([factors[1:], jnp.zeros_like(factors[1:])], axis=2)
    between = jnp.zeros((steps, actions.shape[1] + 1, 2 * dim), means.dtype)
    uncertain = jnp.concatenate([now, between, then], axis=1)
    count = jnp.asarray(steps, means.dtype)
    if observed is not None:
        certain = jnp.where(observed[None, 1:], certain, 0.0)
        uncertain = jnp.where(observed[1:, None, None], uncertain, 0.0)
        count = jnp.sum(observed[1:].astype(means.dtype))
    root = _square(jnp.concatenate([certain, _side_by_side(uncertain)], axis=1))
    return TransitionMoments(root, count)


def _maximize(
    model: LinearGaussian,
    smoothed: Smoothed,
    observations: Array | Measurement,
    actions: Array | None,
    mask: Bool[Array, "sequences time"],
    parts: Parts,
    smoother: RauchTungStriebel,
) -> LinearGaussian:
    """The M-step."""
    dynamics = _linear(model)
    in_axes = (0, None if actions is None else 0, 0)
    root, count = jax.vmap(transition_moments, in_axes=in_axes)(smoothed, actions, mask).pool()
    known = jnp.concatenate([dynamics.matrix, dynamics.control, dynamics.offset[:, None]], axis=1)
    sizes = (dynamics.dim, dynamics.action_dim, 1)
    learned = _columns((parts.matrix, parts.control, parts.offset), sizes)
    coefficients, noise = _regress(root, count, known, learned)
    noise = noise if parts.noise else dynamics.scale_tril
    dynamics = LinearDynamics.from_coefficients(coefficients, noise, action_dim=dynamics.action_dim)

    mean, factor = model.initial_mean, model.initial_scale_tril
    if parts.initial:
        mean, factor = _initial(smoothed)

    matrix, offset, tril = model.emission_matrix, model.emission_offset, model.emission_scale_tril
    if parts.emission_matrix or parts.emission_offset or parts.emission_noise:
        roots = jax.vmap(lambda s, x, seen: _emission_root(model, s, x, seen, smoother))(smoothed, observations, mask)
        known = jnp.concatenate([matrix, offset[:, None]], axis=1)
        learned = _columns((parts.emission_matrix, parts.emission_offset), (matrix.shape[1], 1))
        count = jnp.sum(mask.astype(matrix.dtype))
        coefficients, noise = _regress(_square(_side_by_side(roots)), count, known, learned)
        matrix, offset = coefficients[:, :-1], coefficients[:, -1]
        tril = noise if parts.emission_noise else tril
    return LinearGaussian(mean, factor, dynamics, matrix, tril, offset)


def _regress(
    root: Float[Array, "n n"], count: Array, known: Float[Array, "d k"], learned: Int[Array, " j"]
) -> tuple[Float[Array, "d k"], Float[Array, "d d"]]:
    """Regress the last rows on the columns `learned`, with the other coefficients kept at their known values.

    Returns:
        All coefficients, and the lower factor of the mean squared residual.
    """
    width, num = known.shape[1], learned.shape[0]
    fixed = known.at[:, learned].set(0.0)
    residual = root[width:] - fixed @ root[:width]
    factor = positive_tria(jnp.concatenate([root[:width][learned], residual]))
    found = solve_triangular(factor[:num, :num], factor[num:, :num].T, lower=True, trans=1).T if num else known[:, :0]
    return fixed.at[:, learned].set(found), factor[num:, num:] / jnp.sqrt(count)


def _initial(smoothed: Smoothed) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Mean and factor of the mixture of all smoothed first states."""
    means, factors = smoothed.beliefs.loc[:, 0], smoothed.beliefs.scale_tril[:, 0]
    mean = jnp.mean(means, axis=0)
    columns = jnp.concatenate([_side_by_side(factors), (means - mean[None, :]).T], axis=1)
    return mean, positive_tria(columns / means.shape[0] ** 0.5)


def _emission_root(
    model: LinearGaussian,
    smoothed: Smoothed,
    observations: Float[Array, "time m"],
    observed: Bool[Array, " time"],
    smoother: RauchTungStriebel,
) -> Float[Array, "n n"]:
    """Square root of sum_t E[v v^T], v = (z_t, 1, x_t), missing entries of x_t completed by their conditional given z_t."""
    matrix, offset, tril = model.emission_matrix, model.emission_offset, model.emission_scale_tril
    covariance, eye = tril @ tril.T, jnp.eye(tril.shape[0], dtype=tril.dtype)
    periodic = smoother.filter.periodic if isinstance(smoother.filter, Kalman) else None

    def columns(mean, factor, value):
        expected = matrix @ mean + offset
        if periodic is not None:
            value = periodic.nearest(value, expected)
        seen = ~jnp.isnan(value)
        both = seen[:, None] & seen[None, :]
        # x_missing | x_seen, z has the gain K on the seen residual and the covariance root (1 - K) R^(1/2).
        gain = jnp.linalg.solve(jnp.where(both, covariance, eye), jnp.where(seen[:, None], covariance, 0.0)).T
        residual = jnp.where(seen, jnp.nan_to_num(value) - expected, 0.0)
        certain = jnp.concatenate([mean, jnp.ones(1, mean.dtype), expected + gain @ residual])
        sensitivity = (eye - gain) @ matrix
        upper = jnp.concatenate([factor, jnp.zeros((mean.shape[0], eye.shape[0]), mean.dtype)], axis=1)
        lower = jnp.concatenate([sensitivity @ factor, (eye - gain) @ tril], axis=1)
        uncertain = jnp.concatenate([upper, jnp.zeros((1, upper.shape[1]), mean.dtype), lower])
        return jnp.concatenate([certain[:, None], uncertain], axis=1)

    found = jax.vmap(columns)(smoothed.beliefs.loc, smoothed.beliefs.scale_tril, observations)
    return _square(_side_by_side(jnp.where(observed[:, None, None], found, 0.0)))


def _columns(chosen: tuple[bool, ...], sizes: tuple[int, ...]) -> Int[Array, " j"]:
    """Indices of the columns of the chosen blocks."""
    mask = [part for part, size in zip(chosen, sizes, strict=True) for _ in range(size)]
    return jnp.asarray([index for index, keep in enumerate(mask) if keep], jnp.int32)


def _side_by_side(blocks: Float[Array, "count rows columns"]) -> Float[Array, "rows all"]:
    return jnp.moveaxis(blocks, 0, 1).reshape(blocks.shape[1], -1)


def _square(root: Float[Array, "n m"]) -> Float[Array, "n n"]:
    """A square root of the same matrix with as many columns as rows."""
    missing = max(root.shape[0] - root.shape[1], 0)
    return positive_tria(jnp.pad(root, ((0, 0), (0, missing))))


def _linear(model: LinearGaussian) -> LinearDynamics:
    dynamics = model.dynamics
    if not isinstance(dynamics, LinearDynamics):
        raise BadInputError(
            f"Expected LinearDynamics, whose steps all last equally long, got {type(dynamics).__name__}: learn it by gradient on the "
            f"energy of `filter`."
        )
    return dynamics


def _check(
    model: LinearGaussian, observations: Array | Measurement, actions: Array | None, parts: Parts, num_steps: int
) -> None:
    value = observations.value if isinstance(observations, Measurement) else observations
    _linear(model)
    if value.ndim != 3 or (actions is not None and actions.ndim != 3):
        raise BadInputError(
            f"Expected observations [sequences, time, m] and actions [sequences, time - 1, a], got shapes {value.shape} and "
            f"{None if actions is None else actions.shape}: add a leading axis to a single sequence."
        )
    if num_steps < 0:
        raise BadInputError(f"Expected num_steps >= 0, got {num_steps}.")
    if value.shape[1] < 2 and (parts.matrix or parts.control or parts.offset or parts.noise):
        raise BadInputError(
            "Expected sequences of at least two steps to learn dynamics from, got one: leave out the parts matrix, control, "
            "offset and noise."
        )
    emission = parts.emission_matrix or parts.emission_offset or parts.emission_noise
    if emission and isinstance(observations, Measurement):
        raise BadInputError(
            "Expected plain observations to learn the emission (C, d, R) from, got a Measurement whose noise is given: leave "
            "the emission parts out, or pass `measurement.value`."
        )
