"""One learner for any energy: a policy learned on a control energy whose best policy is known."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from homeostat.core import AbstractObjective
from homeostat.distributions import Cubature, DiagonalGaussian
from homeostat.inference import ModelWithEngine, energy_descent, infer
from homeostat.inference.engines import Direct, Estimate, InferenceGradient, Iterative, LearnedSGD

GAIN = jnp.array([[0.8, -0.4], [0.3, 0.5]])
PRECISION = jnp.array([2.0, 5.0])
TEMPERATURE = 0.5
FAMILY = DiagonalGaussian(2)


class Situation(NamedTuple):
    """What an action depends on."""

    state: jax.Array
    temperature: jax.Array


@final
class SoftReturn(AbstractObjective):
    """U(a) = -Q(s, a) / alpha with Q = -(a - K s)^T P (a - K s) / 2; the best policy is N(K s, alpha P^-1)."""

    def pointwise(self, value, args, *, key):
        error = value - GAIN @ args.state
        return 0.5 * jnp.sum(PRECISION * error**2) / args.temperature

    def __call__(self, distribution, args, *, key):
        points = Cubature().points(distribution, key=key)
        return points.weights @ jax.vmap(lambda a: self.pointwise(a, args, key=key))(points.values) - jnp.sum(
            jnp.log(distribution.base_dist.scale) + 0.5 * jnp.log(2.0 * jnp.pi * jnp.e)
        )


def energy(model, state):
    return SoftReturn(), Situation(state, jnp.asarray(TEMPERATURE))


class Policy(eqx.Module):
    """Linear mean and a log scale for all states."""

    gain: jax.Array
    log_scale: jax.Array

    def __call__(self, args):
        return jnp.concatenate([self.gain @ args.state, self.log_scale])


class Rates(eqx.Module):
    """The same for all estimates: an offset and the rate of each parameter."""

    outputs: jax.Array

    def __call__(self, inputs):
        return self.outputs


ENGINES = {
    "direct": lambda: (Direct(Policy(jnp.zeros((2, 2)), jnp.zeros(2))), 1),
    "iterative": lambda: (
        Iterative(Rates(jnp.array([0.0] * 4 + [-5.0] * 4)), (Estimate(), InferenceGradient()), LearnedSGD()),
        6,
    ),
}


@pytest.mark.parametrize("name", ENGINES)
def test_a_policy_learns_the_soft_optimum(name, key):
    engine, num_steps = ENGINES[name]()
    learner = energy_descent(energy, ModelWithEngine(None, engine), FAMILY, optax.adam(0.05), num_steps)
    states = jr.normal(key, (16, 2))
    arrays, static = eqx.partition(learner.init(key=key), eqx.is_array)

    @eqx.filter_jit
    def train(arrays, keys):
        def body(arrays, k):
            state, metrics = learner.update(eqx.combine(arrays, static), states, key=k)
            return eqx.filter(state, eqx.is_array), metrics

        return jax.lax.scan(body, arrays, keys)

    arrays, metrics = train(arrays, jr.split(key, 400))
    state = eqx.combine(arrays, static)
    learned, new = state.learned.engine, jnp.array([0.7, -1.2])

    @eqx.filter_jit
    def act(learned, new):
        objective, args = energy(None, new)
        return infer(objective, learned, FAMILY, args, key=key, num_steps=num_steps)

    found = act(learned, new)
    scale = jnp.sqrt(TEMPERATURE / PRECISION)
    np.testing.assert_allclose(found.params.loc, GAIN @ new, atol=0.03)
    np.testing.assert_allclose(jnp.exp(found.params.log_scale), scale, rtol=0.03)
    # -log of the partition function, the least energy there is: -log integral exp(-U).
    least = -jnp.sum(jnp.log(scale) + 0.5 * jnp.log(2.0 * jnp.pi))
    assert float(metrics.free_energy_nats[0]) > float(least) + 0.5
    np.testing.assert_allclose(metrics.free_energy_nats[-1], least, atol=0.01)
    assert float(metrics.failed_step[-1]) == -1.0 and float(metrics.rate_nats[-1]) == 0.0
