"""Posteriors over modes: against exact Bayes factors, quadrature, and by their laws."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

import tolerances
from homeostat.core import AbstractModel
from homeostat.distributions import (
    Cubature,
    DiagonalGaussian,
    DiagonalGaussianParams,
    FullGaussian,
    FullGaussianParams,
    GaussianMoments,
)
from homeostat.distributions._closed_forms import gaussian_divergence
from homeostat.inference import KeepAll, MergeByDivergence, infer_modes, nearest_offset
from homeostat.inference.engines import NaturalGradient
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import RESULTS, BadInputError


@final
class Linear(AbstractModel):
    """x = C z + e with unit prior and unit noise: the posterior and the evidence are known."""

    matrix: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1)

    def emission(self, state):
        return dist.Normal(self.matrix @ state, 1.0).to_event(1)


@final
class Square(AbstractModel):
    """x = z^2 + e: two mirrored modes."""

    sigma: float = 0.2

    def initial(self):
        return dist.Normal(jnp.zeros(1), jnp.ones(1)).to_event(1)

    def emission(self, state):
        return dist.Normal(state**2, self.sigma).to_event(1)


def diagonal(locs, scale=0.3):
    locs = jnp.asarray(locs)
    return DiagonalGaussianParams(locs, jnp.full_like(locs, jnp.log(scale)))


def test_hypotheses_are_weighed_by_their_exact_evidence(key):
    matrices = jr.normal(jr.key(1), (3, 4, 2))
    x, log_prior = jnp.asarray([0.5, -1.0, 2.0, 0.1]), jnp.log(jnp.asarray([0.2, 0.5, 0.3]))
    family = FullGaussian(2)
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), family.init())
    found = infer_modes(
        FreeEnergy(Linear(matrices), Cubature()),
        NaturalGradient(rate=1.0),
        family,
        Evidence(x),
        starts,
        key=key,
        hypothesis=jnp.arange(3),
        log_prior=log_prior,
    )
    evidence = [
        dist.MultivariateNormal(jnp.zeros(4), jnp.eye(4) + matrix @ matrix.T).log_prob(x) for matrix in matrices
    ]
    joint = jnp.stack(evidence) + log_prior
    np.testing.assert_allclose(found.weights, jax.nn.softmax(joint), atol=tolerances.ALGEBRA)
    np.testing.assert_allclose(found.free_energy_nats, -jax.nn.logsumexp(joint), atol=tolerances.ALGEBRA)
    np.testing.assert_allclose(found.hypothesis_probabilities(3), found.weights, atol=tolerances.ALGEBRA)
    assert int(found.best_hypothesis) == int(jnp.argmax(joint))


def two_modes(key, starts, **options):
    return infer_modes(
        FreeEnergy(Square(), Cubature()),
        NaturalGradient(rate=0.5),
        DiagonalGaussian(1),
        Evidence(jnp.asarray([2.0])),
        diagonal(starts),
        key=key,
        num_steps=60,
        **options,
    )


def test_mirrored_modes_share_the_weight_and_bound_the_evidence(key):
    found = two_modes(key, [[1.0], [-1.2]])
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=tolerances.AUTODIFF)
    z = jnp.linspace(-6, 6, 20_001)
    log_joint = dist.Normal(0, 1).log_prob(z) + dist.Normal(z**2, 0.2).log_prob(2.0)
    exact = -(jax.nn.logsumexp(log_joint) + jnp.log(z[1] - z[0]))
    excess = float(found.free_energy_nats - exact)
    assert 0.0 <= excess < 0.05  # a bound, and one mode alone would be off by log 2
    np.testing.assert_allclose(found.mean(), [0.0], atol=tolerances.AUTODIFF)
    spread = found.params.loc[0, 0] ** 2 + jnp.exp(2 * found.params.log_scale[0, 0])
    np.testing.assert_allclose(found.covariance(), [[spread]], rtol=tolerances.AUTODIFF)


def test_a_mode_found_twice_counts_once(key):
    once, twice = two_modes(key, [[1.0], [-1.2]]), two_modes(key, [[1.0], [-1.2], [1.3], [0.8]])
    np.testing.assert_allclose(twice.free_energy_nats, once.free_energy_nats, atol=tolerances.AUTODIFF)
    assert int(jnp.sum(twice.weights > 0)) == 2
    np.testing.assert_allclose(jnp.sum(twice.weights), 1.0, atol=tolerances.ALGEBRA)
    counted = two_modes(key, [[1.0], [-1.2], [1.3], [0.8]], merging=KeepAll())
    np.testing.assert_allclose(
        once.free_energy_nats - counted.free_energy_nats, jnp.log(2.0), atol=tolerances.FINITE_DIFFERENCES
    )


def test_modes_a_period_apart_are_one():
    params = diagonal([[0.1, 0.0], [2.1, 0.0], [1.1, 0.0]], scale=0.05)
    periods = jnp.asarray([2.0, jnp.inf])
    same = MergeByDivergence(periods=periods).same(DiagonalGaussian(2), params)
    np.testing.assert_array_equal(same, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(MergeByDivergence().same(DiagonalGaussian(2), params), np.eye(3, dtype=bool))


@pytest.mark.parametrize("offset", [-7.3, -1.0, 0.2, 0.99, 3.6])
def test_nearest_offset_is_the_shortest(offset):
    found = nearest_offset(jnp.asarray([offset, offset]), jnp.asarray([2.0, jnp.inf]))
    candidates = offset + 2.0 * np.arange(-6, 7)
    np.testing.assert_allclose(found, [candidates[np.argmin(np.abs(candidates))], offset], atol=tolerances.ALGEBRA)


def test_merging_uses_the_symmetric_divergence():
    family = FullGaussian(3)
    a_key, b_key = jr.split(jr.key(3))
    params = eqx.filter_jit(jax.vmap(lambda k: FullGaussianParams(0.3 * jr.normal(k, (3,)), 0.3 * jr.normal(k, (6,)))))(
        jnp.stack([a_key, b_key])
    )
    tril = eqx.filter_jit(eqx.filter_vmap(family.scale_tril))(params)
    moments = [GaussianMoments(params.loc[k], tril[k]) for k in (0, 1)]
    divergence = float(gaussian_divergence(*moments) + gaussian_divergence(*moments[::-1]))
    for threshold, expected in ((divergence * 0.999, False), (divergence * 1.001, True)):
        assert bool(MergeByDivergence(threshold).same(family, params)[0, 1]) is expected


def test_default_threshold_overstates_the_evidence_by_what_it_says():
    # Two equal Gaussians two standard deviations apart have a symmetric divergence of 4 nats.
    z = jnp.linspace(-12, 12, 40_001)
    halves = jnp.stack([dist.Normal(-1, 1).log_prob(z), dist.Normal(1, 1).log_prob(z)])
    mixture = jax.nn.logsumexp(halves, axis=0) - jnp.log(2.0)
    shared = jnp.sum(jnp.exp(halves[0]) * (halves[0] - mixture)) * (z[1] - z[0])
    assert abs(float(jnp.log(2.0) - shared) - 0.36) < 0.005


def test_periodic_moments_stay_on_the_branch_of_the_best_mode(key):
    found = two_modes(key, [[1.0], [-1.2]])
    gap = float(found.params.loc[found.best, 0] - found.params.loc[1 - found.best, 0])
    periods = jnp.asarray([abs(gap) * 1.02])
    # On the circle the two modes are neighbours across the seam.
    assert float(jnp.abs(found.mean(periods)[0] - found.best_params.loc[0])) < 0.02 * abs(gap)
    assert float(found.covariance(periods)[0, 0]) < float(found.covariance()[0, 0])


def test_failure_is_reported(key):
    bad = diagonal([[jnp.nan], [jnp.nan]])
    arguments = (FreeEnergy(Square(), Cubature()), NaturalGradient(), DiagonalGaussian(1), Evidence(jnp.ones(1)), bad)
    found = infer_modes(*arguments, key=key, throw=False)
    assert found.result == RESULTS.nonfinite_energy
    np.testing.assert_allclose(found.weights, [0.5, 0.5])
    with pytest.raises(RuntimeError, match="non-finite"):
        jax.block_until_ready(infer_modes(*arguments, key=key).free_energy_nats)
    half = infer_modes(*arguments[:-1], diagonal([[jnp.nan], [1.0]]), key=key)
    np.testing.assert_allclose(half.weights, [0.0, 1.0])
    assert np.isfinite(half.mean()).all()


def test_prior_without_hypotheses_is_refused(key):
    with pytest.raises(BadInputError, match="pass both or neither"):
        two_modes(key, [[1.0]], log_prior=jnp.zeros(1))


def test_jit_and_vmap_change_nothing(key):
    starts = diagonal([[1.0], [-1.2]])

    def run(x):
        return infer_modes(
            FreeEnergy(Square(), Cubature()),
            NaturalGradient(rate=0.5),
            DiagonalGaussian(1),
            Evidence(x),
            starts,
            key=key,
            num_steps=5,
            throw=False,
        )

    xs = jnp.asarray([[1.0], [2.0]])
    mapped = eqx.filter_jit(jax.vmap(run))(xs)
    for row, x in enumerate(xs):
        single = run(x)
        for a, b in zip(jax.tree.leaves(single.params), jax.tree.leaves(mapped.params), strict=True):
            np.testing.assert_allclose(a, b[row], atol=tolerances.ALGEBRA)
        np.testing.assert_allclose(single.free_energy_nats, mapped.free_energy_nats[row], atol=tolerances.ALGEBRA)
