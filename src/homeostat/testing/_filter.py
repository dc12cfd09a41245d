"""Laws of filters and of their beliefs."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractBelief, AbstractFilter, AbstractSequentialModel, AbstractVectorBelief
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
    finite scalar; an observation of which everything is missing (NaN) leaves the moments of the belief as they were and costs
    nothing; samples of a belief and its weighted points have the same first two moments, which are its mean and covariance
    where it has them; gradients of the free energy in the model's parameters are finite.

    Args:
        filter_: what to check.
        model: a model that it can filter.
        action: an action of that model.
        observation: an observation of that model.
        num_samples: size of the Monte Carlo checks.
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
    for stage, tree in (("init", arrays), ("update", corrected), ("predict", predicted)):
        belief = eqx.combine(tree, static)
        check_belief(belief, key=sample_key, num_samples=num_samples, tolerances=tolerances, name=f"{name}.{stage}")

    if all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in jax.tree.leaves(observation)):
        nothing = eqx.filter_jit(lambda x: jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), x))(observation)
        kept, after, cost = compiled(predicted, nothing, second)
        law = f"{name}.update: where nothing was observed"
        before, now = (_moments(eqx.combine(b, static), first) for b in (predicted, kept))
        assert_close(now, before, tolerances.algebra, law)
        assert_close(cost, np.zeros_like(cost), tolerances.algebra, f"{law} there is no free energy")
        assert_finite(after, law)

    def free_energy_of(m: AbstractSequentialModel) -> Array:
        return filter_.update(m, filter_.init(m, key=start_key), observation, key=first)[1].free_energy_nats

    gradients = eqx.filter_jit(eqx.filter_grad(free_energy_of))(model)
    assert_finite(gradients, f"{name}: gradients of the free energy in the model's parameters")


def check_belief(
    belief: AbstractBelief,
    *,
    key: Key,
    num_samples: int = 4096,
    tolerances: Tolerances = Tolerances(),
    name: str | None = None,
) -> None:
    """Run every law of `AbstractBelief` on `belief`.

    Laws: weights of points are not negative and sum to one; samples and points have the same first two moments, which are the
    mean and covariance of a belief that has them; the entropy is a finite scalar.

    Args:
        belief: what to check, of one step.
        num_samples: size of the Monte Carlo checks.
        name: what a message calls it; its class by default.
    """
    name = type(belief).__name__ if name is None else name
    sample_key, point_key = jr.split(key)
    facts = jax.tree.map(np.asarray, _facts(belief, sample_key, point_key, num_samples))
    if not np.all(facts.weights >= 0.0):
        raise AssertionError(f"{name}: expected weights of points that are not negative, got {facts.weights}.")
    total = np.sum(facts.weights)
    assert_close(total, np.ones_like(total), tolerances.algebra, f"{name}: weights of points sum to one")
    if np.shape(facts.entropy) != ():
        raise AssertionError(f"{name}: expected a scalar entropy in nats, got shape {np.shape(facts.entropy)}.")
    assert_finite(facts.entropy, f"{name}: entropy")
    if facts.own is not None:
        assert_close(facts.own, facts.moments, tolerances.algebra, f"{name}: points have its mean and covariance")
        assert_close(facts.own[1], facts.own[1].T, tolerances.algebra, f"{name}: the covariance is symmetric")
    mean, covariance = facts.moments
    centred = facts.samples - mean
    assert_zero_mean(centred, tolerances.standard_errors, f"{name}: samples have the belief's mean")
    products = centred[:, :, None] * centred[:, None, :] - covariance
    assert_zero_mean(products, tolerances.standard_errors, f"{name}: samples have the belief's covariance")


class _Facts(NamedTuple):
    """What the laws of a belief compare."""

    weights: Array
    entropy: Array
    moments: tuple[Array, Array]
    own: tuple[Array, Array] | None
    samples: Array


@eqx.filter_jit
def _facts(belief: AbstractBelief, sample_key: Key, point_key: Key, num_samples: int) -> _Facts:
    moments = _moments(belief, point_key)
    vector = isinstance(belief, AbstractVectorBelief) and belief.mean.ndim == 1
    samples = jax.vmap(lambda k: belief.sample(key=k))(jr.split(sample_key, num_samples))
    return _Facts(
        belief.points(key=point_key).weights,
        belief.entropy(),
        moments,
        (belief.mean, belief.covariance) if vector else None,  # pyright: ignore[reportAttributeAccessIssue]
        _flat(samples, moments[0].dtype),
    )


@eqx.filter_jit
def _moments(belief: AbstractBelief, key: Key) -> tuple[Array, Array]:
    """Mean and covariance of the weighted points, of states as flat vectors of numbers."""
    points = belief.points(key=key)
    values = _flat(points.values, points.weights.dtype)
    mean = points.weights @ values
    centred = values - mean[None, :]
    return mean, centred.T @ (points.weights[:, None] * centred)


def _flat(states: PyTree, dtype: Any) -> Array:
    """States, along a leading axis, as vectors."""
    leaves = [jnp.asarray(leaf, dtype).reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(states)]
    return jnp.concatenate(leaves, axis=1)
