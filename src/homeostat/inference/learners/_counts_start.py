"""Where to start learning linear dynamics behind counts: a linear-Gaussian model of smoothed log counts.

    y_t = log(s_t + 1/2),   s_t = mean of the counts within a few steps of t

One half, so that an empty stretch is not impossible. The states, dynamics and loadings C of the linear model carry over, because
the log rates of both models are C z + b, up to the noise of y.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ...distributions import known_entries
from ...models.sequential import GeneralizedLinear, LinearDynamics, LinearGaussian
from ...models.static import AbstractLikelihood
from ...typing import Array, Bool, Float, Key
from ._expectation_maximization import Parts, expectation_maximization
from ._sequence_batch import SequenceBatch

REACH = 2
"""Steps before and after that a count is averaged with."""
NUM_STEPS = 30


def start_counts(
    likelihood: AbstractLikelihood, batch: SequenceBatch, dim: int, *, key: Key, num_steps: int = NUM_STEPS
) -> GeneralizedLinear:
    """Dynamics and loadings by expectation maximisation on smoothed log counts (see the module).

    Args:
        likelihood: of counts, with `log_level` at the logarithms of their means; the dynamics vary about it.
        batch: all sequences of counts [batch, time, m], padded to one length.
        dim: d.
        key: for the first loadings.
        num_steps: of expectation maximisation.
    """
    values, observed = known_entries(batch.seen)
    counts = jnp.asarray(values, jnp.result_type(float))
    observed = jnp.ones(counts.shape, bool) if observed is None else observed
    logs = _smooth_logs(jnp.where(observed, counts, 0.0), observed)
    size = counts.shape[-1]
    control = jnp.zeros((dim, 0 if batch.actions is None else batch.actions.shape[-1]))
    loadings = jr.normal(key, (size, dim)) / (size * dim) ** 0.5
    dynamics = LinearDynamics(0.9 * jnp.eye(dim), control, 0.4 * jnp.eye(dim))
    start = LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, loadings, 0.5 * jnp.eye(size))
    parts = Parts(emission_matrix=True, emission_offset=True, emission_noise=True)
    found = expectation_maximization(
        start, logs, batch.actions, lengths=batch.lengths, parts=parts, num_steps=num_steps, throw=False
    ).model
    return GeneralizedLinear(
        found.initial_mean, found.initial_scale_tril, found.dynamics, found.emission_matrix, likelihood
    )


@eqx.filter_jit
def _smooth_logs(
    counts: Float[Array, "sequences time m"], observed: Bool[Array, "sequences time m"]
) -> Float[Array, "sequences time m"]:
    """log(mean + 1/2) less its mean over all steps of each column; NaN where nothing near was seen."""

    def around(leaf: Array) -> Array:
        padded = jnp.pad(leaf.astype(counts.dtype), ((0, 0), (REACH, REACH), (0, 0)))
        windows = [padded[:, shift : shift + leaf.shape[1]] for shift in range(2 * REACH + 1)]
        return jnp.sum(jnp.stack(windows), axis=0)

    number = around(observed)
    logs = jnp.log(around(counts) / jnp.where(number > 0.0, number, 1.0) + 0.5)
    logs = jnp.where(number > 0.0, logs, jnp.nan)
    return logs - jnp.nanmean(logs, axis=(0, 1), keepdims=True)
