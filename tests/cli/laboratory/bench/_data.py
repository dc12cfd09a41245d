"""What both experiments use; not an experiment."""

from typing import NamedTuple

import jax

from homeostat.typing import Array, Float, Key


class Data(NamedTuple):
    inputs: Float[Array, "rows 3"]
    outputs: Float[Array, " rows"]


class Spec(NamedTuple):
    rows: int


def build(spec: Spec, key: Key) -> Data:
    input_key, noise_key = jax.random.split(key)
    inputs = jax.random.normal(input_key, (spec.rows, 3))
    return Data(inputs, inputs.sum(axis=1) + 0.1 * jax.random.normal(noise_key, (spec.rows,)))
