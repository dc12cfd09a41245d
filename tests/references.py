"""Second, stupid implementations in NumPy: loops and textbook formulas, to compare the library with."""

from typing import NamedTuple

import numpy as np
import scipy.stats


class Conjugate(NamedTuple):
    """Exact posterior of a linear Gaussian model, and the log evidence in nats."""

    mean: np.ndarray
    covariance: np.ndarray
    precision: np.ndarray
    log_evidence: float


def conjugate(model, observation) -> Conjugate:
    """Posterior of `catalogue.LinearModel` by the textbook formula."""
    weights, mean, factor, noise = (
        np.asarray(leaf) for leaf in (model.weights, model.prior_mean, model.prior_factor, model.noise)
    )
    prior = factor @ factor.T
    observation = np.asarray(observation)
    precision = np.linalg.inv(prior) + weights.T @ np.diag(noise**-2.0) @ weights
    covariance = np.linalg.inv(precision)
    shift = np.linalg.solve(prior, mean) + weights.T @ (observation / noise**2)
    marginal = weights @ prior @ weights.T + np.diag(noise**2)
    log_evidence = scipy.stats.multivariate_normal(weights @ mean, marginal).logpdf(observation)
    return Conjugate(covariance @ shift, covariance, precision, float(log_evidence))


def natural_momentum(model, observation, loc, variance, alpha, beta, steps):
    """The slides' update, coordinate by coordinate, on eta = (mu tau, -tau / 2) of independent Gaussians.

    Delta eta_k = alpha natgrad L + beta Delta eta_{k-1}, where L is the evidence lower bound: the natural gradient in eta
    is the gradient with respect to the expectation parameters (m1, m2) = (mu, mu^2 + 1 / tau), which for the linear
    model is taken by central differences of L itself.
    """
    size = len(loc)

    def bound(first, second):
        """The evidence lower bound of independent Gaussians with these first and second moments."""
        spread = second - first**2
        weights, noise = np.asarray(model.weights), np.asarray(model.noise)
        factor = np.asarray(model.prior_factor)
        prior_precision = np.linalg.inv(factor @ factor.T)
        residual = np.asarray(observation) - weights @ first
        value = -0.5 * np.sum(residual**2 / noise**2) - 0.5 * np.sum((weights**2 @ spread) / noise**2)
        offset = first - np.asarray(model.prior_mean)
        value += -0.5 * offset @ prior_precision @ offset - 0.5 * np.sum(np.diag(prior_precision) * spread)
        return value + 0.5 * np.sum(np.log(spread))

    eta = np.concatenate([loc / variance, -0.5 / variance])
    change = np.zeros(2 * size)
    for _ in range(steps):
        precision = -2.0 * eta[size:]
        mean = eta[:size] / precision
        moments = np.concatenate([mean, mean**2 + 1.0 / precision])
        gradient = np.zeros(2 * size)
        for index in range(2 * size):
            # Five points: the error falls with the fourth power of the width.
            width = 1e-3 * (moments[size + index % size] - moments[index % size] ** 2)
            values = []
            for multiple in (-2, -1, 1, 2):
                moved = moments.copy()
                moved[index] += multiple * width
                values.append(bound(moved[:size], moved[size:]))
            gradient[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * width)
        change = alpha * gradient + beta * change
        eta = eta + change
    precision = -2.0 * eta[size:]
    return eta[:size] / precision, 1.0 / precision
