"""Laws of families: sampling, density and fit belong to one distribution."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ..core import AbstractFamily
from ..typing import Array, Distribution, Key, PyTree
from ._assertions import assert_close, assert_finite, assert_same_structure, assert_zero_mean, check_transforms
from ._tolerances import Tolerances

MAX_ENUMERATION = 4096
"""Largest discrete support that is summed over."""


def check_family(
    family: AbstractFamily, *, key: Key, num_samples: int = 4096, tolerances: Tolerances = Tolerances()
) -> None:
    """Run every law of `AbstractFamily` on `family`.

    Laws: `init` and `fit` give parameters of one structure; density and sampling obey the transform laws; the score of
    samples has mean zero; the density integrates to one; `fit` is the maximum-likelihood member, ignores points of no
    weight, and stays finite for equal points; the entropy, where there is one, is -E[log q].

    Args:
        family: what to check.
        key: random key.
        num_samples: size of the Monte Carlo checks.
        tolerances: see `Tolerances`.

    Raises:
        AssertionError: the first law that does not hold, in a sentence.
    """
    name = type(family).__name__
    params_key, other_key, sample_key, junk_key, integral_key = jr.split(key, 5)
    params, other = _perturb(family.init(), params_key), _perturb(family.init(), other_key)
    assert_same_structure(params, family.init(), f"{name}.init: gives trees of arrays")
    check_transforms(
        lambda p, k: _sample_and_log_prob(family(p), k),
        (params, sample_key),
        (other, junk_key),
        tolerances.algebra,
        f"{name}: sample and log_prob",
    )
    samples = jax.vmap(family(params).sample)(jr.split(sample_key, num_samples))
    if samples.shape[1:] != family(params).event_shape:
        raise AssertionError(
            f"{name}: expected samples of the event shape {family(params).event_shape}, got {samples.shape[1:]}."
        )
    scores = jax.vmap(lambda x: jax.grad(lambda p: family(p).log_prob(x))(params))(samples)
    assert_finite(scores, f"{name}: gradients of the log density in the parameters")
    for score in jax.tree.leaves(scores):
        assert_zero_mean(score, tolerances.standard_errors, f"{name}: the score of samples has mean zero")
    check_normalisation(family(params), key=integral_key, num_samples=num_samples, tolerances=tolerances)
    _check_entropy(family(params), samples, tolerances)
    _check_fit(family, params, samples, junk_key, tolerances)


def check_normalisation(
    distribution: Distribution, *, key: Key, num_samples: int = 4096, tolerances: Tolerances = Tolerances()
) -> None:
    """A density sums or integrates to one.

    Small discrete supports are summed. A continuous density is integrated by importance sampling, in unconstrained
    coordinates, from a Gaussian with the moments of its samples and one and a half times their spread.

    Args:
        distribution: unbatched; point masses, which have no density, pass.
        key: random key.
        num_samples: points of the importance sampler.
        tolerances: see `Tolerances`.

    Raises:
        AssertionError: the density does not integrate to one.
    """
    name = type(distribution).__name__
    if isinstance(distribution, dist.Delta):
        return
    fit_key, draw_key = jr.split(key)
    samples = jax.vmap(distribution.sample)(jr.split(fit_key, num_samples))
    if not jnp.issubdtype(samples.dtype, jnp.inexact):
        values = _enumerate(distribution)
        if values is not None:
            total = jnp.exp(jax.nn.logsumexp(jax.vmap(distribution.log_prob)(values)))
            assert_close(total, jnp.ones_like(total), tolerances.algebra, f"{name}: probabilities sum to one")
        return
    to_support = dist.biject_to(distribution.support)
    flat = jax.vmap(lambda x: jnp.ravel(to_support.inv(x)))(samples)
    mean = jnp.mean(flat, axis=0)
    covariance = jnp.atleast_2d(jnp.cov(flat.T))
    proposal = dist.MultivariateNormal(mean, scale_tril=1.5 * jnp.linalg.cholesky(covariance))

    def weight(draw_key: Key) -> Array:
        point = proposal.sample(draw_key)
        shaped = point.reshape(samples.shape[1:])
        value = to_support(shaped)
        volume = jnp.sum(to_support.log_abs_det_jacobian(shaped, value))
        return jnp.exp(distribution.log_prob(value) + volume - proposal.log_prob(point))

    weights = jax.vmap(weight)(jr.split(draw_key, num_samples))
    assert_zero_mean(weights - 1.0, tolerances.standard_errors, f"{name}: the density integrates to one")


def _perturb(params: PyTree, key: Key) -> PyTree:
    """Parameters near `params`: half a unit of noise on every entry."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jr.split(key, len(leaves))
    return treedef.unflatten(
        [leaf + 0.5 * jr.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)]
    )


