"""A feedforward pass as the start: a trained encoder does most of the work, errors the rest."""

from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.random as jr
import optax

from homeostat import infer
from homeostat.distributions import Delta
from homeostat.inference import free_energy_descent, ModelWithEngine
from homeostat.inference.engines import Direct, PredictiveCoding, Chain
from homeostat.models.static import Gaussian, latent_gaussian
from homeostat.nn import MLP
from homeostat.objectives import Evidence, FreeEnergy


@final
class Encoder(eqx.Module):
    """From the observation to z."""

    network: MLP

    def __call__(self, evidence):
        return self.network(evidence.observation)


network = partial(MLP, width=16, depth=1, activation=jax.nn.tanh)
model = latent_gaussian(Gaussian((8,), log_scale=-1.0), dims=(4, 2), key=jr.key(0), mapping=network,
                        conditional_scale=jax.numpy.zeros)  # fmt: skip
family = Delta(model.dim)


def draw(key):
    """An observation of the model."""
    latent, noise = jr.split(key)
    return model.emission(model.initial().sample(latent)).sample(noise)


x = jax.vmap(draw)(jr.split(jr.key(1), 512))
encoder = Direct(Encoder(network(8, model.dim, key=jr.key(2))))


def kind(learned):
    """What each number belongs to."""
    return ModelWithEngine(
        jax.tree.map(lambda _: "model", learned.model), jax.tree.map(lambda _: "engine", learned.engine)
    )


# The model is given and stays: the encoder learns to infer on it.
optimizer = optax.multi_transform({"model": optax.set_to_zero(), "engine": optax.adam(3e-3)}, kind)
learner = free_energy_descent(ModelWithEngine(model, encoder), family, optimizer)
update, state = eqx.filter_jit(learner.update), learner.init(key=jr.key(3))
for key in jr.split(jr.key(4), 300):
    state, _ = update(state, x, key=key)
encoder = state.learned.engine


@eqx.filter_jit
@partial(jax.vmap, in_axes=(0, None, None))
def energy(observation, engine, num_steps):
    """Energy after so many steps."""
    found = infer(
        FreeEnergy(model), engine, family, Evidence(observation), key=jr.key(0), num_steps=num_steps, throw=False
    )
    return found.energy_nats


coding = PredictiveCoding(optax.sgd(0.02))
alone, pass_only, both = (
    energy(x, engine, steps).mean()
    for engine, steps in ((coding, 9), (encoder, 1), (Chain((encoder, coding), (1,)), 9))
)
print(f"9 steps of predictive coding {alone:.2f} nats; the encoder alone {pass_only:.2f}; it and 8 steps {both:.2f}")
assert both < pass_only
assert both < alone
