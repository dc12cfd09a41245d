"""Gaussians over paths against one dense Gaussian over all steps, in NumPy."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from homeostat.distributions import (
    BlockFactor,
    BlockTridiagonal,
    GaussianMoments,
    Parallel,
    PathGaussian,
    Sequential,
    natural_markov,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

TIME, DIM = 5, 2
RECURSIONS = {"sequential": Sequential(), "parallel": Parallel()}


def member(key, recursion=None, time=TIME):
    loc_key, scale_key, coupling_key = jr.split(key, 3)
    family = PathGaussian(time, DIM) if recursion is None else PathGaussian(time, DIM, recursion=recursion)
    params = family.init()._replace(
        loc=jr.normal(loc_key, (time, DIM)),
        scale_vectors=0.4 * jr.normal(scale_key, (time, DIM * (DIM + 1) // 2)),
        coupling=jr.normal(coupling_key, (time - 1, DIM, DIM)),
    )
    return family, params, family(params)


def dense(factor: BlockFactor):
    """The factor R written out."""
    time, dim, _ = factor.diagonal.shape
    full = np.zeros((time, dim, time, dim))
    full[np.arange(time), :, np.arange(time)] = factor.diagonal
    full[np.arange(1, time), :, np.arange(time - 1)] = factor.coupling
    return full.reshape(time * dim, time * dim)


def dense_covariance(path):
    root = dense(path.factor)
    return np.linalg.inv(root @ root.T)


@eqx.filter_jit
def report(family, path, key):
    """All that a path can be asked for, as one program."""
    moments, point = path.marginals(), path.sample(key)
    again = BlockTridiagonal.from_natural(path.natural, path.recursion)
    derived = (moments.covariance, moments.cross_covariances, moments.pairs, path.variance)
    return moments, derived, point, path.log_prob(point), path.entropy(), again, family.params_of(path)


@pytest.mark.parametrize("name", RECURSIONS)
def test_everything_agrees_with_the_dense_gaussian(key, name):
    family, params, path = member(key, RECURSIONS[name])
    covariance = dense_covariance(path)
    blocks, index = covariance.reshape(TIME, DIM, TIME, DIM), np.arange(TIME)
    moments, derived, point, log_prob, entropy, again, back = report(family, path, jr.key(1))
    marginal, crossed, pairs, variance = derived
    assert jnp.abs(marginal - blocks[index, :, index]).max() < ALGEBRA
    assert jnp.abs(crossed - blocks[index[1:], :, index[:-1]]).max() < ALGEBRA
    assert jnp.all(jnp.diagonal(moments.scale_tril, axis1=1, axis2=2) > 0.0)
    assert jnp.abs(variance.ravel() - np.diagonal(covariance)).max() < ALGEBRA
    for t in range(TIME - 1):
        order = np.r_[(t + 1) * DIM : (t + 2) * DIM, t * DIM : (t + 1) * DIM]
        root = np.asarray(pairs.scale_tril[t])
        assert np.abs(root @ root.T - covariance[np.ix_(order, order)]).max() < ALGEBRA
        assert np.abs(np.asarray(pairs.loc[t]) - np.asarray(path.loc).ravel()[order]).max() < ALGEBRA
    reference = scipy.stats.multivariate_normal(np.asarray(path.loc).ravel(), covariance)
    assert abs(log_prob - reference.logpdf(np.asarray(point).ravel())) < ALGEBRA
    assert abs(entropy - reference.entropy()) < ALGEBRA
    assert jnp.abs(again.loc - path.loc).max() < ALGEBRA
    assert np.abs(dense(again.factor) - dense(path.factor)).max() < ALGEBRA
    assert all(jnp.abs(a - b).max() < ALGEBRA for a, b in zip(back, params, strict=True))


def test_samples_have_the_covariance(key):
    _, _, path = member(key)
    draws = path.sample(jr.key(1), (4_000,)) - path.loc[None]
    flat = draws.reshape(4_000, -1)
    gap = flat[:, :, None] * flat[:, None, :] - dense_covariance(path)[None]
    error = jnp.std(gap, axis=0) / 4_000**0.5
    assert jnp.all(jnp.abs(jnp.mean(gap, axis=0)) < MONTE_CARLO_STANDARD_ERRORS * error)
    assert jnp.all(jnp.abs(jnp.mean(flat, axis=0)) < MONTE_CARLO_STANDARD_ERRORS * jnp.std(flat, axis=0) / 4_000**0.5)
    assert path.log_prob(draws[:3]).shape == (3,)


def test_one_step_is_an_ordinary_gaussian(key):
    for recursion in RECURSIONS.values():
        family, _, path = member(key, recursion, time=1)
        _, (marginal, *_), _, _, _, again, _ = report(family, path, key)
        assert jnp.abs(marginal[0] - dense_covariance(path)).max() < ALGEBRA
        assert jnp.abs(again.loc - path.loc).max() < ALGEBRA


@pytest.mark.parametrize("name", RECURSIONS)
def test_a_linear_gaussian_chain_has_its_own_moments(key, name):
    matrix_key, offset_key = jr.split(key)
    matrices, offsets = 0.7 * jr.normal(matrix_key, (TIME - 1, DIM, DIM)), jr.normal(offset_key, (TIME - 1, DIM))
    tril = jnp.array([[0.5, 0.0], [0.2, 0.3]])
    initial = GaussianMoments(jnp.array([1.0, -1.0]), jnp.array([[1.0, 0.0], [0.3, 0.8]]))

    @jax.jit
    def run(matrices):
        trils = jnp.broadcast_to(tril, matrices.shape)
        natural = natural_markov(initial, matrices, offsets, trils)
        moments = BlockTridiagonal.from_natural(natural, RECURSIONS[name]).marginals()
        return moments.loc, moments.covariance, moments.cross_covariances

    found = [np.asarray(leaf) for leaf in run(matrices)]
    matrices, offsets, tril = (np.asarray(leaf) for leaf in (matrices, offsets, tril))
    mean, root = (np.asarray(leaf) for leaf in initial)
    covariance = root @ root.T
    for t in range(TIME):
        assert np.abs(found[0][t] - mean).max() < ALGEBRA
        assert np.abs(found[1][t] - covariance).max() < ALGEBRA
        if t < TIME - 1:
            assert np.abs(found[2][t] - matrices[t] @ covariance).max() < ALGEBRA
            mean = matrices[t] @ mean + offsets[t]
            covariance = matrices[t] @ covariance @ matrices[t].T + tril @ tril.T


def test_both_recursions_have_the_same_gradient(key):
    def energy(natural, recursion):
        path = BlockTridiagonal.from_natural(natural, recursion)
        return jnp.sum(path.loc**2) + jnp.sum(path.marginals().covariance) + path.entropy()

    natural = member(key)[2].natural
    first, second = (jax.jit(jax.grad(partial(energy, recursion=r)))(natural) for r in RECURSIONS.values())
    gaps = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), first, second)
    assert max(jax.tree.leaves(gaps)) < AUTODIFF


def test_a_cut_path_is_free_beyond_its_end(key):
    _, _, path = member(key)
    cut = path.cut(3)
    covariance = dense_covariance(cut).reshape(TIME, DIM, TIME, DIM)
    assert jnp.abs(covariance[3:, :, :3]).max() < ALGEBRA
    assert jnp.abs(covariance[3:, :, 3:].reshape(2 * DIM, -1) - np.eye(2 * DIM)).max() < ALGEBRA
    head = BlockTridiagonal(path.loc[:3], path.diagonal[:3], path.coupling[:2])
    assert jnp.abs(covariance[:3, :, :3].reshape(3 * DIM, -1) - dense_covariance(head)).max() < ALGEBRA


def test_bad_sizes_are_refused():
    with pytest.raises(BadInputError, match="at least one step"):
        PathGaussian(0, 2)