def _sample_and_log_prob(distribution: Distribution, key: Key) -> tuple[Array, Array]:
    sample = distribution.sample(key)
    return sample, distribution.log_prob(sample)


def _enumerate(distribution: Distribution) -> Array | None:
    base = distribution.base_dist if isinstance(distribution, dist.Independent) else distribution
    if not base.has_enumerate_support:
        return None
    choices = np.unique(np.asarray(base.enumerate_support(expand=False)))
    size = int(np.prod(distribution.event_shape))
    if len(choices) ** size > MAX_ENUMERATION:
        return None
    points = list(itertools.product(choices, repeat=size))
    return jnp.asarray(points).reshape(len(points), *distribution.event_shape)


def _check_entropy(distribution: Distribution, samples: Array, tolerances: Tolerances) -> None:
    name = type(distribution).__name__
    try:
        entropy = distribution.entropy()
    except NotImplementedError:
        return
    if not bool(jnp.isfinite(entropy)):  # A point mass: minus infinity.
        return
    surprise = -jax.vmap(distribution.log_prob)(samples)
    assert_zero_mean(surprise - entropy, tolerances.standard_errors, f"{name}: the entropy is -E[log q]")


def _check_fit(family: AbstractFamily, params: PyTree, samples: Array, key: Key, tolerances: Tolerances) -> None:
    name = f"{type(family).__name__}.fit"
    count = samples.shape[0]
    weights = jax.nn.softmax(jr.normal(key, (count,)))
    fitted = eqx.filter_jit(family.fit)(samples, weights)
    assert_same_structure(fitted, family.init(), f"{name}: gives parameters like those of init")
    assert_close(family.fit(samples, weights), fitted, tolerances.algebra, f"{name}: jit = no jit")

    junk = jax.vmap(family(family.init()).sample)(jr.split(key, 16))
    padded = family.fit(jnp.concatenate([samples, junk]), jnp.concatenate([weights, jnp.zeros(16, weights.dtype)]))
    assert_close(padded, fitted, tolerances.algebra, f"{name}: ignores points of no weight")
    equal = family.fit(jnp.broadcast_to(samples[:1], samples.shape), weights)
    assert_finite(equal, f"{name}: of equal points")
    if isinstance(family(params), dist.Delta):  # A point mass has no density to maximise: it must find its point.
        assert_close(fitted, params, tolerances.algebra, f"{name}: finds the point")
        return

    def log_likelihood(candidate: PyTree) -> Array:
        return weights @ jax.vmap(family(candidate).log_prob)(samples)

    for leaf in jax.tree.leaves(jax.grad(log_likelihood)(fitted)):
        assert_close(leaf, jnp.zeros_like(leaf), tolerances.optimality, f"{name}: maximises the weighted likelihood")
    gain = log_likelihood(fitted) - log_likelihood(params)
    if not bool(gain >= -tolerances.algebra):
        raise AssertionError(
            f"{name}: expected at least the likelihood of the true member, got {float(-gain):g} nats less."
        )
