"""Laws of generative models."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

from ..core import AbstractMarkovModel, AbstractModel, AbstractSequentialModel
from ..typing import Action, Array, Carry, Distribution, Key, PyTree
from ._assertions import assert_close, assert_finite, assert_same_structure, assert_zero_mean, check_transforms
from ._tolerances import Tolerances


def check_model(
    model: AbstractModel,
    *,
    key: Key,
    action: Action | None = None,
    num_samples: int = 1024,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run every law of `AbstractModel` on `model`.

    Laws: the joint density of a sampled state and observation is a finite scalar that obeys the transform laws; its
    gradients in the state and in the model's parameters are finite; observations are drawn from the density that the
    model gives them (their score in the state has mean zero); the next state of a Markov model has the structure of the first.

    Args:
        model: what to check.
        action: an action that the model understands; None for a model without actions.
        num_samples: size of the Monte Carlo checks.
    """
    name = type(model).__name__
    state_key, other_key, draw_key, move_key = jr.split(key, 4)

    @eqx.filter_jit
    def draw(first: Key, second: Key, third: Key) -> tuple[PyTree, PyTree, PyTree]:
        z = model.initial().sample(first)
        return z, model.initial().sample(second), model.emission(z).sample(third)

    state, other, observation = draw(state_key, other_key, draw_key)
    assert_finite((state, observation), f"{name}: samples")

    def joint(z: PyTree, x: PyTree) -> Array:
        return model.initial().log_prob(z) + model.emission(z).log_prob(x)

    value = check_transforms(joint, (state, observation), (other, observation), tolerances, f"{name}: log p(x, z)")(
        state, observation
    )
    if jnp.shape(value) != ():
        raise AssertionError(f"{name}: expected a scalar log p(x, z), got shape {jnp.shape(value)}.")
    assert_finite(value, f"{name}: log p(x, z) of a sample")
    _check_parameter_gradients(model, lambda m: m.initial().log_prob(state) + m.emission(state).log_prob(observation))
    if jnp.issubdtype(jnp.result_type(state), jnp.inexact):
        assert_finite(eqx.filter_jit(jax.grad(joint))(state, observation), f"{name}: gradient of log p(x, z) in z")
        _check_score(model.emission, state, draw_key, num_samples, tolerances, f"{name}.emission")
    if not isinstance(model, AbstractMarkovModel):
        return

    def move(z: PyTree, k: Key) -> tuple[PyTree, Array]:
        moved = model.transition(z, action).sample(k)
        return moved, model.transition(z, action).log_prob(moved)

    compiled = check_transforms(move, (state, move_key), (other, draw_key), tolerances, f"{name}.transition")
    moved, _ = compiled(state, move_key)
    assert_same_structure(moved, state, f"{name}.transition: gives a state like that of initial")
    _check_parameter_gradients(model, lambda m: m.transition(state, action).log_prob(moved))
    if jnp.issubdtype(jnp.result_type(state), jnp.inexact):
        _check_score(
            lambda z: model.transition(z, action), state, move_key, num_samples, tolerances, f"{name}.transition"
        )


def check_sequential_model(
    model: AbstractSequentialModel,
    *,
    key: Key,
    action: Action | None = None,
    num_samples: int = 1024,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run every law of `AbstractSequentialModel` on `model`.

    Laws: `next_carry` preserves the structure, shapes and types of the carry, and moves it to finite numbers; one step (density of a
    state and an observation, and the carry after them) obeys the transform laws, and a loop over steps gives what the same steps
    give one by one; gradients in the model's parameters are finite, through several steps; ancestral samples come from the
    densities (the score of the emission in the state, and that of the prior in the carry, have mean zero).

    Args:
        model: what to check.
        action: an action that the model understands; None for a model without actions.
        num_samples: size of the Monte Carlo checks.
    """
    name = type(model).__name__
    first_key, second_key, score_key, loop_key = jr.split(key, 4)

    def draw(m: AbstractSequentialModel, carry: Carry, k: Key) -> tuple[PyTree, PyTree]:
        state_key, observation_key = jr.split(k)
        state = m.prior(carry).sample(state_key)
        return state, m.emission_given(carry, state).sample(observation_key)

    def step(m: AbstractSequentialModel, carry: Carry, k: Key) -> tuple[Carry, Array]:
        state, observation = jax.lax.stop_gradient(draw(m, carry, k))
        log_density = m.prior(carry).log_prob(state) + m.emission_given(carry, state).log_prob(observation)
        return m.next_carry(carry, state, observation, action), log_density

    def begin(k: Key) -> tuple[Carry, Carry, PyTree]:
        carry = model.init_carry()
        after, _ = step(model, carry, k)
        return carry, after, draw(model, after, score_key)[0]

    start, other, state = eqx.filter_jit(begin)(second_key)
    assert_same_structure(other, start, f"{name}.next_carry: gives a carry like that of init_carry")
    assert_finite((start, other), f"{name}: carries")
    compiled = check_transforms(
        lambda carry, k: step(model, carry, k), (start, first_key), (other, second_key), tolerances, f"{name}: one step"
    )
    _, value = compiled(start, first_key)
    if jnp.shape(value) != ():
        raise AssertionError(f"{name}: expected a scalar log p(x, z | h), got shape {jnp.shape(value)}.")
    keys = jr.split(loop_key, 3)
    looped = eqx.filter_jit(lambda m: jax.lax.scan(lambda h, k: step(m, h, k), m.init_carry(), keys)[1])(model)
    carry, singly = start, []
    for k in keys:
        carry, log_density = compiled(carry, k)
        singly.append(log_density)
    assert_close(looped, np.stack(singly), tolerances.algebra, f"{name}: a loop over steps = steps one by one")
    _check_parameter_gradients(
        model, lambda m: jnp.sum(jax.lax.scan(lambda h, k: step(m, h, k), m.init_carry(), keys)[1])
    )
    if not jnp.issubdtype(jnp.result_type(state), jnp.inexact):
        return
    _check_score(
        lambda z: model.emission_given(other, z), state, score_key, num_samples, tolerances, f"{name}.emission_given"
    )
    flat, unravel = ravel_pytree(eqx.filter(other, eqx.is_inexact_array))
    rest = eqx.filter(other, eqx.is_inexact_array, inverse=True)
    if flat.size:
        _check_score(
            lambda h: model.prior(eqx.combine(unravel(h), rest)),
            flat,
            score_key,
            num_samples,
            tolerances,
            f"{name}.prior",
        )


def _check_score(
    conditional: Callable[[Array], Distribution],
    state: Array,
    key: Key,
    num_samples: int,
    tolerances: Tolerances,
    name: str,
) -> None:
    def score(k: Key) -> Array:
        sample = conditional(state).sample(k)
        return jax.grad(lambda z: conditional(z).log_prob(sample))(state)

    # Mapped in a loop of batches by XLA: images times samples would not fit at once.
    scores = eqx.filter_jit(lambda k: jax.lax.map(score, jr.split(k, num_samples), batch_size=64))(key)
    assert_zero_mean(scores, tolerances.standard_errors, f"{name}: samples come from its density (mean score)")


def _check_parameter_gradients(
    model: AbstractModel | AbstractSequentialModel, log_density: Callable[[Any], Array]
) -> None:
    gradients = eqx.filter_jit(eqx.filter_grad(log_density))(model)
    assert_finite(gradients, f"{type(model).__name__}: gradients in the model's parameters")
