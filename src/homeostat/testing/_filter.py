"""Laws of filters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractFilter, AbstractSequentialModel
from ..typing import Action, Array, Key, Observation, PyTree
from ._assertions import assert_close, assert_finite, assert_same_structure, assert_zero_mean, check_transforms
from ._tolerances import Tolerances


def check_filter(
    filter_: AbstractFilter,
    model: AbstractSequentialModel,
    action: Action,
    observation: Observation,
    *,
    key: Key,
    num_samples: int = 4096,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run every law of `AbstractFilter` on `filter_`.

    Laws: predict and update preserve the structure of the belief and obey the transform laws; the free energy is a
    finite scalar; an observation of which everything is missing (NaN) leaves mean and covariance as they were and costs
    nothing; a belief's covariance is symmetric and positive semi-definite, and its samples have its mean and
    covariance; gradients of the free energy in the model's parameters are finite.

    Args:
        filter_: what to check.
        model: a model that it can filter.
        action: an action of that model.
        observation: an observation of that model.
        key: random key.
        num_samples: size of the Monte Carlo checks.
        tolerances: see `Tolerances`.

    Raises:
        AssertionError: the first law that does not hold, in a sentence.
    """
    name = type(filter_).__name__
    start_key, first, second, sample_key = jr.split(key, 4)
    belief = eqx.filter_jit(lambda k: filter_.init(model, key=k))(start_key)
    arrays, static = eqx.partition(belief, eqx.is_array)

    def cycle(b: PyTree, x: Observation, k: Key) -> tuple[PyTree, PyTree, Array]:
        update_key, predict_key = jr.split(k)
        corrected, info = filter_.update(model, eqx.combine(b, static), x, key=update_key)
        predicted = filter_.predict(model, corrected, action, key=predict_key)
        return eqx.filter(corrected, eqx.is_array), eqx.filter(predicted, eqx.is_array), info.free_energy_nats

    other = eqx.filter_jit(lambda x: jax.tree.map(lambda leaf: leaf + 0.1, x))(observation)
    compiled = check_transforms(
        cycle, (arrays, observation, first), (arrays, other, second), tolerances, f"{name}: update, then predict"
    )
    corrected, predicted, free_energy = compiled(arrays, observation, first)
    assert_same_structure(corrected, arrays, f"{name}.update: preserves the belief's structure")
    assert_same_structure(predicted, arrays, f"{name}.predict: preserves the belief's structure")
    if jnp.shape(free_energy) != ():
        raise AssertionError(f"{name}: expected a scalar free energy in nats, got shape {jnp.shape(free_energy)}.")
    assert_finite((corrected, predicted, free_energy), f"{name}: beliefs and free energy")

    @eqx.filter_jit
    def draw(b: PyTree) -> tuple[Array, Array, Array]:
        current = eqx.combine(b, static)
        samples = jax.vmap(lambda k: current.sample(key=k))(jr.split(sample_key, num_samples))
        return current.mean, current.covariance, samples

    for stage, tree in (("init", arrays), ("update", corrected), ("predict", predicted)):
        _check_moments(*draw(tree), tolerances, f"{name}.{stage}")

    if all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in jax.tree.leaves(observation)):
        nothing = eqx.filter_jit(lambda x: jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), x))(observation)
        kept, after, cost = compiled(predicted, nothing, second)
        law = f"{name}.update: where nothing was observed"
        assert_close(draw(kept)[:2], draw(predicted)[:2], tolerances.algebra, law)
        assert_close(cost, np.zeros_like(cost), tolerances.algebra, f"{law} there is no free energy")
        assert_finite(after, law)

    def free_energy_of(m: AbstractSequentialModel) -> Array:
        return filter_.update(m, filter_.init(m, key=start_key), observation, key=first)[1].free_energy_nats

    gradients = eqx.filter_jit(eqx.filter_grad(free_energy_of))(model)
    assert_finite(gradients, f"{name}: gradients of the free energy in the model's parameters")


def _check_moments(mean: Array, covariance: Array, samples: Array, tolerances: Tolerances, name: str) -> None:
    mean, covariance, samples = np.asarray(mean), np.asarray(covariance), np.asarray(samples)
    if covariance.shape != (*mean.shape, *mean.shape):
        raise AssertionError(f"{name}: expected a covariance {(*mean.shape, *mean.shape)}, got {covariance.shape}.")
    assert_close(covariance, covariance.T, tolerances.algebra, f"{name}: the covariance is symmetric")
    smallest = float(np.linalg.eigvalsh(covariance)[0])
    if smallest < -tolerances.algebra:
        raise AssertionError(f"{name}: expected no negative eigenvalue of the covariance, got {smallest:g}.")
    if np.issubdtype(samples.dtype, np.integer):
        # The moments of a discrete state are those of its indicator vector.
        samples = np.eye(mean.shape[0], dtype=mean.dtype)[samples]
    centred = samples - mean
    assert_zero_mean(centred, tolerances.standard_errors, f"{name}: samples have the belief's mean")
    products = centred[:, :, None] * centred[:, None, :] - covariance
    assert_zero_mean(products, tolerances.standard_errors, f"{name}: samples have the belief's covariance")
