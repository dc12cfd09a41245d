"""Bayesian linear regression against dense formulas, quadrature and Monte Carlo."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from homeostat.distributions import MatrixNormalInverseWishart, positive_tria
from homeostat.results import BadInputError
from tolerances import ALGEBRA, FINITE_DIFFERENCES, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

DIM, WIDTH, COUNT = 2, 3, 12


@pytest.fixture
def prior() -> MatrixNormalInverseWishart:
    return MatrixNormalInverseWishart.prior(
        jnp.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]),
        precision_tril=jnp.array([[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.1, -0.2, 0.9]]),
        scale_tril=jnp.array([[0.8, 0.0], [0.2, 1.1]]),
        degrees=6.0,
    )


@pytest.fixture
def data(key):
    regressors_key, noise_key = jr.split(key)
    regressors = jr.normal(regressors_key, (COUNT, WIDTH))
    targets = regressors @ jr.normal(noise_key, (WIDTH, DIM)) + 0.3 * jr.normal(noise_key, (COUNT, DIM))
    return regressors, targets


def test_the_posterior_is_the_textbook_one(prior, data):
    """Lambda' = Lambda + X^T X, M' = (M Lambda + Y^T X) Lambda'^-1, Psi' = Psi + Y^T Y + M Lambda M^T - M' Lambda' M'^T."""
    x, y = (np.asarray(part) for part in data)
    precision = np.asarray(prior.precision_tril @ prior.precision_tril.T)
    mean, psi = np.asarray(prior.mean), np.asarray(prior.scale_tril @ prior.scale_tril.T)
    precision_after = precision + x.T @ x
    mean_after = (mean @ precision + y.T @ x) @ np.linalg.inv(precision_after)
    psi_after = psi + y.T @ y + mean @ precision @ mean.T - mean_after @ precision_after @ mean_after.T
    posterior = prior.update_batch(*data)
    assert jnp.abs(posterior.precision_tril @ posterior.precision_tril.T - precision_after).max() < ALGEBRA
    assert jnp.abs(posterior.mean - mean_after).max() < ALGEBRA
    assert jnp.abs(posterior.scale_tril @ posterior.scale_tril.T - psi_after).max() < ALGEBRA
    assert posterior.degrees == 6.0 + COUNT
    assert jnp.abs(posterior.noise_tril @ posterior.noise_tril.T - psi_after / (6.0 + COUNT - DIM - 1)).max() < ALGEBRA


def test_one_by_one_equals_all_at_once(prior, data):
    online, _ = jax.lax.scan(lambda belief, datum: (belief.update(*datum), None), prior, data)
    batch = prior.update_batch(*data)
    assert jnp.abs(online.factor - batch.factor).max() < ALGEBRA
    assert online.degrees == batch.degrees


def test_moments_of_certain_data_are_the_data(prior, data):
    columns = jnp.concatenate(data, axis=1).T
    root = positive_tria(columns)
    assert jnp.abs(root @ root.T - columns @ columns.T).max() < ALGEBRA
    moments = prior.update_moments(root, COUNT)
    assert jnp.abs(moments.factor - prior.update_batch(*data).factor).max() < ALGEBRA


def test_forgetting_weighs_old_data_geometrically(prior, data):
    decay = 0.9
    online, _ = jax.lax.scan(lambda belief, datum: (belief.update(*datum, forgetting=decay), None), prior, data)
    weights = jnp.sqrt(decay ** jnp.arange(COUNT)[::-1])[:, None]
    rows = jnp.concatenate(data, axis=1) * weights
    expected = positive_tria(jnp.concatenate([decay ** (COUNT / 2) * prior.factor, rows.T], axis=1))
    assert jnp.abs(online.factor - expected).max() < ALGEBRA
    degrees = decay**COUNT * 6.0 + (1.0 - decay**COUNT) / (1.0 - decay)
    assert jnp.abs(online.degrees - degrees) < ALGEBRA


def log_normalizer(belief: MatrixNormalInverseWishart) -> jax.Array:
    """log Z: its increase over an update, less (d / 2) log(2 pi) a datum, is the data's log marginal likelihood."""
    log_precision, log_scale = (
        2.0 * jnp.sum(jnp.log(jnp.diagonal(tril))) for tril in (belief.precision_tril, belief.scale_tril)
    )
    half = 0.5 * belief.degrees
    wishart = half * (DIM * jnp.log(2.0) - log_scale) + jax.scipy.special.multigammaln(half, DIM)
    return wishart - 0.5 * DIM * log_precision


def test_predictions_multiply_to_the_evidence(prior, data):
    """The chain rule: the product of one-step predictives is the ratio of normalisers."""
    belief, total = prior, 0.0
    for regressors, target in zip(*data, strict=True):
        total += belief.predictive(regressors).log_prob(target)
        belief = belief.update(regressors, target)
    evidence = log_normalizer(belief) - log_normalizer(prior) - 0.5 * COUNT * DIM * jnp.log(2.0 * jnp.pi)
    assert jnp.abs(total - evidence) < ALGEBRA


def test_the_predictive_integrates_to_one(prior, data):
    predictive = prior.update_batch(*data).predictive(jnp.array([1.0, -0.5, 0.3]))
    centre, spread = predictive.loc, jnp.diagonal(predictive.scale_tril)
    # tan(t) compactifies the plane, so that the heavy tails are inside the grid.
    grid = jnp.linspace(-0.5 * jnp.pi, 0.5 * jnp.pi, 801)[1:-1]
    line, weight = jnp.tan(grid), (1.0 + jnp.tan(grid) ** 2) * (grid[1] - grid[0])
    points = (
        jnp.stack(jnp.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2) * spread[None, :] + centre[None, :]
    )
    density = jnp.exp(eqx.filter_jit(jax.vmap(predictive.log_prob))(points)).reshape(line.size, line.size)
    assert jnp.abs(weight @ density @ weight * jnp.prod(spread) - 1.0) < FINITE_DIFFERENCES


