"""Sequences whose first step is given."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.inference import condition_on_first, filter
from homeostat.inference.filters import srnn_filter
from homeostat.metrics import evaluate_sequences
from homeostat.models.sequential import ConditionedOnFirst, SRNNSizes, srnn
from homeostat.models.static import Bernoulli
from tolerances import ALGEBRA

SIZES = SRNNSizes(2, 3, 3, 1, 1)


@pytest.fixture(scope="module")
def learned():
    model = eqx.filter_jit(lambda key: srnn(Bernoulli((4,)), SIZES, key=key))(jr.key(1))
    return ConditionedOnFirst(model), srnn_filter(model, SIZES, key=jr.key(2))


def test_the_first_step_moves_the_memory_and_is_not_scored(learned, key):
    conditioned, method = learned
    rolls = (jr.uniform(jr.key(3), (2, 4, 4)) < 0.5).astype(jnp.result_type(float))
    batch = condition_on_first(rolls, jnp.asarray([4, 3]))
    run = eqx.filter_jit(
        lambda values, actions: filter(method, conditioned, values, actions, key=key, mask=batch.mask[0])
    )
    found = run(rolls[0], jax.tree.map(lambda leaf: leaf[0], batch.actions))
    energies = found.info.free_energy_nats
    assert energies[0] == 0.0 and jnp.all(energies[1:] != 0.0)
    model = conditioned.model
    expected = model.memory(rolls[0, 0], model.memory.init())[1].top
    got = found.predictions.past.carry.memory.hidden[1, 0, -1]
    np.testing.assert_allclose(got, expected, rtol=ALGEBRA)
    # Afterwards what was observed is remembered, not what was given.
    second = model.memory(rolls[0, 1], model.memory(rolls[0, 0], model.memory.init())[1])[1].top
    np.testing.assert_allclose(found.predictions.past.carry.memory.hidden[2, 0, -1], second, rtol=ALGEBRA)
    np.testing.assert_array_equal(evaluate_sequences(method, conditioned, batch, key=key).num_steps, [3, 2])
