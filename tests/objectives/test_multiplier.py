"""Multipliers of constrained problems whose dual is known."""

import jax
import jax.numpy as jnp
import numpy as np

from homeostat.objectives import DualVariable


def test_a_dual_variable_finds_the_multiplier_and_the_constrained_minimum():
    """min (x - 2)^2 subject to x <= 1 has x = 1 and lambda = 2; the minimiser of the Lagrangian is 2 - lambda / 2."""
    multiplier = DualVariable(speed=0.1, decay=0.5)

    def body(state, _):
        x = 2.0 - 0.5 * multiplier.value(state)
        return multiplier.update(x - 1.0, state), x

    state, path = jax.lax.scan(body, multiplier.init(), length=400)
    np.testing.assert_allclose(multiplier.value(state), 2.0, rtol=1e-6)
    np.testing.assert_allclose(path[-1], 1.0, rtol=1e-6)


def test_a_constraint_with_room_costs_nothing_and_one_out_of_reach_stays_finite():
    multiplier = DualVariable(speed=0.5, decay=0.0)

    def after(violation):
        step = lambda state, _: (multiplier.update(jnp.asarray(violation), state), None)  # noqa: E731
        return multiplier.value(jax.lax.scan(step, multiplier.init(), length=100)[0])

    np.testing.assert_allclose(after(-2.0), np.exp(-10.0))
    np.testing.assert_allclose(after(1e9), np.exp(10.0))
