"""Linear dynamics, second-order systems, circles, compositions, and their messages for bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings, strategies as st

from homeostat.distributions import GaussianMoments
from homeostat.models.sequential import (
    LinearDynamics,
    LinearGaussian,
    Measurement,
    Periodic,
    StateSpace,
    in_displacement_coordinates,
    second_order,
)
from homeostat.models.sequential._validation import scale_tril_of
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS


def _model(dynamics: LinearDynamics, size: int) -> LinearGaussian:
    dim = dynamics.dim
    return LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, jnp.eye(size, dim), 0.1 * jnp.eye(size))


def test_a_transition_is_its_formula(key):
    keys = jr.split(key, 4)
    matrix, control, offset = jr.normal(keys[0], (3, 3)), jr.normal(keys[1], (3, 2)), jr.normal(keys[2], (3,))
    scale_tril = jnp.array([[1.0, 0.0, 0.0], [0.4, 0.5, 0.0], [-0.2, 0.1, 2.0]])
    dynamics = LinearDynamics(matrix, control, scale_tril, offset)
    state, action = jnp.array([1.0, 2.0, -1.0]), jnp.array([0.5, -1.0])
    transition = dynamics(state, action)
    expected = dist.MultivariateNormal(matrix @ state + control @ action + offset, scale_tril @ scale_tril.T)
    assert jnp.abs(transition.log_prob(state) - expected.log_prob(state)) < ALGEBRA
    assert jnp.abs(dynamics(state).mean - (matrix @ state + offset)).max() < ALGEBRA
    assert jnp.abs(dynamics.mean(state, jnp.array([1, 0])) - (matrix @ state + control[:, 0] + offset)).max() < ALGEBRA
    coefficients = jnp.concatenate([matrix, control, offset[:, None]], axis=1)
    again = LinearDynamics.from_coefficients(coefficients, scale_tril, action_dim=2)
    assert jnp.abs(again.mean(state, action) - transition.mean).max() < ALGEBRA
    without = LinearDynamics.from_coefficients(coefficients[:, :-1], scale_tril, action_dim=2)
    assert jnp.abs(without.mean(state, action) + offset - transition.mean).max() < ALGEBRA


def test_a_rollout_has_the_noise_of_its_factor(key):
    scale_tril = jnp.array([[0.3, 0.0], [0.2, 0.1]])
    dynamics = LinearDynamics(jnp.array([[0.9, 0.1], [0.0, 0.8]]), jnp.ones((2, 1)), scale_tril)
    actions = jr.normal(key, (20_000, 1))
    states = dynamics.rollout(jnp.array([1.0, -1.0]), actions, key=key)
    assert states.shape == (20_001, 2)
    assert jnp.all(states[0] == jnp.array([1.0, -1.0]))
    noise = states[1:] - eqx.filter_jit(eqx.filter_vmap(dynamics.mean))(states[:-1], actions)
    covariance = scale_tril @ scale_tril.T
    # Variance of a product of two zero-mean Gaussians: s_ii s_jj + s_ij^2.
    variance = jnp.diagonal(covariance)[:, None] * jnp.diagonal(covariance)[None, :] + covariance**2
    error = jnp.abs(noise.T @ noise / 20_000 - covariance) / jnp.sqrt(variance / 20_000)
    assert error.max() < MONTE_CARLO_STANDARD_ERRORS


def test_a_second_order_step_is_semi_implicit_euler(key):
    step, damping = 0.5, 0.2
    gain = jnp.array([[1.0, 0.5, 0.0], [0.0, 2.0, -1.0]])
    dynamics = second_order(2, step=step, damping=damping, position_scale=0.3, velocity_scale=0.7, gain=gain)
    position, velocity, action = jnp.array([1.0, 2.0]), jnp.array([-1.0, 0.5]), jnp.array([0.3, -0.2, 1.0])
    fast = (1.0 - damping) * velocity + step * gain @ action
    expected = jnp.concatenate([position + step * fast, fast])
    assert jnp.abs(dynamics.mean(jnp.concatenate([position, velocity]), action) - expected).max() < ALGEBRA
    eye = jnp.eye(2)
    through = jnp.concatenate([step * eye, eye]) * 0.7
    noise = through @ through.T + jax.scipy.linalg.block_diag(0.3**2 * eye, 0.0 * eye)
    assert jnp.abs(dynamics.scale_tril @ dynamics.scale_tril.T - noise).max() < ALGEBRA


def test_displacement_coordinates_change_nothing_that_is_observed(key):
    """A scrambled hidden half is brought back to velocities, and observations keep their distribution."""
    true = _model(second_order(2, damping=0.1), 2)
    mix = jnp.block([[jnp.eye(2), jnp.zeros((2, 2))], [jr.normal(key, (2, 2)), jnp.array([[2.0, 0.3], [-0.5, 1.0]])]])
    inverse = jnp.linalg.inv(mix)
    factor = lambda root: jnp.linalg.cholesky(root @ root.T)  # noqa: E731
    scrambled = LinearGaussian(
        mix @ true.initial_mean,
        factor(mix @ true.initial_scale_tril),
        LinearDynamics(
            mix @ true.dynamics.matrix @ inverse, mix @ true.dynamics.control, factor(mix @ true.dynamics.scale_tril)
        ),
        true.emission_matrix @ inverse,
        true.emission_scale_tril,
    )
    first, second = in_displacement_coordinates(true), in_displacement_coordinates(scrambled)
    for left, right in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert jnp.abs(left - right).max() < ALGEBRA
    assert jnp.abs(second.dynamics.matrix[:2] - jnp.eye(2, 4) - jnp.eye(2, 4, 2)).max() < ALGEBRA
    assert jnp.abs(second.emission_matrix - jnp.eye(2, 4)).max() < ALGEBRA


def test_a_composition_uses_its_parts(key):
    dynamics = LinearDynamics(jnp.eye(2), jnp.eye(2), 0.1 * jnp.eye(2))
    prior = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    emission = lambda z: dist.Normal(jnp.sum(z), 0.5)  # noqa: E731
    model = StateSpace(prior, dynamics, emission)
    state, action = jnp.array([1.0, 2.0]), jnp.array([0.5, 0.0])
    assert model.initial() is prior
    assert jnp.abs(model.transition(state, action).mean - jnp.array([1.5, 2.0])).max() < ALGEBRA
    assert model.emission(state).loc == 3.0
    nested = StateSpace(model.initial, model.transition, model)
    assert nested.emission(state).loc == 3.0
    assert nested.initial() is prior


def test_a_sample_has_one_more_state_than_actions(key):
    model = _model(second_order(2), 2)
    trajectory = model.sample(jnp.zeros((5, 2)), key=key)
    assert trajectory.states.shape == (6, 4)
    assert trajectory.observations.shape == (6, 2)


@settings(deadline=None, max_examples=50)
@given(st.floats(-50.0, 50.0), st.floats(-50.0, 50.0))
def test_the_nearest_branch_is_equivalent_and_at_most_half_a_period_away(value, reference):
    periodic = Periodic([2.0, jnp.inf])
    values, references = jnp.array([value, value]), jnp.array([reference, reference])
    nearest = periodic.nearest(values, references)
    turns = (nearest[0] - value) / 2.0
    assert jnp.abs(turns - jnp.round(turns)) < ALGEBRA
    assert jnp.abs(nearest[0] - reference) <= 1.0 + ALGEBRA
    assert jnp.abs(nearest[1] - value) < ALGEBRA


def test_wrapping_takes_away_whole_turns(key):
    path = jnp.cumsum(jr.uniform(key, (100, 2), minval=-0.9, maxval=0.9), axis=0)
    periodic = Periodic([2.0, jnp.inf])
    wrapped = periodic.wrap(path)
    assert jnp.abs(wrapped[:, 0]).max() <= 1.0
    turns = (path[:, 0] - wrapped[:, 0]) / 2.0
    assert jnp.abs(turns - jnp.round(turns)).max() < ALGEBRA
    assert jnp.array_equal(wrapped[:, 1], path[:, 1])


def test_a_measurement_is_a_posterior_without_its_prior(key):
    """Conditioning the prior on the measurement gives the posterior back."""
    keys = jr.split(key, 2)
    prior = GaussianMoments(jnp.array([1.0, -1.0]), jnp.array([[1.0, 0.0], [0.5, 2.0]]))
    noise = jnp.array([[0.5, 0.0], [-0.2, 0.3]])
    value = jr.normal(keys[0], (2,))
    precision = lambda factor: jnp.linalg.inv(factor @ factor.T)  # noqa: E731
    covariance = jnp.linalg.inv(precision(prior.scale_tril) + precision(noise))
    mean = covariance @ (precision(prior.scale_tril) @ prior.loc + precision(noise) @ value)
    measurement = Measurement.from_posterior(GaussianMoments(mean, jnp.linalg.cholesky(covariance)), prior)
    assert jnp.abs(measurement.value - value).max() < ALGEBRA
    assert jnp.abs(measurement.scale_tril - jnp.linalg.cholesky(noise @ noise.T)).max() < ALGEBRA
    wider = GaussianMoments(prior.loc, 2.0 * prior.scale_tril)
    assert jnp.all(jnp.isnan(Measurement.from_posterior(wider, prior).value))


def test_a_factor_of_a_covariance(key):
    root = jr.normal(key, (3, 5))
    factor = scale_tril_of(root @ root.T)
    assert jnp.abs(factor @ factor.T - root @ root.T).max() < ALGEBRA
    assert jnp.abs(jnp.triu(factor, 1)).max() == 0.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearDynamics(jnp.ones((2, 3))), "dynamics matrix A of shape"),
        (lambda: LinearDynamics(jnp.eye(2), jnp.ones((3, 1))), "control matrix B of shape"),
        (lambda: LinearDynamics(jnp.eye(2), None, jnp.diag(jnp.array([1.0, -1.0]))), "positive definite"),
        (lambda: LinearDynamics(jnp.eye(2), None, jnp.diag(jnp.array([1.0, jnp.nan]))), "positive definite"),
        (lambda: LinearDynamics(jnp.eye(2), None, jnp.ones((2, 2))), "lower triangular"),
        (lambda: LinearDynamics(jnp.eye(2), jnp.eye(2)).mean(jnp.zeros(2), jnp.zeros(3)), "action of shape"),
        (lambda: LinearDynamics.from_coefficients(jnp.ones((2, 7)), jnp.eye(2), action_dim=2), "columns"),
        (
            lambda: LinearGaussian(jnp.zeros(3), jnp.eye(2), LinearDynamics(jnp.eye(2)), jnp.eye(2), jnp.eye(2)),
            "initial mean of shape",
        ),
        (
            lambda: LinearGaussian(jnp.zeros(2), jnp.eye(2), LinearDynamics(jnp.eye(2)), jnp.eye(2), -jnp.eye(2)),
            "emission scale_tril",
        ),
        (lambda: Measurement(jnp.zeros((4, 2)), jnp.eye(2)), "one noise factor"),
        (lambda: Periodic([2.0, -1.0]), "positive periods"),
        (lambda: Periodic([2.0]).wrap(jnp.zeros(2)), "one for each period"),
        (lambda: scale_tril_of(jnp.array([[1.0, 2.0], [2.0, 1.0]])), "positive definite"),
        (lambda: scale_tril_of(jnp.array([[1.0, 2.0], [0.0, 1.0]])), "symmetric"),
        (lambda: scale_tril_of(jnp.ones((2, 3))), "square"),
        (lambda: second_order(2, damping=1.5), "damping"),
        (lambda: second_order(0), "dim >= 1"),
        (lambda: second_order(2, gain=jnp.ones((3, 1))), "gain of shape"),
        (lambda: in_displacement_coordinates(_model(LinearDynamics(jnp.eye(3)), 1)), "as many hidden"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(BadInputError, match=message):
        build()
