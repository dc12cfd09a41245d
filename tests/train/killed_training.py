"""Training in a process of its own, to be killed: `python killed_training.py CHECKPOINT RESULT`."""

import sys
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from homeostat.core import AbstractLearner
from homeostat.train import Checkpointer, StreamingLoader, fit, save_checkpoint


class Metrics(NamedTuple):
    error: jax.Array


class Regression(AbstractLearner):
    def init(self, *, key):
        net = eqx.nn.MLP(2, 1, 64, 2, key=key)
        return net, optax.adam(1e-3).init(eqx.filter(net, eqx.is_array)), jax.random.key(3)

    def update(self, state, batch, *, key):
        net, moments, own = state
        own, used = jax.random.split(own)
        inputs = batch + 0.1 * jax.random.normal(key, batch.shape) + 0.1 * jax.random.normal(used, batch.shape)
        wanted = batch[:, 0] * batch[:, 1]
        error, slope = eqx.filter_value_and_grad(lambda n: jnp.mean((jax.vmap(n)(inputs)[:, 0] - wanted) ** 2))(net)
        change, moments = optax.adam(1e-3).update(slope, moments)
        return (eqx.apply_updates(net, change), moments, own), Metrics(error)


ROWS = np.random.default_rng(0).normal(size=(70, 2)).astype(np.float32)


def batches(epoch: int, start: int):
    order = np.random.default_rng(epoch).permutation(len(ROWS))
    return (ROWS[order[8 * number : 8 * number + 8]] for number in range(start, 8))


def validate(state, key) -> float:
    inputs = jax.random.normal(key, (32, 2))
    return float(jnp.mean((jax.vmap(state[0])(inputs)[:, 0] - inputs[:, 0] * inputs[:, 1]) ** 2))


def main(checkpoint: Path, file: Path) -> None:
    result = fit(
        Regression(),
        StreamingLoader(batches, 8),
        num_steps=6_000,
        key=jax.random.key(5),
        every=5,
        validate=validate,
        validate_every=50,
        callback=Checkpointer(checkpoint, seconds=0, on_segment=lambda report: print(report.step, flush=True)),
    )
    save_checkpoint(file, tuple(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
