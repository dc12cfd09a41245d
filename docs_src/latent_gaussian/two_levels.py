"""A model of two levels, three ways to infer in it, one scale of nats."""

from functools import partial

import equinox as eqx
import jax
import jax.random as jr
import optax

from homeostat.distributions import DiagonalGaussian, Ladder, MonteCarlo
from homeostat.inference import free_energy_descent, ModelWithEngine
from homeostat.inference.engines import (
    BoundLogScale,
    Direct,
    Estimate,
    InferenceGradient,
    Iterative,
    Normalized,
    WeightedErrors,
)
from homeostat.models.static import Bernoulli, latent_gaussian
from homeostat.nn import MLP
from homeostat.train import InMemoryLoader, fit


class Encoder(eqx.Module):
    network: MLP

    def __call__(self, args):
        return self.network(args.observation)


pixels, dims = 16, (4, 2)  # z^1 nearest the data, z^2 above it
dim = sum(dims)
network = partial(MLP, width=32, depth=1)
model = latent_gaussian(Bernoulli((pixels,)), dims, key=jr.key(0), mapping=network)
data = jr.bernoulli(jr.key(1), jr.beta(jr.key(2), 0.3, 0.3, (256, 4)).repeat(4, axis=1)).astype(float)

encoder = Direct(Encoder(network(pixels, 2 * dim, key=jr.key(3))))
encodings = (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2), Normalized(WeightedErrors()))
update = network(4 * dim + pixels + dim, 4 * dim, key=jr.key(3))
ways = {
    "bottom-up encoder": (encoder, DiagonalGaussian(dim), 1),
    "ladder": (encoder, Ladder(model.levels), 1),
    "iterative": (Iterative(update, encodings, bound=BoundLogScale()), DiagonalGaussian(dim), 3),
}
for name, (engine, family, iterations) in ways.items():
    learner = free_energy_descent(
        ModelWithEngine(model, engine), family, optax.adam(3e-3), MonteCarlo(4), num_steps=iterations
    )
    result = fit(learner, InMemoryLoader(data, 64), num_steps=300, key=jr.key(4))
    first, last = (jax.tree.map(lambda leaf, i=i: float(leaf[i]), result.history) for i in (0, -1))
    print(f"{name}: {last.free_energy_nats:.2f} nats = {last.distortion_nats:.2f} + {last.rate_nats:.2f}")
    assert last.free_energy_nats < first.free_energy_nats
