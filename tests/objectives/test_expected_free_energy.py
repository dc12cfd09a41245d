"""Expected free energy against dense Gaussian algebra, exact enumeration and brute-force Monte Carlo."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.control import PreferredOutcomes, PreferredStates, TargetState
from homeostat.core import AbstractMarkovModel, PlanningContext
from homeostat.distributions import FullGaussian, MonteCarlo
from homeostat.inference.engines import NaturalGradient
from homeostat.inference.filters import GaussianBelief, Kalman, ParticleBelief, VariationalFilter
from homeostat.models.sequential import BayesianLinearDynamics, LinearDynamics, LinearGaussian, StateSpace
from homeostat.objectives import (
    ExpectedFreeEnergy,
    FiniteOutcomes,
    Linearized,
    MomentMatched,
    NestedMonteCarlo,
    PragmaticEpistemic,
    RiskAmbiguity,
    SampledPoints,
    UncertainDynamics,
    WeightedPoints,
    forecast_beliefs,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, FINITE_DIFFERENCES, MONTE_CARLO_STANDARD_ERRORS

FILTER = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(3), num_steps=1)


def tril(rng, size, scale=1.0):
    lower = np.tril(0.3 * rng.standard_normal((size, size)), -1)
    return jnp.asarray(scale * (lower + np.diag(0.5 + rng.random(size))))


@pytest.fixture
def linear():
    rng = np.random.default_rng(3)
    dynamics = LinearDynamics(
        jnp.asarray(0.5 * rng.standard_normal((3, 3))), jnp.asarray(rng.standard_normal((3, 2))), tril(rng, 3, 0.3)
    )
    model = LinearGaussian(
        jnp.zeros(3), jnp.eye(3), dynamics, jnp.asarray(rng.standard_normal((4, 3))), tril(rng, 4), jnp.ones(4)
    )
    belief = GaussianBelief(jnp.asarray(rng.standard_normal(3)), tril(rng, 3))
    actions = jnp.asarray(rng.standard_normal((2, 2)))
    return model, belief, actions


def dense_kl(m, s, m2, s2):
    """KL(N(m, s) || N(m2, s2)) by the textbook formula with explicit inverses."""
    inverse = np.linalg.inv(s2)
    gap = m2 - m
    log_ratio = np.linalg.slogdet(s2)[1] - np.linalg.slogdet(s)[1]
    return 0.5 * (np.trace(inverse @ s) + gap @ inverse @ gap - len(m) + log_ratio)


def dense_predictions(model, belief, actions):
    """Means and covariances of states and observations after each action."""
    a, b, noise = (np.asarray(v) for v in (model.dynamics.matrix, model.dynamics.control, model.dynamics.scale_tril))
    c, r = np.asarray(model.emission_matrix), np.asarray(model.emission_scale_tril @ model.emission_scale_tril.T)
    mean, cov = np.asarray(belief.mean), np.asarray(belief.covariance)
    out = []
    for action in np.asarray(actions):
        mean, cov = a @ mean + b @ action, a @ cov @ a.T + noise @ noise.T
        out.append((mean, cov, c @ mean + np.asarray(model.emission_offset), c @ cov @ c.T + r, r))
    return out


@pytest.mark.parametrize("estimator", [Linearized(), MomentMatched()], ids=["linearized", "moment-matched"])
@pytest.mark.parametrize("filter", [FILTER, Kalman()], ids=["variational", "kalman"])
def test_linear_gaussian_terms_equal_dense_algebra(linear, key, estimator, filter):
    model, belief, actions = linear
    rng = np.random.default_rng(5)
    goal, goal_tril = jnp.asarray(rng.standard_normal(4)), tril(rng, 4)
    preference = PreferredOutcomes(dist.MultivariateNormal(goal, scale_tril=goal_tril))
    energy = ExpectedFreeEnergy(preference, estimator)
    account = eqx.filter_jit(energy.explain)(actions, PlanningContext(model, filter, belief), key=key)
    for t, (mean, cov, obs_mean, obs_cov, noise) in enumerate(dense_predictions(model, belief, actions)):
        goal_cov = np.asarray(goal_tril @ goal_tril.T)
        gap = obs_mean - np.asarray(goal)
        inverse = np.linalg.inv(goal_cov)
        pragmatic = -0.5 * (
            gap @ inverse @ gap + np.trace(inverse @ obs_cov) + np.linalg.slogdet(2 * np.pi * goal_cov)[1]
        )
        ambiguity = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * noise)[1]
        epistemic = 0.5 * (np.linalg.slogdet(obs_cov)[1] - np.linalg.slogdet(noise)[1])
        np.testing.assert_allclose(
            account.terms.risk_nats[t], dense_kl(obs_mean, obs_cov, np.asarray(goal), goal_cov), atol=ALGEBRA
        )
        np.testing.assert_allclose(account.terms.ambiguity_nats[t], ambiguity, atol=ALGEBRA)
        np.testing.assert_allclose(account.terms.pragmatic_nats[t], pragmatic, atol=ALGEBRA)
        np.testing.assert_allclose(account.terms.epistemic_nats[t], epistemic, atol=ALGEBRA)
        np.testing.assert_allclose(account.beliefs.mean[t], mean, atol=ALGEBRA)
        np.testing.assert_allclose(account.beliefs.covariance[t], cov, atol=ALGEBRA)
    # Risk and pragmatic value were computed along different routes, so this identity could fail.
    terms = account.terms
    np.testing.assert_allclose(
        terms.risk_nats + terms.ambiguity_nats, -(terms.pragmatic_nats + terms.epistemic_nats), atol=ALGEBRA
    )
    np.testing.assert_allclose(jnp.sum(RiskAmbiguity()(terms)), account.energy_nats, atol=ALGEBRA)


def test_preferences_over_states_bound_those_over_observations(linear, key):
    """KL(q(s) || p~(s)) = KL(q(x) || p~(x)) + E_q(x) KL(q(s|x) || p~(s|x)), and the two functionals differ as stated."""
    model, belief, actions = linear
    rng = np.random.default_rng(7)
    goal, goal_tril = rng.standard_normal(3), np.asarray(tril(rng, 3))
    goal_cov = goal_tril @ goal_tril.T
    prospect = PlanningContext(model, Kalman(), belief)
    over_states = PreferredStates(dist.MultivariateNormal(jnp.asarray(goal), scale_tril=jnp.asarray(goal_tril)))
    c = np.asarray(model.emission_matrix)
    r = np.asarray(model.emission_scale_tril @ model.emission_scale_tril.T)
    pushed = dist.MultivariateNormal(jnp.asarray(c @ goal + 1.0), covariance_matrix=jnp.asarray(c @ goal_cov @ c.T + r))
    explain = eqx.filter_jit(lambda preference: ExpectedFreeEnergy(preference).explain(actions, prospect, key=key))
    states, outcomes = explain(over_states).terms, explain(PreferredOutcomes(pushed)).terms
    for t, (mean, cov, obs_mean, obs_cov, _) in enumerate(dense_predictions(model, belief, actions)):
        np.testing.assert_allclose(states.risk_nats[t], dense_kl(mean, cov, goal, goal_cov), atol=ALGEBRA)
        # Posterior means are affine in x under both; the expected divergence has a closed form over x ~ q(x).
        gain_q = cov @ c.T @ np.linalg.inv(obs_cov)
        gain_p = goal_cov @ c.T @ np.linalg.inv(c @ goal_cov @ c.T + r)
        post_q, post_p = cov - gain_q @ c @ cov, goal_cov - gain_p @ c @ goal_cov
        shift = mean - (goal + gain_p @ (obs_mean - c @ goal - 1.0))
        spread = (gain_q - gain_p) @ obs_cov @ (gain_q - gain_p).T
        gap = dense_kl(np.zeros(3), post_q, shift, post_p) + 0.5 * np.trace(np.linalg.inv(post_p) @ spread)
        np.testing.assert_allclose(states.risk_nats[t], outcomes.risk_nats[t] + gap, atol=ALGEBRA)
        assert gap > 0.1
        posterior_entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * post_q)[1]
        difference = RiskAmbiguity()(states)[t] - PragmaticEpistemic()(states)[t]
        np.testing.assert_allclose(difference, states.ambiguity_nats[t] - posterior_entropy, atol=ALGEBRA)
        assert abs(difference) > 0.1


class Curved(AbstractMarkovModel):
    """A nonlinear emission whose noise grows with the first coordinate."""

    image: bool = eqx.field(static=True, default=False)

    def initial(self):
        return dist.Normal(jnp.zeros(3), jnp.ones(3)).to_event(1)

    def transition(self, state, action):
        return dist.MultivariateNormal(state, scale_tril=0.1 * jnp.eye(3))

    def emission(self, state):
        grid = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)
        loc = jnp.sin(state[0] + grid) + state[1] * grid + 0.2 * state[2] ** 2
        scale = jnp.full((), 0.4) if self.image else 0.2 + 0.1 * jax.nn.softplus(state[0]) * jnp.ones((3, 4))
        return dist.Normal(loc, scale).to_event(2)


@pytest.mark.parametrize("image", [True, False], ids=["one-noise-level", "noise-depends-on-state"])
def test_nested_monte_carlo_equals_brute_force_on_weighted_points(key, image):
    """Mutual information of a finite mixture, by importance-free simulation of the joint with its exact marginal."""
    model = Curved(image)
    rng = np.random.default_rng(0)
    particles = jnp.asarray(rng.standard_normal((7, 3)))
    log_weights = jax.nn.log_softmax(jnp.asarray(rng.standard_normal(7)))
    belief = ParticleBelief(particles, log_weights)
    estimator = NestedMonteCarlo(256)
    keys = jr.split(key, 64)
    repeats = jax.jit(jax.vmap(lambda k: estimator.information(model, belief, key=k)))(keys)
    # Brute force: loop over samples, scipy-free densities written out.
    count = 20_000
    which = rng.choice(7, size=count, p=np.exp(np.asarray(log_weights)))
    emissions = [model.emission(p) for p in particles]
    locs = np.stack([np.asarray(e.base_dist.loc) for e in emissions])
    scales = np.stack([np.broadcast_to(np.asarray(e.base_dist.scale), (3, 4)) for e in emissions])
    outcomes = locs[which] + scales[which] * rng.standard_normal((count, 3, 4))
    log_likelihood = np.stack(
        [
            (-0.5 * ((outcomes - m) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)).sum((1, 2))
            for m, s in zip(locs, scales, strict=True)
        ],
        1,
    )
    log_marginal = np.log(np.exp(log_likelihood) @ np.exp(np.asarray(log_weights)))
    samples = log_likelihood[np.arange(count), which] - log_marginal
    error = np.hypot(samples.std() / np.sqrt(count), float(repeats.epistemic_nats.std()) / 8.0)
    assert abs(samples.mean() - float(repeats.epistemic_nats.mean())) < MONTE_CARLO_STANDARD_ERRORS * error
    ambiguity = np.exp(np.asarray(log_weights)) @ (0.5 * np.log(2 * np.pi * np.e * scales**2)).sum((1, 2))
    np.testing.assert_allclose(repeats.ambiguity_nats, ambiguity, atol=ALGEBRA)


def test_nested_monte_carlo_agrees_with_the_linear_gaussian_closed_form(linear, key):
    """With drawn states the estimate is a lower bound that tightens: at 2,048 states it is within sampling error."""
    model, belief, _ = linear
    exact = Linearized().information(model, belief, key=key)
    estimator = NestedMonteCarlo(64, SampledPoints(2_048))
    nested = jax.jit(jax.vmap(lambda k: estimator.information(model, belief, key=k)))(jr.split(key, 24))
    error = float(jnp.std(nested.epistemic_nats)) / np.sqrt(24)
    assert (
        abs(float(jnp.mean(nested.epistemic_nats) - exact.epistemic_nats))
        < MONTE_CARLO_STANDARD_ERRORS * error + FINITE_DIFFERENCES
    )
    few = jax.jit(jax.vmap(lambda k: NestedMonteCarlo(64, SampledPoints(4)).information(model, belief, key=k)))(
        jr.split(key, 24)
    )
    assert float(jnp.max(few.epistemic_nats)) <= np.log(4.0) + ALGEBRA
    assert float(jnp.mean(few.epistemic_nats)) < float(exact.epistemic_nats)


def test_gaussian_estimators_approach_monte_carlo_when_the_belief_is_narrow(key):
    """Both expansions against the nested estimator on a curved emission with state-dependent noise."""
    model, belief = Curved(), GaussianBelief(jnp.array([0.3, -0.2, 0.8]), jnp.diag(jnp.array([0.1, 0.05, 0.08])))
    estimate = jax.jit(
        jax.vmap(lambda k: NestedMonteCarlo(128, SampledPoints(1_024)).information(model, belief, key=k))
    )
    nested = estimate(jr.split(key, 32))
    error = float(jnp.std(nested.epistemic_nats)) / np.sqrt(32)
    for estimator in (Linearized(), MomentMatched()):
        information = estimator.information(model, belief, key=key)
        # A belief of width 0.1 on a function of curvature one: the expansion's own error is of second order.
        assert (
            abs(float(information.epistemic_nats - jnp.mean(nested.epistemic_nats)))
            < MONTE_CARLO_STANDARD_ERRORS * error + 0.1**2
        )
        assert abs(float(information.ambiguity_nats - jnp.mean(nested.ambiguity_nats))) < 0.1**2


def test_image_preference_in_latent_dimension_equals_the_dense_formula(key):
    model = Curved(True)
    belief = GaussianBelief(jnp.array([0.3, -0.2, 0.8]), jnp.diag(jnp.array([0.4, 0.2, 0.3])))
    image = model.emission(jnp.array([0.5, 0.1, 0.4])).base_dist.loc
    density = dist.Normal(image, 0.3).to_event(2)
    preferred = PreferredOutcomes(density).compare(Linearized(), model, belief, key=key)
    jacobian = np.asarray(
        eqx.filter_jit(jax.jacobian(lambda s: model.emission(s).base_dist.loc.reshape(-1)))(belief.mean)
    )
    mean = np.asarray(model.emission(belief.mean).base_dist.loc).reshape(-1)
    cov = jacobian @ np.asarray(belief.covariance) @ jacobian.T + 0.16 * np.eye(12)
    np.testing.assert_allclose(
        preferred.risk_nats, dense_kl(mean, cov, np.asarray(image).reshape(-1), 0.09 * np.eye(12)), atol=ALGEBRA
    )
    information = Linearized().information(model, belief, key=key)
    np.testing.assert_allclose(
        preferred.risk_nats + information.ambiguity_nats,
        -(preferred.pragmatic_nats + information.epistemic_nats),
        atol=ALGEBRA,
    )
    np.testing.assert_allclose(information.epistemic_nats, 0.5 * np.linalg.slogdet(cov / 0.16)[1], atol=ALGEBRA)


def test_preferences_that_are_not_gaussian_are_sampled(linear, key):
    model, belief, _ = linear
    heavy = dist.StudentT(5.0, jnp.zeros(4), jnp.ones(4)).to_event(1)
    compare = jax.jit(jax.vmap(lambda k: PreferredOutcomes(heavy).compare(Linearized(), model, belief, key=k)))
    estimates = compare(jr.split(key, 64))
    states = eqx.filter_jit(jax.vmap(lambda k: belief.sample(key=k)))(jr.split(jr.key(1), 20_000))
    outcomes = eqx.filter_jit(jax.vmap(lambda s, k: model.emission(s).sample(k)))(states, jr.split(jr.key(2), 20_000))
    values = eqx.filter_jit(jax.vmap(heavy.log_prob))(outcomes)
    error = np.hypot(float(jnp.std(values)) / np.sqrt(20_000), float(jnp.std(estimates.pragmatic_nats)) / 8.0)
    assert abs(float(jnp.mean(values) - jnp.mean(estimates.pragmatic_nats))) < MONTE_CARLO_STANDARD_ERRORS * error
    information = Linearized().information(model, belief, key=key)
    identity = estimates.risk_nats + information.ambiguity_nats + estimates.pragmatic_nats + information.epistemic_nats
    np.testing.assert_allclose(identity, 0.0, atol=ALGEBRA)


class Signs(AbstractMarkovModel):
    """A state on a short line; three noisy symbols tell where it is, and better on the right."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), jnp.ones(1)).to_event(1)

    def transition(self, state, action):
        return dist.Delta(state + action, event_dim=1)

    def emission(self, state):
        sharpness = 0.5 + jnp.abs(state[0])
        return dist.Categorical(logits=sharpness * jnp.array([state[0], 0.0, -state[0]]))


