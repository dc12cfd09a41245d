"""Path energies against sums written out by hand."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.core import AbstractMarkovModel, PlanningContext
from homeostat.distributions import DiagonalGaussian, MonteCarlo, ScoreFunction
from homeostat.inference.filters import CategoricalBelief, GaussianBelief, Kalman, Particle
from homeostat.models.sequential import LinearDynamics, StateSpace
from homeostat.objectives import PathEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

MATRIX = jnp.array([[0.9, 0.2], [-0.1, 0.8]])
CONTROL = jnp.array([[0.0], [1.0]])


def prospect(noise, spread):
    prior = dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1)
    model = StateSpace(
        prior, LinearDynamics(MATRIX, CONTROL, noise * jnp.eye(2)), lambda s: dist.Normal(s, 1.0).to_event(1)
    )
    return PlanningContext(model, Kalman(), GaussianBelief(jnp.array([1.0, -0.5]), spread * jnp.eye(2)))


def cost(state, action):
    return jnp.sum(state**2) + 0.1 * jnp.sum(action**2)


def quadratic_cost(actions, noise, spread):
    """E[cost] along the path by propagating mean and covariance."""
    mean, cov = np.array([1.0, -0.5]), spread**2 * np.eye(2)
    total = []
    for action in np.asarray(actions):
        mean = np.asarray(MATRIX) @ mean + np.asarray(CONTROL) @ action
        cov = np.asarray(MATRIX) @ cov @ np.asarray(MATRIX).T + noise**2 * np.eye(2)
        total.append(mean @ mean + np.trace(cov) + 0.1 * action @ action)
    return np.array(total), 2.0 * mean[0] ** 2 + 2.0 * cov[0, 0]


def test_certain_paths_cost_what_the_sum_says(key):
    actions = jnp.array([[0.3], [-0.2], [0.7]])
    energy = PathEnergy(cost, lambda s: 2.0 * s[0] ** 2, num_paths=2, temperature=0.5)
    account = eqx.filter_jit(energy.explain)(actions, prospect(1e-9, 1e-9), key=key)
    steps, last = quadratic_cost(actions, 0.0, 0.0)
    np.testing.assert_allclose(account.cost, steps, atol=AUTODIFF)
    np.testing.assert_allclose(account.energy_nats, (steps.sum() + last) / 0.5, atol=AUTODIFF)


def test_expected_cost_of_uncertain_paths(key):
    actions = jnp.array([[0.3], [-0.2], [0.7]])
    energy = PathEnergy(cost, num_paths=64)
    estimate = eqx.filter_jit(jax.vmap(lambda k: energy.pointwise(actions, prospect(0.3, 0.4), key=k)))
    values = np.asarray(estimate(jr.split(key, 200)))
    exact = quadratic_cost(actions, 0.3, 0.4)[0].sum()
    assert abs(values.mean() - exact) < MONTE_CARLO_STANDARD_ERRORS * values.std() / np.sqrt(200)


def test_gradient_reaches_the_actions_through_the_model(key):
    where = prospect(1e-9, 1e-9)
    energy = PathEnergy(cost, num_paths=1)
    actions = jnp.array([[0.3], [-0.2]])
    gradient = jax.jit(jax.grad(lambda a: energy.pointwise(a, where, key=key)))(actions)
    bump = 1e-4
    for t in range(2):
        up, down = (quadratic_cost(actions.at[t, 0].add(s), 0.0, 0.0)[0].sum() for s in (bump, -bump))
        np.testing.assert_allclose(gradient[t, 0], (up - down) / (2 * bump), atol=AUTODIFF)


def test_plans_share_their_noise_and_the_expectation_includes_entropy(key):
    where = prospect(0.3, 0.4)
    energy = PathEnergy(cost, num_paths=4, expectation=MonteCarlo(3))
    plans = dist.Normal(jnp.zeros((2, 1)), 0.1).to_event(2)
    value = energy(plans, where, key=key)
    point_key, energy_key = jr.split(key)
    samples = energy.expectation.points(plans, key=point_key).values
    by_hand = [float(energy.pointwise(a, where, key=energy_key) + plans.log_prob(a)) for a in samples]
    np.testing.assert_allclose(value, np.mean(by_hand), atol=ALGEBRA)


def test_bad_settings_are_refused():
    with pytest.raises(BadInputError, match="at least one sampled path"):
        PathEnergy(cost, num_paths=0)
    with pytest.raises(BadInputError, match="temperature above zero"):
        PathEnergy(cost, temperature=0.0)


@final
class Switch(AbstractMarkovModel):
    """Two states; a real action says how likely the second one is next."""

    def initial(self):
        return dist.CategoricalLogits(jnp.zeros(2))

    def transition(self, state, action):
        return dist.CategoricalLogits(jnp.stack([jnp.zeros(()), action[0]]))

    def emission(self, state):
        return dist.Normal(jnp.asarray(state, float), 1.0)


def test_paths_of_discrete_states_are_not_differentiated(key):
    """Their draws carry no gradient: what is left of it, that of the action's own cost, is not that of the energy."""
    context = PlanningContext(Switch(), Particle(8), CategoricalBelief(jnp.log(jnp.full(2, 0.5))))
    energy = PathEnergy(lambda state, action: state + 0.1 * action[0])
    plan = jnp.zeros((3, 1))
    assert jnp.isfinite(energy.pointwise(plan, context, key=key))
    with pytest.raises(BadInputError, match=r"discrete states.*`Enumeration\(\)` or `ScoreFunction\(\)`"):
        jax.grad(energy.pointwise)(plan, context, key=key)
    family, fixed = DiagonalGaussian(3), PathEnergy(energy.cost, expectation=ScoreFunction(4))

    def of_plans(params):
        q = family(params)
        reshaped = dist.TransformedDistribution(q, dist.transforms.ReshapeTransform((3, 1), (3,)))
        return fixed(reshaped, context, key=key)

    slope = eqx.filter_jit(jax.grad(of_plans))(family.init())
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in slope)
