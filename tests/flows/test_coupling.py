"""Flows: exact densities of their samples, a Gaussian start, and posteriors that no Gaussian fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import paramax
import pytest
from flowjax.bijections import RationalQuadraticSpline
from jax.flatten_util import ravel_pytree

from homeostat.core import AbstractModel
from homeostat.distributions import FullGaussian, MonteCarlo
from homeostat.flows import ConditionalFlow, NormalizingFlow
from homeostat.flows._coupling import ConditionalFlowParams, FlowParams
from homeostat.inference import infer
from homeostat.inference.engines import Gradient
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from homeostat.testing import check_normalisation
from tolerances import ALGEBRA, AUTODIFF, FINITE_DIFFERENCES, MONTE_CARLO_STANDARD_ERRORS

CONTEXT = 3


class Banana(AbstractModel):
    """z ~ N(0, I) in the plane, x ~ N(z_2 - z_1^2, 0.3^2): a curved posterior."""

    def initial(self):
        return dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1)

    def emission(self, state):
        return dist.Normal(state[1:] - state[:1] ** 2, 0.3).to_event(1)


def moved(tree, key, size=0.5):
    flat, unravel = ravel_pytree(eqx.filter(tree, eqx.is_inexact_array))
    noisy = unravel(flat + size * jr.normal(key, flat.shape))
    return eqx.combine(noisy, eqx.filter(tree, eqx.is_inexact_array, inverse=True))


def conditional(key, dim=2, **options):
    """A conditional flow whose weights are not those of the start."""
    build_key, move_key = jr.split(key)
    family = ConditionalFlow(dim, CONTEXT, width=8, key=build_key, **options)
    return eqx.tree_at(lambda f: f.bijection, family, moved(family.bijection, move_key))


def members(key):
    """A bent member of every flow, in two and in five dimensions."""
    keys = jr.split(key, 4)
    for dim in (2, 5):
        family = NormalizingFlow(dim, num_layers=3, width=8, key=keys[0])
        yield family(moved(family.init(), keys[1]))
        family = conditional(keys[2], dim)
        yield family(moved(family.init(), keys[3]))


def test_the_start_is_the_standard_gaussian(key):
    point, normal = jr.normal(key, (5,)), dist.Normal(jnp.zeros(5), jnp.ones(5)).to_event(1)
    for family in (NormalizingFlow(5, key=key), ConditionalFlow(5, CONTEXT, key=key)):
        np.testing.assert_allclose(family(family.init()).log_prob(point), normal.log_prob(point), rtol=ALGEBRA)
    conditioned = ConditionalFlow(5, CONTEXT, key=key)
    params = ConditionalFlowParams(jnp.arange(5.0), 0.1 * jnp.arange(5.0), jnp.ones(CONTEXT))
    diagonal = dist.Normal(params.loc, jnp.exp(params.log_scale)).to_event(1)
    np.testing.assert_allclose(conditioned(params).log_prob(point), diagonal.log_prob(point), rtol=ALGEBRA)


def test_the_density_of_a_sample_is_that_of_its_noise_over_the_volume(key):
    for q in members(key):
        start = jr.normal(key, q.event_shape)

        def push(z, q):
            return q.bijection.transform(q.loc + jnp.exp(q.log_scale) * z, q.condition)

        _, log_volume = np.linalg.slogdet(jax.jit(jax.jacfwd(push))(start, q))
        expected = dist.Normal(jnp.zeros(q.event_shape), 1.0).to_event(1).log_prob(start) - log_volume
        got = jax.jit(lambda z, q: q.log_prob(push(z, q)))(start, q)
        np.testing.assert_allclose(got, expected, rtol=ALGEBRA)


def test_densities_integrate_to_one(key):
    for q in members(key):
        check_normalisation(q, key=key)


def test_a_family_without_search_holds_every_gaussian(key):
    samples = jr.normal(key, (50, 3)) @ jnp.asarray([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 2.0]]).T + 1.0
    weights = jnp.full(50, 0.02)
    family, gaussian = NormalizingFlow(3, fit_steps=0, key=key), FullGaussian(3)
    got, expected = family(family.fit(samples, weights)), gaussian(gaussian.fit(samples, weights))
    np.testing.assert_allclose(got.log_prob(samples[0]), expected.log_prob(samples[0]), rtol=ALGEBRA)


@pytest.mark.slow
def test_fit_finds_more_than_the_gaussian(key):
    noise = jr.normal(key, (1000, 2))
    bent = jnp.stack([noise[:, 0], 0.3 * noise[:, 1] + noise[:, 0] ** 2], axis=1)
    weights, gaussian = jnp.full(1000, 1e-3), FullGaussian(2)
    by_gaussian = jnp.mean(eqx.filter_jit(jax.vmap(gaussian(gaussian.fit(bent, weights)).log_prob))(bent))
    family = NormalizingFlow(2, width=16, key=key)
    by_flow = jnp.mean(eqx.filter_jit(jax.vmap(family(family.fit(bent, weights)).log_prob))(bent))
    # The entropy of the truth is 0.85 nats below that of its Gaussian.
    assert by_flow > by_gaussian + 0.5
    shared = conditional(key)
    beneath = shared(ConditionalFlowParams(jnp.ones(2), jnp.zeros(2), jnp.ones(CONTEXT)))
    drawn = beneath.sample(key, (1000,))
    search, start = shared.fit(drawn, weights), conditional(key, fit_steps=0).fit(drawn, weights)
    score = lambda params: jnp.mean(jax.vmap(shared(params).log_prob)(drawn))  # noqa: E731
    assert score(search) > score(start) + 0.01


def test_pathwise_gradients_agree_with_finite_differences(key):
    family = NormalizingFlow(2, num_layers=2, width=4, key=key)
    objective, args = FreeEnergy(Banana(), MonteCarlo(4)), Evidence(jnp.ones(1))
    params, direction = moved(family.init(), key), jr.normal(key, family.init().weights.shape)

    @jax.jit
    def energy(step):
        return objective(family(FlowParams(params.weights + step * direction)), args, key=key)

    size = 1e-5
    difference = (energy(size) - energy(-size)) / (2.0 * size)
    np.testing.assert_allclose(jax.jit(jax.grad(energy))(0.0), difference, rtol=FINITE_DIFFERENCES, atol=AUTODIFF)


@pytest.mark.slow
def test_a_curved_posterior_is_found_where_a_gaussian_falls_short(key):
    observation, judge = jnp.ones(1), FreeEnergy(Banana(), MonteCarlo(4000))
    grid = jnp.linspace(-6.0, 8.0, 801)
    points = jnp.stack(jnp.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    energies = eqx.filter_jit(jax.vmap(lambda z: judge.pointwise(z, Evidence(observation), key=key)))(points)
    exact = -jax.nn.logsumexp(-energies) - 2.0 * jnp.log(grid[1] - grid[0])

    def bound(family):
        objective = FreeEnergy(Banana(), MonteCarlo(16))
        engine = Gradient(optax.adam(optax.cosine_decay_schedule(2e-2, 1500)))
        found = infer(objective, engine, family, Evidence(observation), key=key, num_steps=1500)
        return judge(family(found.params), Evidence(observation), key=key)

    by_flow, by_gaussian = bound(NormalizingFlow(2, width=16, key=key)), bound(FullGaussian(2))
    assert exact - 0.02 < by_flow < exact + 0.05
    assert by_gaussian > exact + 0.2


def test_shared_weights_are_learned_through_the_family(key):
    family, objective = conditional(key), FreeEnergy(Banana(), MonteCarlo(2))
    params = ConditionalFlowParams(jnp.zeros(2), jnp.zeros(2), jnp.ones(CONTEXT))

    def energy(flow, params):
        return objective(flow(params), Evidence(jnp.ones(1)), key=key)

    in_weights = ravel_pytree(eqx.filter_jit(eqx.filter_grad(energy))(family, params))[0]
    assert np.all(np.isfinite(in_weights))
    assert np.mean(np.asarray(in_weights) != 0.0) > 0.5
    assert np.all(np.asarray(eqx.filter_jit(jax.grad(energy, 1))(family, params).context) != 0.0)
    other = params._replace(context=-params.context)
    assert family(params).log_prob(jnp.ones(2)) != family(other).log_prob(jnp.ones(2))


def test_what_flowjax_marks_as_fixed_stays_fixed(key):
    family = NormalizingFlow(2, width=4, key=key)
    affine = lambda f: f.bijection.bijections[1]  # noqa: E731
    fixed = eqx.tree_at(affine, family, paramax.non_trainable(affine(family)))
    # A shift of two numbers and a matrix of four.
    assert fixed.init().weights.size == family.init().weights.size - 6
    same = fixed(fixed.init()).log_prob(jnp.ones(2))
    np.testing.assert_allclose(same, family(family.init()).log_prob(jnp.ones(2)), rtol=ALGEBRA)


def test_another_transformer(key):
    spline = RationalQuadraticSpline(knots=4, interval=3.0)
    family = NormalizingFlow(3, num_layers=2, width=4, transformer=spline, key=key)
    q = family(moved(family.init(), key, 0.3))
    value, back = q.sample(key), q.bijection
    np.testing.assert_allclose(back.transform(back.inverse(value)), value, rtol=AUTODIFF)
    check_normalisation(q, key=key)


def test_distributions_pass_through_transformations(key):
    family, keys = NormalizingFlow(2, num_layers=2, width=4, key=key), jr.split(key, 3)
    params = eqx.filter_jit(jax.vmap(lambda k: moved(family.init(), k)))(keys)
    many = jax.jit(jax.vmap(family))(params)
    values = eqx.filter_jit(jax.vmap(lambda q, k: q.sample(k)))(many, keys)
    mapped = jax.jit(jax.vmap(lambda q, x: q.log_prob(x)))(many, values)
    alone = jax.jit(lambda w, x: family(FlowParams(w)).log_prob(x))
    looped = [alone(w, x) for w, x in zip(params.weights, values, strict=True)]
    np.testing.assert_allclose(mapped, looped, rtol=ALGEBRA)
    one = family(FlowParams(params.weights[0]))
    assert one.sample(key, (4, 2)).shape == (4, 2, 2)
    # The score of samples has mean zero.
    drawn = jax.jit(lambda q: q.sample(key, (2000,)))(one)
    score = jax.grad(lambda weights, x: family(FlowParams(weights)).log_prob(x))
    scores = jax.jit(jax.vmap(score, (None, 0)))(params.weights[0], drawn)
    error = np.std(scores, axis=0) / np.sqrt(2000)
    assert np.all(np.abs(np.mean(np.asarray(scores), axis=0)) <= MONTE_CARLO_STANDARD_ERRORS * error + ALGEBRA)


def test_impossible_flows_are_refused(key):
    with pytest.raises(BadInputError, match="two variables"):
        NormalizingFlow(1, key=key)
    with pytest.raises(BadInputError, match="one layer"):
        NormalizingFlow(2, num_layers=0, key=key)
    with pytest.raises(BadInputError, match="context"):
        ConditionalFlow(2, 0, key=key)
