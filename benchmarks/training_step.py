"""Milliseconds of one training step of a variational autoencoder, and of iterative amortized inference of the same size.

Run `python benchmarks/training_step.py`. Bernoulli pixels, 784-512-512-64 and back, batch 128, Adam, one sample. Measured in
turns in one run, medians over `repeats` blocks, compilation apart:

- this library: the direct encoder; iterative inference with `iterations` iterations and a network of the same width and depth,
  with the gradient at each estimate used twice (the default) and differentiated as it runs;
- NumPyro's SVI with the same two networks, by `update`, and by `stable_update`, which like ours refuses an update that is not
  finite and keeps the numbers before it;
- PyTorch on the CPU with the same two networks, where it is installed (it is no dependency of this project).

The share of the machine's peak is the arithmetic of the direct step's matrix products over what a large matrix product reaches
in the same run.
"""

import dataclasses
import itertools
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import tyro
from numpyro.infer import SVI, Trace_ELBO
from rich.console import Console
from rich.table import Table

from homeostat.distributions import DiagonalGaussian
from homeostat.inference import EnergyDescent, ModelWithEngine, free_energy_descent
from homeostat.inference.engines import BoundLogScale, Data, Direct, Estimate, InferenceGradient, Iterative, Normalized
from homeostat.models.static import Bernoulli, latent_gaussian
from homeostat.nn import MLP
from homeostat.objectives import Evidence


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    batch: int = 128
    """rows in a batch"""
    pixels: int = 784
    """entries of an observation"""
    width: int = 512
    """units in each of two hidden layers"""
    latents: int = 64
    """latent variables"""
    iterations: int = 5
    """iterations of iterative inference"""
    steps: int = 20
    """training steps in a block"""
    repeats: int = 7
    """blocks to take the median of"""
    json: Path | None = None
    """file for the result"""


class Encoder(eqx.Module):
    """Pixels to the parameters of q."""

    network: MLP

    def __call__(self, args: Evidence) -> jax.Array:
        return self.network(args.observation)


def observation(args: Evidence) -> jax.Array:
    """What the update network reads of the data."""
    return args.observation


def learner(config: Config, engine: Direct | Iterative, num_steps: int) -> EnergyDescent:
    """This library's training of one engine with the decoder."""
    mapping = partial(MLP, width=config.width, depth=2)
    model = latent_gaussian(Bernoulli((config.pixels,)), (config.latents,), key=jr.key(1), mapping=mapping)
    family = DiagonalGaussian(config.latents)
    return free_energy_descent(ModelWithEngine(model, engine), family, optax.adam(2e-4), num_steps=num_steps)


def direct(config: Config) -> EnergyDescent:
    """The variational autoencoder."""
    return learner(config, Direct(Encoder(MLP(config.pixels, 2 * config.latents, config.width, 2, key=jr.key(2)))), 1)


def iterative(config: Config, **options: Any) -> EnergyDescent:
    """Iterative inference that reads data, estimate and gradient, with a network of the same size."""
    inputs = config.pixels + 4 * config.latents
    encodings = (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2), Data(observation))
    network = MLP(inputs, 4 * config.latents, config.width, 2, key=jr.key(2))
    engine = Iterative(network, encodings, bound=BoundLogScale(), **options)
    return learner(config, engine, config.iterations)


def block_of(descent: EnergyDescent, data: jax.Array, steps: int) -> Callable[[], Any]:
    """A function that runs `steps` updates, one call a step as a training loop of one's own would."""

    first, static = eqx.partition(descent.init(key=jr.key(3)), eqx.is_array)
    state = jax.tree.map(jnp.copy, first)

    # `train.fit` scans instead, which costs no dispatch at all.
    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, data: jax.Array, key: jax.Array) -> Any:
        return eqx.filter(descent.update(eqx.combine(state, static), data, key=key)[0], eqx.is_array)

    keys = jr.split(jr.key(4), steps)

    def block() -> Any:
        nonlocal state
        for key in keys:
            state = update(state, data, key)
        return jax.block_until_ready(state)

    return block


def numpyro_block(config: Config, data: jax.Array, *, stable: bool) -> Callable[[], Any]:
    """The same networks trained by NumPyro's SVI, with or without its check that everything is finite."""
    encoder = MLP(config.pixels, 2 * config.latents, config.width, 2, key=jr.key(2))
    decoder = MLP(config.latents, config.pixels, config.width, 2, key=jr.key(1))

    def learned(name: str, network: MLP) -> MLP:
        # As a list of arrays, since NumPyro would call a network to draw its first value.
        arrays, rest = eqx.partition(network, eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        return eqx.combine(jax.tree.unflatten(structure, numpyro.param(name, leaves)), rest)

    def model(x: jax.Array) -> None:
        network = learned("decoder", decoder)
        with numpyro.plate("rows", x.shape[0]):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(config.latents), 1.0).to_event(1))
            numpyro.sample("x", dist.BernoulliLogits(jax.vmap(network)(z)).to_event(1), obs=x)

    def guide(x: jax.Array) -> None:
        network = learned("encoder", encoder)
        loc, log_scale = jnp.split(jax.vmap(network)(x), 2, axis=1)
        with numpyro.plate("rows", x.shape[0]):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(2e-4), Trace_ELBO())
    state = svi.init(jr.key(3), data)
    step = svi.stable_update if stable else svi.update
    update = jax.jit(lambda state, data: step(state, data)[0], donate_argnums=0)

    def block() -> Any:
        nonlocal state
        for _ in range(config.steps):
            state = update(state, data)
        return jax.block_until_ready(state)

    return block


