"""Second-order systems: positions with velocities, driven by accelerations."""

import jax.numpy as jnp

from ...results import BadInputError
from ...typing import Array, Float
from ._linear_dynamics import LinearDynamics
from ._linear_gaussian import LinearGaussian
from ._validation import check_shape


def second_order(
    dim: int,
    *,
    step: float = 1.0,
    damping: float = 0.0,
    position_scale: float = 1e-3,
    velocity_scale: float = 1e-2,
    gain: Array | None = None,
) -> LinearDynamics:
    """Dynamics of z = (p, v): v' = (1 - damping) v + step G u + noise and p' = p + step v' + noise (semi-implicit Euler).

    Written out, A = [[1, h(1 - damping)], [0, 1 - damping]] and B = [[h^2 G], [h G]] (blocks of `dim`), with h the step. The
    velocity's noise reaches the position in the same step, so the noise covariance is
    [[s_p^2 + h^2 s_v^2, h s_v^2], [h s_v^2, s_v^2]].

    Args:
        dim: number of positions.
        step: h, duration of one step.
        damping: share of the velocity that is lost in one step, in [0, 1).
        position_scale: standard deviation s_p of the position's own noise in one step.
        velocity_scale: standard deviation s_v of the velocity's noise in one step.
        gain: G, acceleration per action, [dim, a]; the identity by default.

    Returns:
        Dynamics over 2 dim coordinates, positions first.

    Raises:
        BadInputError: a number is out of its range or `gain` has not `dim` rows.
    """
    if dim < 1 or step <= 0.0 or position_scale <= 0.0 or velocity_scale <= 0.0:
        raise BadInputError(
            f"Expected dim >= 1 and a positive step and noise scales, got dim={dim}, step={step}, "
            f"position_scale={position_scale}, velocity_scale={velocity_scale}."
        )
    if not 0.0 <= damping < 1.0:
        raise BadInputError(f"Expected damping in [0, 1), the share of velocity lost in one step, got {damping}.")
    eye, zero = jnp.eye(dim), jnp.zeros((dim, dim))
    gain = eye if gain is None else jnp.asarray(gain)
    check_shape("the gain", gain, (dim, gain.shape[-1]))
    keep = 1.0 - damping
    matrix = jnp.block([[eye, step * keep * eye], [zero, keep * eye]])
    control = jnp.concatenate([step**2 * gain, step * gain])
    marginal = (position_scale**2 + (step * velocity_scale) ** 2) ** 0.5
    cross = step * velocity_scale**2 / marginal
    rest = velocity_scale * position_scale / marginal
    scale_tril = jnp.block([[marginal * eye, zero], [cross * eye, rest * eye]])
    return LinearDynamics(matrix, control, scale_tril)


def in_displacement_coordinates(model: LinearGaussian) -> LinearGaussian:
    """The same model with its hidden half expressed as the expected displacement of the observed half in one step.

    A model learned from positions only (C = [1 0]) determines its hidden coordinates w up to an invertible change and a
    multiple of p: with p' = A_11 p + A_12 w + ..., every such w has the same likelihood. The choice v = (A_11 - 1) p + A_12 w
    makes the first block row of A equal to [1 1], so that learned and true systems can be compared matrix by matrix.

    Args:
        model: a model over (p, w) with as many hidden coordinates as positions, and A_12 invertible.

    Returns:
        An equivalent model over (p, v).
    """
    dim = model.dim // 2
    if model.dim != 2 * dim:
        raise BadInputError(
            f"Expected as many hidden coordinates as positions, got a state of {model.dim} coordinates."
        )
    known = model.dynamics
    if not isinstance(known, LinearDynamics):
        raise BadInputError(f"Expected LinearDynamics, got {type(known).__name__}: `discretise` them first.")
    matrix = known.matrix
    eye, zero = jnp.eye(dim, dtype=matrix.dtype), jnp.zeros((dim, dim), matrix.dtype)
    change = jnp.block([[eye, zero], [matrix[:dim, :dim] - eye, matrix[:dim, dim:]]])
    inverse = jnp.linalg.inv(change)
    dynamics = LinearDynamics(
        change @ matrix @ inverse, change @ known.control, _factor(change @ known.scale_tril), change @ known.offset
    )
    return LinearGaussian(
        change @ model.initial_mean,
        _factor(change @ model.initial_scale_tril),
        dynamics,
        model.emission_matrix @ inverse,
        model.emission_scale_tril,
        model.emission_offset,
    )


def _factor(square_root: Float[Array, "d n"]) -> Float[Array, "d d"]:
    return jnp.linalg.cholesky(square_root @ square_root.T)
