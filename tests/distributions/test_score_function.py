"""The score-function estimator: unbiased, for discrete latents too, and calmer with a baseline."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.distributions import (
    Categorical,
    ConstantBaseline,
    Enumeration,
    LeaveOneOut,
    MonteCarlo,
    NoBaseline,
    ScoreFunction,
)
from homeostat.objectives import FreeEnergy
from homeostat.results import BadInputError
from problems import evidence, mixture_model
from tolerances import MONTE_CARLO_STANDARD_ERRORS

NUM = 4_000
BASELINES = {"none": NoBaseline(), "constant": ConstantBaseline(3.0), "leave one out": LeaveOneOut()}


def gradients(expectation, logits, key):
    family, model = Categorical(3), mixture_model()

    def energy(logits, key):
        params = family.init()._replace(logits=logits)
        return FreeEnergy(model, expectation)(family(params), evidence(2), key=key)

    return jax.jit(jax.vmap(jax.value_and_grad(energy), in_axes=(None, 0)))(logits, jr.split(key, NUM))


@pytest.mark.parametrize("name", BASELINES)
def test_gradients_of_a_discrete_latent_are_unbiased(name, key):
    """Held against the exact gradient by enumeration; samples of a discrete latent have none of their own."""
    logits = jnp.array([0.3, -0.2, 0.5])
    value, gradient = gradients(ScoreFunction(4, BASELINES[name]), logits, key)
    exact_value, exact = (leaf[0] for leaf in gradients(Enumeration(), logits, key))
    error = MONTE_CARLO_STANDARD_ERRORS / np.sqrt(NUM)
    assert abs(jnp.mean(value) - exact_value) < error * jnp.std(value) + 1e-12
    assert jnp.all(jnp.abs(jnp.mean(gradient, axis=0) - exact) < error * jnp.std(gradient, axis=0))
    pathwise = gradients(MonteCarlo(4), logits, key)[1]
    assert not jnp.allclose(jnp.mean(pathwise, axis=0), exact, atol=0.05)


def test_a_baseline_lessens_the_noise(key):
    logits = jnp.array([0.3, -0.2, 0.5])
    noise = {
        name: float(jnp.mean(jnp.var(gradients(ScoreFunction(4, baseline), logits, key)[1], axis=0)))
        for name, baseline in BASELINES.items()
    }
    assert noise["leave one out"] < noise["none"]


def test_bad_numbers_of_samples_are_refused(key):
    with pytest.raises(BadInputError, match="at least one sample"):
        ScoreFunction(0)
    with pytest.raises(BadInputError, match="at least two samples"):
        gradients(ScoreFunction(1, LeaveOneOut()), jnp.zeros(3), key)