def test_the_predictive_is_scipys_student(prior):
    regressors, target = jnp.array([1.0, 2.0, -1.0]), jnp.array([0.3, 0.7])
    shape = prior.scale_tril @ prior.scale_tril.T * (1.0 + prior.uncertainty(regressors)) / 5.0
    expected = scipy.stats.multivariate_t(prior.mean @ regressors, shape, 5.0).logpdf(target)
    assert jnp.abs(prior.predictive(regressors).log_prob(target) - expected) < ALGEBRA


def _samples(belief, key, count):
    return eqx.filter_jit(jax.vmap(lambda k: belief.sample(key=k)))(jr.split(key, count))


def _within(draws, expected):
    error = jnp.std(draws, axis=0, ddof=1) / draws.shape[0] ** 0.5
    return jnp.all(jnp.abs(jnp.mean(draws, axis=0) - expected) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_samples_have_the_moments(prior, key):
    draws = _samples(prior, key, 20_000)
    noise = draws.scale_tril @ jnp.swapaxes(draws.scale_tril, 1, 2)
    assert _within(draws.coefficients, prior.mean)
    assert _within(noise, prior.noise_tril @ prior.noise_tril.T)
    precision = jnp.linalg.inv(noise)
    assert _within(precision, prior.degrees * jnp.linalg.inv(prior.scale_tril @ prior.scale_tril.T))
    # Cov(vec W) = Lambda^-1 (x) E[Sigma].
    centred = draws.coefficients - prior.mean[None]
    products = centred[:, :, :, None, None] * centred[:, None, None, :, :]
    row_covariance = jnp.linalg.inv(prior.precision_tril @ prior.precision_tril.T)
    expected = jnp.einsum("jl,ik->ijkl", row_covariance, prior.noise_tril @ prior.noise_tril.T)
    assert _within(products, expected)


@pytest.mark.parametrize("size", [0.0, 1.0, 4.0])
def test_the_information_gain_agrees_with_monte_carlo(prior, key, size):
    """I = E[log p(y | w, W, Sigma) - log p(y | w)] over (W, Sigma) from the belief and y from the likelihood."""
    regressors = size * jnp.array([0.5, -1.0, 1.0])
    draws = _samples(prior, key, 20_000)

    def one(coefficients, factor, k):
        likelihood = dist.MultivariateNormal(coefficients @ regressors, scale_tril=factor)
        target = likelihood.sample(k)
        return likelihood.log_prob(target) - prior.predictive(regressors).log_prob(target)

    values = eqx.filter_jit(jax.vmap(one))(draws.coefficients, draws.scale_tril, jr.split(jr.key(7), 20_000))
    assert _within(values, prior.information_gain(regressors))


def test_information_gain_falls_with_data_and_grows_with_novelty(prior, data, key):
    regressors = jnp.array([0.5, -1.0, 1.0])
    posterior = prior.update_batch(*data)
    assert 0.0 < posterior.information_gain(regressors) < prior.information_gain(regressors)
    assert posterior.information_gain(3.0 * regressors) > posterior.information_gain(regressors)
    gradient = eqx.filter_jit(eqx.filter_grad(posterior.information_gain))(regressors)
    assert jnp.all(jnp.isfinite(gradient)) and gradient @ regressors > 0.0


def test_single_precision_keeps_the_noise_positive(key):
    """Almost noise-free data over many steps: where Psi by subtraction would lose its sign."""
    x = jr.normal(key, (2_000, 3), jnp.float32) * 100.0
    y = x[:, :1] - 0.5 * x[:, 1:2] + 1e-2 * jr.normal(jr.key(3), (2_000, 1), jnp.float32)
    with jax.enable_x64(False):
        prior = MatrixNormalInverseWishart.prior(
            jnp.zeros((1, 3), jnp.float32),
            precision_tril=jnp.eye(3, dtype=jnp.float32) * 1e-2,
            scale_tril=jnp.eye(1, dtype=jnp.float32) * 1e-2,
            degrees=3.0,
        )
        posterior = prior.update_batch(x, y)
        assert posterior.factor.dtype == jnp.float32
        assert jnp.abs(posterior.mean - jnp.array([[1.0, -0.5, 0.0]], jnp.float32)).max() < FLOAT32
        assert jnp.abs(posterior.noise_tril[0, 0] / 1e-2 - 1.0) < 0.1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: MatrixNormalInverseWishart.prior(p.mean, precision_tril=jnp.eye(2), scale_tril=jnp.eye(2), degrees=5.0), "precision_tril"),
        (lambda p: MatrixNormalInverseWishart.prior(p.mean, precision_tril=jnp.eye(3), scale_tril=jnp.eye(2), degrees=1.0), "degrees of freedom"),
        (lambda p: MatrixNormalInverseWishart.prior(jnp.zeros(3), precision_tril=jnp.eye(3), scale_tril=jnp.eye(2), degrees=5.0), "matrix of coefficients"),
        (lambda p: p.update(jnp.zeros(3), jnp.zeros(2), forgetting=1.5), "forgetting"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(prior, build, message):
    with pytest.raises(BadInputError, match=message):
        build(prior)