def test_enumeration_equals_sums_over_the_joint_table(key):
    model = Signs()
    particles = jnp.array([[-1.0], [0.0], [0.5], [2.0]])
    weights = np.array([0.1, 0.4, 0.3, 0.2])
    belief = ParticleBelief(particles, jnp.log(jnp.asarray(weights)))
    preferred = np.array([0.7, 0.2, 0.1])
    preference = PreferredOutcomes(dist.Categorical(probs=jnp.asarray(preferred)))
    estimate = eqx.filter_jit(
        jax.vmap(lambda b, k: NestedMonteCarlo(128).information(model, b, key=k), in_axes=(None, 0))
    )
    for action in (0.0, 0.7):
        moved = ParticleBelief(particles + action, belief.log_weights)
        joint = np.zeros((4, 3))
        for i, state in enumerate(np.asarray(moved.particles)[:, 0]):
            logits = (0.5 + abs(state)) * np.array([state, 0.0, -state])
            joint[i] = weights[i] * np.exp(logits) / np.exp(logits).sum()
        marginal = joint.sum(0)
        information = sum(
            joint[i, x] * np.log(joint[i, x] / weights[i] / marginal[x])
            for i, x in itertools.product(range(4), range(3))
        )
        ambiguity = -sum(
            joint[i, x] * np.log(joint[i, x] / weights[i]) for i, x in itertools.product(range(4), range(3))
        )
        found = FiniteOutcomes().information(model, moved, key=key)
        np.testing.assert_allclose(found.epistemic_nats, information, atol=ALGEBRA)
        np.testing.assert_allclose(found.ambiguity_nats, ambiguity, atol=ALGEBRA)
        compared = preference.compare(FiniteOutcomes(), model, moved, key=key)
        np.testing.assert_allclose(compared.risk_nats, (marginal * np.log(marginal / preferred)).sum(), atol=ALGEBRA)
        np.testing.assert_allclose(compared.pragmatic_nats, (marginal * np.log(preferred)).sum(), atol=ALGEBRA)
        np.testing.assert_allclose(
            compared.risk_nats + found.ambiguity_nats, -(compared.pragmatic_nats + found.epistemic_nats), atol=ALGEBRA
        )
        nested = estimate(moved, jr.split(key, 64))
        error = float(jnp.std(nested.epistemic_nats)) / 8.0
        assert abs(float(jnp.mean(nested.epistemic_nats)) - information) < MONTE_CARLO_STANDARD_ERRORS * error


