"""The bound along inference against a conjugate model's closed forms."""

import jax
import jax.random as jr
import numpy as np
import optax

from homeostat.distributions import Cubature, DiagonalGaussian
from homeostat.inference.engines import Gradient
from homeostat.metrics import bound_path, estimates
from homeostat.models.static import Gaussian, LatentGaussian, StandardLevel
from homeostat.objectives import Evidence
from tolerances import ALGEBRA, AUTODIFF


def test_the_path_contracts_to_the_posterior_and_the_bound_rises_to_the_evidence(key):
    """z ~ N(0, 1), x ~ N(z, s^2), both in two dimensions: F is quadratic in the mean, with curvature 1 + 1 / s^2."""
    precision = float(np.exp(2.0))
    model = LatentGaussian([StandardLevel(2)], lambda z: z, Gaussian((2,), -1.0, minimum_scale=0.0))
    rows, rate, family = jr.normal(key, (3, 2)), 0.05, DiagonalGaussian(2)
    engine = Gradient(optax.sgd(rate))

    @jax.jit
    def means(x):
        setting = {"num_steps": 300, "key": key, "expectation": Cubature()}
        return estimates(model, engine, family, Evidence(x), **setting).loc

    path, first = np.asarray(means(rows[0])), np.asarray(rows[0])
    mode = precision * first / (1.0 + precision)
    contraction = (1.0 - rate * (1.0 + precision)) ** np.arange(301)
    np.testing.assert_allclose(path, mode + contraction[:, None] * (path[0] - mode), rtol=AUTODIFF, atol=AUTODIFF)
    bounds = bound_path(
        model, engine, family, rows, num_steps=300, key=key, training_expectation=Cubature(), expectation=Cubature()
    )
    scale = np.sqrt(1.0 + 1.0 / precision)
    evidence = jax.scipy.stats.norm.logpdf(rows, scale=scale).sum(axis=1)
    np.testing.assert_allclose(bounds[:, -1], evidence, rtol=AUTODIFF)
    # At the standard Gaussian, E log p(x | z) = log N(x; 0, s^2) - 1 / (2 s^2) a dimension, and the divergence is zero.
    start = jax.scipy.stats.norm.logpdf(rows, scale=precision**-0.5).sum(axis=1) - precision
    np.testing.assert_allclose(bounds[:, 0], start, rtol=ALGEBRA)