def torch_block(config: Config, data: jax.Array) -> Callable[[], Any] | None:
    """The same networks in PyTorch, or None where it is not installed."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    nn, functional = torch.nn, torch.nn.functional

    def network(inputs: int, outputs: int) -> Any:
        layers = (nn.Linear(inputs, config.width), nn.ELU(), nn.Linear(config.width, config.width), nn.ELU())
        return nn.Sequential(*layers, nn.Linear(config.width, outputs))

    encoder, decoder = network(config.pixels, 2 * config.latents), network(config.latents, config.pixels)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-4, fused=True)
    rows = torch.from_numpy(np.array(data))

    def block() -> None:
        for _ in range(config.steps):
            loc, log_scale = encoder(rows).chunk(2, dim=1)
            z = loc + log_scale.exp() * torch.randn_like(loc)
            error = functional.binary_cross_entropy_with_logits(decoder(z), rows, reduction="sum")
            divergence = 0.5 * (loc**2 + (2.0 * log_scale).exp() - 1.0 - 2.0 * log_scale).sum()
            optimizer.zero_grad()
            ((error + divergence) / rows.shape[0]).backward()
            optimizer.step()

    return block


def peak(size: int = 2048) -> Callable[[], Any]:
    """A large matrix product, whose rate stands for the machine's peak."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    return lambda: jax.block_until_ready(product(a))


def products(config: Config) -> float:
    """Floating-point operations of the direct step's matrix products: two a weight and row forward, four backward."""
    sizes = (config.pixels, config.width, config.width, 2 * config.latents)
    back = (config.latents, config.width, config.width, config.pixels)
    weights = sum(a * b for path in (sizes, back) for a, b in itertools.pairwise(path))
    return 6.0 * weights * config.batch


def main(config: Config) -> None:
    """Measure and print."""
    data = jr.bernoulli(jr.key(0), 0.3, (config.batch, config.pixels)).astype(jnp.float32)
    blocks: dict[str, Callable[[], Any]] = {
        "direct": block_of(direct(config), data, config.steps),
        f"iterative, {config.iterations} iterations": block_of(iterative(config), data, config.steps),
        f"iterative, {config.iterations} iterations, unrolled": block_of(
            iterative(config, detach=lambda x: x), data, config.steps
        ),
        "NumPyro SVI, direct": numpyro_block(config, data, stable=False),
        "NumPyro SVI, direct, checked": numpyro_block(config, data, stable=True),
    }
    torch = torch_block(config, data)
    if torch is not None:
        blocks["PyTorch, direct"] = torch
    blocks["matrix product"] = peak()
    first = {}
    for name, block in blocks.items():
        start = time.perf_counter()
        block()
        first[name] = time.perf_counter() - start
    seconds: dict[str, list[float]] = {name: [] for name in blocks}
    # In turns, so that other work on the machine slows all alike.
    for _ in range(config.repeats):
        for name, block in blocks.items():
            start = time.perf_counter()
            block()
            seconds[name].append(time.perf_counter() - start)
    product = 2.0 * 2048**3 / np.median(seconds.pop("matrix product"))
    step = {name: float(np.median(values)) / config.steps for name, values in seconds.items()}
    # The median of ratios within a turn is steadier than the ratio of medians.
    ratio = {
        name: float(np.median(np.asarray(values) / np.asarray(seconds["direct"]))) for name, values in seconds.items()
    }
    result = {
        "milliseconds": {name: 1e3 * value for name, value in step.items()},
        "ratio_to_direct": ratio,
        "first_block_seconds": first,
        "peak_gflops": product / 1e9,
        "share_of_peak": products(config) / step["direct"] / product,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "config": dataclasses.asdict(config) | {"json": None},
    }
    table = Table(header_style="bold")
    for column in ("training step", "ms", "ratio to direct", "first block, s"):
        table.add_column(column, justify="left" if column == "training step" else "right")
    for name, value in step.items():
        table.add_row(name, f"{1e3 * value:.2f}", f"{ratio[name]:.2f}", f"{first[name]:.1f}")
    console = Console()
    console.print(table)
    console.print(
        f"direct step at {result['share_of_peak']:.0%} of the {result['peak_gflops']:.0f} GFLOP/s of a large matrix product"
    )
    if config.json is not None:
        config.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
