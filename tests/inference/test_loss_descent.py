"""Gradient descent on a loss: steps in closed form, and gradients that are not finite."""

import jax.numpy as jnp
import numpy as np
import optax

from homeostat.inference import loss_descent
from homeostat.train import FullBatch, fit
from tolerances import ALGEBRA


def square(module, batch, *, key):
    return 0.5 * jnp.sum((module["w"] - batch) ** 2)


def test_descent_of_a_square_contracts_geometrically(key):
    """w_k - c = (1 - rate)^k (w_0 - c)."""
    start, target = jnp.asarray([3.0, -1.0]), jnp.asarray([1.0, 2.0])
    learner = loss_descent(square, {"w": start}, optax.sgd(0.1))
    result = fit(learner, FullBatch(target), num_steps=7, key=key)
    expected = target + 0.9**7 * (start - target)
    np.testing.assert_allclose(result.state.learned["w"], expected, rtol=ALGEBRA)
    losses = 0.5 * np.sum(np.asarray(start - target) ** 2) * 0.81 ** np.arange(7)
    np.testing.assert_allclose(result.history.free_energy_nats, [losses.mean()], rtol=ALGEBRA)


def test_a_gradient_that_is_not_finite_leaves_the_module_as_it_is(key):
    learner = loss_descent(square, {"w": jnp.ones(2)}, optax.sgd(0.1))
    state, metrics = learner.update(learner.init(key=key), jnp.asarray([jnp.inf, 0.0]), key=key)
    np.testing.assert_array_equal(state.learned["w"], jnp.ones(2))
    assert not np.isfinite(metrics.free_energy_nats) and int(state.failure.step) == 0
