"""A vector whose blocks are independent."""

from typing import final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from numpyro.distributions import constraints

from ...results import BadInputError
from ...typing import Array, Distribution, Float, Key


@final
class Blocks(dist.Distribution):
    """p(v) = prod_b p_b(v_b) for a vector v cut into consecutive blocks, each with a distribution of its own.

    Args:
        parts: distributions over vectors, in the order of the blocks.
    """

    pytree_data_fields = ("parts",)

    def __init__(self, parts: tuple[Distribution, ...], *, validate_args=None):
        for part in parts:
            if part.batch_shape != () or len(part.event_shape) != 1:
                raise BadInputError(
                    f"Expected distributions over single vectors, got batch shape {part.batch_shape} and event shape "
                    f"{part.event_shape}: use `.to_event(1)`."
                )
        self.parts = parts
        length = sum(part.event_shape[0] for part in parts)
        super().__init__(batch_shape=(), event_shape=(length,), validate_args=validate_args)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*sample d"]:
        if sample_shape:
            keys = jr.split(key, sample_shape)
            sample = self.sample
            for _ in sample_shape:
                sample = jax.vmap(sample)
            return sample(keys)
        keys = jr.split(key, len(self.parts))
        return jnp.concatenate([part.sample(k) for part, k in zip(self.parts, keys, strict=True)])

    def log_prob(self, value: Float[Array, " d"]) -> Float[Array, ""]:
        total, start = jnp.zeros((), value.dtype), 0
        for part in self.parts:
            stop = start + part.event_shape[0]
            total, start = total + part.log_prob(value[start:stop]), stop
        return total

    @property
    def support(self):
        return constraints.real_vector

    @property
    def mean(self) -> Float[Array, " d"]:
        return jnp.concatenate([part.mean for part in self.parts])

    @property
    def variance(self) -> Float[Array, " d"]:
        return jnp.concatenate([part.variance for part in self.parts])