def test_discrete_states_have_discrete_entropy(key):
    weights = np.array([0.5, 0.25, 0.25, 0.0])
    belief = ParticleBelief(jnp.arange(4.0)[:, None], jnp.log(jnp.asarray(weights)))
    np.testing.assert_allclose(WeightedPoints().entropy(belief, key=key), 1.5 * np.log(2.0), atol=ALGEBRA)
    with pytest.raises(BadInputError, match="finitely many states"):
        WeightedPoints().points(GaussianBelief(jnp.zeros(1), jnp.eye(1)), key=key)


def test_target_state_uses_the_nearest_branch(key):
    target = TargetState(jnp.array([0.95, 0.0]), 0.1, periods=jnp.array([2.0, jnp.inf]))
    near = jnp.array([-1.0, 0.05])
    np.testing.assert_allclose(target.log_prob(near), target.log_prob(near + jnp.array([4.0, 0.0])), atol=ALGEBRA)
    expected = dist.Normal(0.0, 0.1).log_prob(jnp.array([0.05, 0.05])).sum()
    np.testing.assert_allclose(target.log_prob(near), expected, atol=ALGEBRA)
    ignored = TargetState(jnp.array([0.95, 0.0]), jnp.array([jnp.inf, 0.1]))
    np.testing.assert_allclose(ignored.log_prob(near), dist.Normal(0.0, 0.1).log_prob(0.05), atol=ALGEBRA)
    gradient = eqx.filter_jit(eqx.filter_grad(ignored.log_prob))(near)
    assert bool(jnp.all(jnp.isfinite(gradient)))
    with pytest.raises(BadInputError, match="above zero"):
        TargetState(jnp.zeros(2), -0.1)


