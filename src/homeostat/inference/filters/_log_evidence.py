"""The evidence of a linear-Gaussian model and nothing else, for whoever maximises it.

The recursion is that of covariances, which costs a tenth of that of their square roots, but loses digits where beliefs are far
narrower in one direction than in another: it is for 64 bits.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from ...models.sequential import AffineStep, LinearGaussian
from ...typing import Action, Array, Float, Scalar


def log_evidence(model: LinearGaussian, observations: Float[Array, "time m"], actions: Action = None) -> Scalar:
    """log p(x_1, ..., x_T | a_1, ..., a_{T-1}) in nats, what the free energies of `Kalman` sum up to with a minus.

    Args:
        model: what explains them.
        observations: NaN where missing.
        actions: with a leading axis of length time - 1, or None.
    """
    seen = ~jnp.isnan(observations)
    values = jnp.where(seen, observations, 0.0) - model.emission_offset[None, :]
    noise = model.emission_scale_tril @ model.emission_scale_tril.T
    eye = jnp.eye(model.observation_dim, dtype=noise.dtype)

    def update(mean: Array, covariance: Array, value: Array, known: Array) -> tuple[Array, Array, Scalar]:
        # What is missing has no row, a noise of one and no residual, which adds nothing.
        matrix = jnp.where(known[:, None], model.emission_matrix, 0.0)
        cross = matrix @ covariance
        residual = jnp.where(known, value - matrix @ mean, 0.0)
        expected = cross @ matrix.T + jnp.where(known[:, None] & known[None, :], noise, eye)
        scales, whitened = _whitened(expected, jnp.concatenate([cross, residual[:, None]], axis=1))
        gains, errors = whitened[:, :-1], whitened[:, -1]
        energy = 0.5 * errors @ errors + jnp.sum(jnp.log(scales))
        return mean + errors @ gains, covariance - gains.T @ gains, energy

    steps, changing = _steps(model, actions, len(values))

    def body(carry, inputs):
        (mean, covariance), (value, known, shift, parts) = carry, inputs
        matrix, added = (steps.matrix, _square(steps.scale_tril)) if parts is None else parts
        mean, covariance = matrix @ mean + shift, matrix @ covariance @ matrix.T + added
        mean, covariance, energy = update(mean, covariance, value, known)
        return (mean, covariance), energy

    start = update(model.initial_mean, _square(model.initial_scale_tril), values[0], seen[0])
    parts = (steps.matrix, jax.vmap(_square)(steps.scale_tril)) if changing else None
    _, energies = jax.lax.scan(body, start[:2], (values[1:], seen[1:], steps.shift, parts))
    return -start[2] - jnp.sum(energies) - 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(seen)


def _steps(model: LinearGaussian, actions: Action, length: int) -> tuple[AffineStep, bool]:
    """A, b and L, with a leading axis of time for b, and for A and L where they change, and whether these do.

    Kept out of the loop, what does not change costs nothing there.
    """
    changing = actions is not None and model.dynamics.changes
    if actions is None:
        step = model.dynamics.step(None)
        return step._replace(shift=jnp.broadcast_to(step.shift, (length - 1, *step.shift.shape))), changing
    axes = AffineStep(0, 0, 0) if changing else AffineStep(None, 0, None)
    return jax.vmap(model.dynamics.step, out_axes=axes)(actions), changing


def _whitened(covariance: Float[Array, "m m"], rows: Float[Array, "m n"]) -> tuple[Array, Array]:
    """Diagonal of the Cholesky factor F of a covariance, and F^-1 applied to rows."""
    if len(covariance) == 1:  # Without a library call for one number, which doubles the speed.
        scale = jnp.sqrt(covariance[0])
        return scale, rows / scale[:, None]
    factor = jnp.linalg.cholesky(covariance)
    return jnp.diagonal(factor), solve_triangular(factor, rows, lower=True)


def _square(root: Float[Array, "d n"]) -> Float[Array, "d d"]:
    return root @ root.T
