"""The control energy of one action, on values whose best policy is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat.distributions import (
    Categorical,
    CategoricalParams,
    DiagonalGaussian,
    DiagonalGaussianParams,
    Enumeration,
    SquashedGaussian,
    sample_with_log_prob,
)
from homeostat.inference import infer
from homeostat.inference.engines import Enumerate, Gradient, NaturalGradient
from homeostat.objectives import MINIMUM_OF_TWO, ActionProblem, SoftReturn
from homeostat.objectives._soft_return import pessimistic
from homeostat.results import BadInputError
from tolerances import ALGEBRA

TEMPERATURE = 0.5
VALUES = jnp.array([3.0, 2.0, 0.0])


def choices(prior: jax.Array) -> ActionProblem:
    """Two critics that agree on the values of three alternatives."""
    critics = lambda state, action: jnp.stack([VALUES[action], VALUES[action]])  # noqa: E731
    return ActionProblem(jnp.zeros(1), critics, jnp.asarray(TEMPERATURE), dist.CategoricalLogits(prior))


def valley(state: jax.Array) -> ActionProblem:
    """Q(s, a) = -|a - s|^2 / 2 under a standard normal prior over actions without bounds."""
    critics = lambda state, action: -0.5 * jnp.sum((action - state) ** 2)[None]  # noqa: E731
    prior = dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1)
    return ActionProblem(state, critics, jnp.asarray(TEMPERATURE), prior)


def test_pessimism_of_two_critics_is_their_minimum():
    """mean - std / sqrt(2) with the unbiased deviation; the thesis writes the biased one, whose beta of 1 is the same."""
    pairs = jnp.array([[1.0, 4.0], [4.0, 1.0], [-2.0, -2.0]])
    both = jax.vmap(lambda pair: pessimistic(pair, MINIMUM_OF_TWO))
    np.testing.assert_allclose(both(pairs), jnp.min(pairs, axis=1), atol=ALGEBRA)
    np.testing.assert_allclose(both(pairs), jnp.mean(pairs, axis=1) - jnp.std(pairs, axis=1), atol=ALGEBRA)
    three = jnp.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(pessimistic(three, 2.0), 3.0 - 2.0 * np.std(three, ddof=1), atol=ALGEBRA)
    np.testing.assert_allclose(pessimistic(three[:1], 2.0), 1.0)
    # The minimum has a slope where both agree, too.
    assert np.all(np.isfinite(jax.grad(lambda pair: pessimistic(pair, 1.0))(pairs[2])))


@pytest.mark.parametrize("prior", [jnp.zeros(3), jnp.array([0.0, 1.0, -1.0])], ids=["uniform", "uneven"])
def test_the_best_choice_is_a_softmax_and_its_energy_the_soft_value(key, prior):
    """pi(a) ~ p(a) exp(Q / alpha), and -alpha F(pi) = alpha log sum_a p(a) exp(Q / alpha)."""
    problem, objective = choices(prior), SoftReturn(Enumeration())
    found = infer(objective, Enumerate(), Categorical(3), problem, key=key)
    scores = jax.nn.log_softmax(prior) + VALUES / TEMPERATURE
    np.testing.assert_allclose(found.distribution.probs, jax.nn.softmax(scores), atol=ALGEBRA)
    np.testing.assert_allclose(found.energy_nats, -jax.nn.logsumexp(scores), atol=ALGEBRA)
    one = CategoricalParams(jnp.array([0.0, -jnp.inf, -jnp.inf]))
    sure = objective.terms(Categorical(3)(one), problem, key=key)
    np.testing.assert_allclose(sure.distortion_nats, -VALUES[0] / TEMPERATURE, atol=ALGEBRA)
    np.testing.assert_allclose(sure.rates_nats[0], -jax.nn.log_softmax(prior)[0], atol=ALGEBRA)


def test_an_engine_of_perception_finds_the_exact_gaussian_policy(key):
    """The posterior of N(a; 0, 1) exp(-|a - s|^2 / 2 alpha) has precision 1 + 1 / alpha."""
    state, precision = jnp.array([1.0, -3.0]), 1.0 + 1.0 / TEMPERATURE
    objective = SoftReturn()
    found = infer(objective, NaturalGradient(1.0), DiagonalGaussian(2), valley(state), key=key, num_steps=2)
    np.testing.assert_allclose(found.params.loc, state / TEMPERATURE / precision, atol=ALGEBRA)
    np.testing.assert_allclose(found.params.log_scale, -0.5 * np.log(precision), atol=ALGEBRA)


def test_a_saturated_policy_is_pulled_back(key):
    """Through what a draw was made of, log q and its gradient are exact where inverting tanh has lost every digit."""
    params = DiagonalGaussianParams(jnp.full(1, 12.0, jnp.float32), jnp.full(1, -2.0, jnp.float32))
    family = SquashedGaussian(1)

    def density(params: DiagonalGaussianParams) -> jax.Array:
        return sample_with_log_prob(family(params), key=key)[1]

    value, slope = eqx.filter_jit(jax.value_and_grad(density))(params)
    draw = 12.0 + np.exp(-2.0) * np.asarray(jax.random.normal(key, (1,)))[0]
    exact = -0.5 * ((draw - 12.0) / np.exp(-2.0)) ** 2 + 2.0 - 0.5 * np.log(2.0 * np.pi) + 2.0 * draw - np.log(4.0)
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_allclose(slope.loc, 2.0, rtol=1e-5)


def test_what_has_no_energy_is_refused(key):
    with pytest.raises(BadInputError, match="temperature above zero"):
        infer(
            SoftReturn(),
            NaturalGradient(1.0),
            DiagonalGaussian(2),
            valley(jnp.zeros(2))._replace(temperature=0.0),
            key=key,
        )
    with pytest.raises(BadInputError, match="reparameterized"):
        infer(SoftReturn(), Gradient(optax.sgd(0.1)), Categorical(3), choices(jnp.zeros(3)), key=key)