def test_gaussian_target_has_the_closed_form_risk(linear, key):
    _, belief, _ = linear
    compared = TargetState(jnp.ones(3), 0.7).compare(Linearized(), Curved(), belief, key=key)
    expected = dense_kl(np.asarray(belief.mean), np.asarray(belief.covariance), np.ones(3), 0.49 * np.eye(3))
    np.testing.assert_allclose(compared.risk_nats, expected, atol=ALGEBRA)


def test_parameter_information_is_the_average_over_the_belief(key):
    dynamics = BayesianLinearDynamics.prior(3, 2)
    rng = np.random.default_rng(1)
    for _ in range(6):
        z, u = jnp.asarray(rng.standard_normal(3)), jnp.asarray(rng.standard_normal(2))
        dynamics = dynamics.update(z, u, 0.9 * z + 0.1)
    prior = dist.Normal(jnp.zeros(3), jnp.ones(3)).to_event(1)
    model = StateSpace(prior, dynamics.expected(), Curved(True))
    belief = GaussianBelief(jnp.asarray(rng.standard_normal(3)), 0.5 * jnp.eye(3))
    actions = jnp.asarray(rng.standard_normal((2, 2)))
    energy = ExpectedFreeEnergy(TargetState(jnp.zeros(3), 1.0), parameters=UncertainDynamics(dynamics))
    prospect = PlanningContext(model, FILTER, belief)
    account = eqx.filter_jit(energy.explain)(actions, prospect, key=key)
    states = eqx.filter_jit(jax.vmap(lambda k: belief.sample(key=k)))(jr.split(key, 4_000))
    gains = jax.jit(jax.vmap(lambda s: dynamics.information_gain(s, actions[0])))(states)
    # Cubature is exact to third order; the gain is a logarithm of a quadratic.
    np.testing.assert_allclose(account.terms.parameter_information_nats[0], jnp.mean(gains), rtol=0.05)
    without = ExpectedFreeEnergy(TargetState(jnp.zeros(3), 1.0))
    plain = eqx.filter_jit(without.pointwise)(actions, prospect, key=key)
    difference = plain - account.energy_nats
    np.testing.assert_allclose(difference, jnp.sum(account.terms.parameter_information_nats), atol=ALGEBRA)
    # A second step is judged from where the first one leads.
    after = jax.jit(lambda: forecast_beliefs(prospect, actions, key=key))()
    centre = dynamics.information_gain(after.loc[0], actions[1])
    np.testing.assert_allclose(account.terms.parameter_information_nats[1], centre, rtol=0.3)


