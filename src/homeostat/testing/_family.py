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

    Laws: `init` and `fit` give parameters of one structure; density and sampling obey the transform laws; draws of a
    reparameterized family move with its parameters, and are real numbers; the score of samples has mean zero; the density integrates to one; `fit` is the maximum-likelihood member, ignores points of no
    weight, and stays finite for equal points; the entropy, where there is one, is -E[log q].

    Args:
        family: what to check.
        num_samples: size of the Monte Carlo checks.
    """
    name = type(family).__name__
    first, second, draw_key, fit_key = jr.split(key, 4)

    @eqx.filter_jit
    def start(k: Key) -> tuple[PyTree, PyTree, PyTree]:
        params_key, other_key = jr.split(k)
        return family.init(), _perturb(family.init(), params_key), _perturb(family.init(), other_key)

    initial, params, other = start(first)
    assert_same_structure(params, initial, f"{name}.init: gives trees of arrays")
    check_transforms(
        lambda p, k: _sample_and_log_prob(family(p), k), (params, first), (other, second), tolerances, f"{name}: sample"
    )

    @eqx.filter_jit
    def draw(p: PyTree, k: Key) -> tuple[Array, PyTree, Array | None, Array | None]:
        sample_key, integral_key = jr.split(k)
        distribution = family(p)
        samples = jax.vmap(distribution.sample)(jr.split(sample_key, num_samples))
        if samples.shape[1:] != distribution.event_shape:
            raise AssertionError(
                f"{name}: expected samples of the event shape {distribution.event_shape}, got {samples.shape[1:]}."
            )
        scores = jax.vmap(lambda x: jax.grad(lambda q: family(q).log_prob(x))(p))(samples)
        return samples, scores, _excess_entropy(distribution, samples), _masses(distribution, integral_key, num_samples)

    _check_reparameterization(family, params, second)
    samples, scores, excess, masses = draw(params, draw_key)
    assert_finite(scores, f"{name}: gradients of the log density in the parameters")
    for score in jax.tree.leaves(scores):
        assert_zero_mean(score, tolerances.standard_errors, f"{name}: the score of samples has mean zero")
    _check_masses(masses, tolerances, name)
    # The entropy of a point mass is minus infinity.
    if excess is not None and np.all(np.isfinite(excess)):
        assert_zero_mean(excess, tolerances.standard_errors, f"{name}: the entropy is -E[log q]")
    _check_fit(family, initial, params, samples, fit_key, tolerances)


def _check_reparameterization(family: AbstractFamily, params: PyTree, key: Key) -> None:
    """A draw has a derivative in the parameters where the family says so."""
    if not family.reparameterized:
        return
    name = type(family).__name__

    @eqx.filter_jit
    def push(p: PyTree) -> tuple[Array, Array]:
        return jax.jvp(lambda q: family(q).sample(key), (p,), (jax.tree.map(jnp.ones_like, p),))

    draw, slope = push(params)
    if not jnp.issubdtype(draw.dtype, jnp.inexact) or not np.any(np.asarray(slope) != 0.0):
        raise AssertionError(
            f"{name}: expected draws that move with the parameters of a reparameterized family, got none: set "
            f"`reparameterized = False`."
        )
    assert_finite(slope, f"{name}: derivative of a draw in the parameters")


def check_normalisation(
    distribution: Distribution, *, key: Key, num_samples: int = 4096, tolerances: Tolerances = Tolerances()
) -> None:
    """A density sums or integrates to one.

    Small discrete supports are summed. A continuous density is integrated by importance sampling, in unconstrained
    coordinates, from a Gaussian with the moments of its samples and one and a half times their spread.

    Args:
        distribution: unbatched; point masses, which have no density, pass.
        num_samples: points of the importance sampler.

    Raises:
        AssertionError: the density does not integrate to one.
    """
    masses = eqx.filter_jit(lambda k: _masses(distribution, k, num_samples))(key)
    _check_masses(masses, tolerances, type(distribution).__name__)


def _check_masses(masses: Array | None, tolerances: Tolerances, name: str) -> None:
    if masses is None:
        return
    if masses.ndim == 0:
        assert_close(masses, np.ones_like(masses), tolerances.algebra, f"{name}: probabilities sum to one")
    else:
        law = f"{name}: the density integrates to one"
        assert_zero_mean(np.asarray(masses) - 1.0, tolerances.standard_errors, law)


def _masses(distribution: Distribution, key: Key, num_samples: int) -> Array | None:
    """The sum of all probabilities, or independent estimates of the integral; None where neither is known."""
    if isinstance(distribution, dist.Delta):
        return None
    fit_key, draw_key = jr.split(key)
    samples = jax.vmap(distribution.sample)(jr.split(fit_key, num_samples))
    if not jnp.issubdtype(samples.dtype, jnp.inexact):
        values = _enumerate(distribution)
        return None if values is None else jnp.exp(jax.nn.logsumexp(jax.vmap(distribution.log_prob)(values)))
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

    return jax.vmap(weight)(jr.split(draw_key, num_samples))


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
    with jax.ensure_compile_time_eval():
        choices = np.unique(np.asarray(base.enumerate_support(expand=False)))
    size = int(np.prod(distribution.event_shape))
    if len(choices) ** size > MAX_ENUMERATION:
        return None
    points = list(itertools.product(choices, repeat=size))
    return jnp.asarray(points).reshape(len(points), *distribution.event_shape)


def _excess_entropy(distribution: Distribution, samples: Array) -> Array | None:
    """-log q(x) - H[q] of samples x; None for a distribution without an entropy."""
    try:
        entropy = distribution.entropy()
    except NotImplementedError:
        return None
    return -jax.vmap(distribution.log_prob)(samples) - entropy


def _check_fit(
    family: AbstractFamily, initial: PyTree, params: PyTree, samples: Array, key: Key, tolerances: Tolerances
) -> None:
    name = f"{type(family).__name__}.fit"
    count, first, second = samples.shape[0], *jr.split(key)

    @eqx.filter_jit
    def points(x: Array, k: Key) -> tuple[Array, Array, Array]:
        """Two sets of points that differ where they have no weight, and equal points."""
        junk, others = jax.vmap(jax.vmap(family(initial).sample))(jr.split(k, (2, 16)))
        padded, other = jnp.concatenate([x, junk]), jnp.concatenate([x, others])
        return padded, other, jnp.broadcast_to(x[:1], padded.shape)

    weights = np.asarray(jax.nn.softmax(jr.normal(first, (count,))))
    weights = jnp.asarray(np.concatenate([weights, np.zeros(16, weights.dtype)]))
    padded, other, equal = points(samples, second)
    fit = eqx.filter_jit(family.fit)
    fitted = fit(padded, weights)
    assert_same_structure(fitted, initial, f"{name}: gives parameters like those of init")
    if tolerances.eager is not None:
        assert_close(family.fit(padded, weights), fitted, tolerances.eager, f"{name}: jit = no jit")
    assert_close(fit(other, weights), fitted, tolerances.algebra, f"{name}: ignores points of no weight")
    assert_finite(fit(equal, weights), f"{name}: of equal points")
    point_mass = False

    @eqx.filter_jit
    def judge(p: PyTree) -> tuple[Array, PyTree]:
        nonlocal point_mass
        point_mass = isinstance(family(p), dist.Delta)
        return jax.value_and_grad(lambda q: weights[:count] @ jax.vmap(family(q).log_prob)(samples))(p)

    likelihood, gradient = judge(fitted)
    if point_mass:  # A point mass has no density to maximise: it must find its point.
        assert_close(fitted, params, tolerances.algebra, f"{name}: finds the point")
        return
    for leaf in jax.tree.leaves(gradient):
        assert_close(leaf, np.zeros_like(leaf), tolerances.optimality, f"{name}: maximises the weighted likelihood")
    gain = float(likelihood) - float(judge(params)[0])
    if not gain >= -tolerances.algebra:
        raise AssertionError(f"{name}: expected at least the likelihood of the true member, got {-gain:g} nats less.")
