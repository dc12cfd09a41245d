"""Second, stupid implementations in NumPy: loops and textbook formulas, to compare the library with."""

import itertools
from typing import NamedTuple

import numpy as np
import scipy.linalg
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


def lstm_step(network, x, hidden, cell):
    """One step of `nn.LSTM` with its gates written out, layer by layer; hidden and cell are [layers, width]."""

    def sigmoid(value):
        return 1.0 / (1.0 + np.exp(-value))

    hidden, cell = np.array(hidden), np.array(cell)
    for index, layer in enumerate(network.cells):
        gates = np.asarray(layer.weight_ih) @ x + np.asarray(layer.weight_hh) @ hidden[index] + np.asarray(layer.bias)
        enter, forget, candidate, leave = np.split(gates, 4)
        cell[index] = sigmoid(forget) * cell[index] + sigmoid(enter) * np.tanh(candidate)
        hidden[index] = sigmoid(leave) * np.tanh(cell[index])
        x = hidden[index]
    return hidden, cell


class AffineSequence(NamedTuple):
    """Mean and covariance of a whole sequence, as blocks [time, size, time, size] of states and of observations."""

    state_mean: np.ndarray
    observation_mean: np.ndarray
    state_roots: np.ndarray
    observation_roots: np.ndarray

    def condition(self, values, last):
        """p(z_last | x_1, ..., x_last) and log p(x_1, ..., x_last), NaN left out; counted from 1."""
        size = self.observation_mean.shape[1]
        flat = np.asarray(values)[:last].reshape(-1)
        keep = np.flatnonzero(~np.isnan(flat))
        rows = self.observation_roots[:last].reshape(last * size, -1)[keep]
        expected = self.observation_mean[:last].reshape(-1)[keep]
        state, mean = self.state_roots[last - 1], self.state_mean[last - 1]
        if keep.size == 0:
            return mean, state @ state.T, 0.0
        innovation = rows @ rows.T
        gain = np.linalg.solve(innovation, rows @ state.T).T
        evidence = scipy.stats.multivariate_normal(expected, innovation).logpdf(flat[keep])
        return mean + gain @ (flat[keep] - expected), (state - gain @ rows) @ (state - gain @ rows).T, float(evidence)


def affine_sequence(model, actions, time) -> AffineSequence:
    """Every variable of `problems.Remembering` as a constant plus a linear map of all noises at once."""
    m = {name: np.asarray(getattr(model, name)) for name in model.__dataclass_fields__}
    dim, size = len(m["state_scale"]), len(m["noise"])
    width = time * (dim + size)
    carry, carry_root = m["start"], np.zeros((len(m["start"]), width))
    found = ([], [], [], [])
    for t in range(time):
        at = t * (dim + size)
        state, state_root = m["predict"] @ carry, m["predict"] @ carry_root
        state_root[:, at : at + dim] += np.diag(m["state_scale"])
        seen = m["observe"] @ state + m["read"] @ carry
        seen_root = m["observe"] @ state_root + m["read"] @ carry_root
        seen_root[:, at + dim : at + dim + size] += np.diag(m["noise"])
        for kept, new in zip(found, (state, seen, state_root, seen_root), strict=True):
            kept.append(new)
        carry, carry_root = (
            m["keep"] @ h + m["from_state"] @ z + m["from_observation"] @ x
            for h, z, x in ((carry, state, seen), (carry_root, state_root, seen_root))
        )
        if actions is not None and t < time - 1:
            carry = carry + m["from_action"] @ np.asarray(actions)[t]
    return AffineSequence(*(np.stack(kept) for kept in found))


class DensePath(NamedTuple):
    """Moments of a whole path given what was seen, and the log evidence in nats."""

    mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray
    log_evidence: float


def dense_path(first_mean, first_covariance, steps, emission, offset, noises, values) -> DensePath:
    """One big Gaussian over all states and observations, conditioned on the entries of `values` that are not NaN.

    `steps` holds (A, b, Q) of every step, `noises` the covariance R of every observation; `cross` is Cov(z_{t+1}, z_t).
    """
    dim, time = len(first_mean), len(values)
    means, covariance = [np.asarray(first_mean)], np.zeros((time * dim, time * dim))
    covariance[:dim, :dim] = first_covariance
    for t, (matrix, shift, noise) in enumerate(steps, start=1):
        means.append(matrix @ means[-1] + shift)
        past, now = slice(0, t * dim), slice(t * dim, (t + 1) * dim)
        rows = matrix @ covariance[(t - 1) * dim : t * dim, past]
        covariance[now, past], covariance[past, now] = rows, rows.T
        covariance[now, now] = rows[:, -dim:] @ matrix.T + noise
    rows, flat = np.kron(np.eye(time), emission), np.asarray(values).reshape(-1)
    keep = np.flatnonzero(~np.isnan(flat))
    rows = rows[keep]
    mean = np.concatenate(means)
    expected = rows @ mean + np.tile(offset, time)[keep]
    innovation = rows @ covariance @ rows.T + scipy.linalg.block_diag(*noises)[np.ix_(keep, keep)]
    gain = np.linalg.solve(innovation, rows @ covariance).T
    mean = (mean + gain @ (flat[keep] - expected)).reshape(time, dim)
    covariance = (covariance - gain @ innovation @ gain.T).reshape(time, dim, time, dim)
    index = np.arange(time)
    evidence = 0.0
    if keep.size:
        evidence = scipy.stats.multivariate_normal(expected, innovation).logpdf(flat[keep])
    return DensePath(mean, covariance[index, :, index], covariance[index[1:], :, index[:-1]], evidence)


class EnumeratedPath(NamedTuple):
    """Posterior over the states of a hidden Markov model, and the log evidence in nats."""

    marginals: np.ndarray
    pairwise: np.ndarray
    best: np.ndarray
    best_log_joint: float
    log_evidence: float


def enumerate_paths(initial, matrices, likelihoods) -> EnumeratedPath:
    """Every path of states, one after the other; `likelihoods` are p(x_t | z), [time, K]."""
    time, count = likelihoods.shape
    marginals, pairwise = np.zeros((time, count)), np.zeros((time - 1, count, count))
    best, best_weight, total = None, -1.0, 0.0
    for path in itertools.product(range(count), repeat=time):
        weight = initial[path[0]] * likelihoods[0, path[0]]
        for t in range(1, time):
            weight *= matrices[t - 1][path[t - 1], path[t]] * likelihoods[t, path[t]]
        total += weight
        if weight > best_weight:
            best, best_weight = np.array(path), weight
        marginals[np.arange(time), list(path)] += weight
        for t in range(time - 1):
            pairwise[t, path[t], path[t + 1]] += weight
    return EnumeratedPath(marginals / total, pairwise / total, best, np.log(best_weight), np.log(total))