def test_expectation_over_plans_and_transforms(linear, key):
    model, belief, actions = linear
    preference = TargetState(jnp.zeros(3), 1.0)
    energy = ExpectedFreeEnergy(preference, expectation=MonteCarlo(8))
    prospect = PlanningContext(model, Kalman(), belief)
    plans = dist.Normal(actions, 0.3).to_event(2)
    value = eqx.filter_jit(energy)(plans, prospect, key=key)
    samples = energy.expectation.points(plans, key=jr.split(key)[0]).values
    pointwise = jax.jit(lambda a: energy.pointwise(a, prospect, key=key))
    looped = [float(pointwise(a) + plans.log_prob(a)) for a in samples]
    np.testing.assert_allclose(value, np.mean(looped), atol=ALGEBRA)
    gradient = jax.jit(jax.grad(pointwise))(actions)
    step = 1e-5
    for index in np.ndindex(2, 2):
        bump = jnp.zeros((2, 2)).at[index].set(step)
        slope = (pointwise(actions + bump) - pointwise(actions - bump)) / (2 * step)
        np.testing.assert_allclose(gradient[index], slope, rtol=FINITE_DIFFERENCES)


def test_emissions_that_do_not_fit_are_refused(linear, key):
    _, belief, _ = linear
    with pytest.raises(BadInputError, match="Gaussian emission"):
        Linearized().information(Signs(), GaussianBelief(jnp.zeros(1), jnp.eye(1)), key=key)
    with pytest.raises(BadInputError, match="finitely many"):
        FiniteOutcomes(SampledPoints(3)).information(Curved(), belief, key=key)
