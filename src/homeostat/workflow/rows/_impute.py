"""Expectations of what is missing of rows, under their posteriors."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ...distributions import MonteCarlo, innermost
from ...metrics import expected
from ...typing import Distribution, Key
from ._describe import RowsDescription
from ._inference import ROWS_AT_ONCE, expected_rows
from ._system import InferenceSetup


def impute(
    setup: InferenceSetup,
    description: RowsDescription,
    stored: np.ndarray,
    params: Any,
    mean: Any,
    *,
    first: int,
    num_samples: int,
    key: Key,
) -> np.ndarray:
    """Stored rows with E[x_missing | x_seen] under q in the places of what is missing; the most probable of categories.

    Args:
        params: of the posterior of each row.
        mean: E_q[z] of each row, which is enough where the model is linear.
        first: number of the first row, as for `infer_rows`.
    """
    if setup.exact is not None:
        found = expected_rows(setup.model, jnp.asarray(mean, jnp.result_type(float)))
    else:
        # Filled up, so that one program serves all blocks.
        chosen = np.minimum(np.arange(ROWS_AT_ONCE), len(stored) - 1)
        filled = jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], params)
        found = np.asarray(_expected_under(setup, filled, first + chosen, num_samples, key=key))[: len(stored)]
    return np.where(np.isnan(stored), description.restore(found), stored)


@eqx.filter_jit
def _expected_under(setup: InferenceSetup, params: Any, numbers: jax.Array, num_samples: int, *, key: Key) -> jax.Array:
    """E_q[E[x | z]] of each row, over the same points of q as its distortion."""

    def one(params: Any, number: jax.Array) -> jax.Array:
        terms_key = jax.random.split(jax.random.fold_in(key, number), 4)[2]
        points = MonteCarlo(num_samples).points(setup.family(params), key=terms_key).values
        found = jax.vmap(lambda z: _mean_or_chances(setup.model.emission(z)))(points)
        mean = jnp.mean(found, axis=0)
        categorical = isinstance(innermost(setup.model.emission(points[0])), dist.CategoricalLogits)
        return jnp.argmax(mean, axis=-1).astype(mean.dtype) if categorical else mean

    return jax.vmap(one)(params, numbers)


def _mean_or_chances(emission: Distribution) -> jax.Array:
    """The mean of an observation; of categories, which have none, their probabilities."""
    base = innermost(emission)
    return jax.nn.softmax(base.logits) if isinstance(base, dist.CategoricalLogits) else expected(emission)
