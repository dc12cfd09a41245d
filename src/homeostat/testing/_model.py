"""Laws of generative models."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractModel
from ..results import BadInputError
from ..typing import Action, Array, Distribution, Key, PyTree
from ._assertions import assert_finite, assert_same_structure, assert_zero_mean, check_transforms
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
    model gives them (their score in the state has mean zero); the next state has the structure of the first; a static
    model refuses to move, by `BadInputError`.

    Args:
        model: what to check.
        key: random key.
        action: an action that the model understands; None for a static model.
        num_samples: size of the Monte Carlo checks.
        tolerances: see `Tolerances`.

    Raises:
        AssertionError: the first law that does not hold, in a sentence.
    """
    name = type(model).__name__
    state_key, other_key, draw_key, move_key = jr.split(key, 4)
    state, other = model.initial().sample(state_key), model.initial().sample(other_key)
    observation = model.emission(state).sample(draw_key)
    assert_finite((state, observation), f"{name}: samples")

    def joint(z: PyTree, x: PyTree) -> Array:
        return model.initial().log_prob(z) + model.emission(z).log_prob(x)

    value = check_transforms(
        joint, (state, observation), (other, observation), tolerances.algebra, f"{name}: log p(x, z)"
    )
    if jnp.shape(value) != ():
        raise AssertionError(f"{name}: expected a scalar log p(x, z), got shape {jnp.shape(value)}.")
    assert_finite(value, f"{name}: log p(x, z) of a sample")
    _check_parameter_gradients(model, lambda m: m.initial().log_prob(state) + m.emission(state).log_prob(observation))
    if jnp.issubdtype(jnp.result_type(state), jnp.inexact):
        assert_finite(jax.grad(joint)(state, observation), f"{name}: gradient of log p(x, z) in z")
        _check_score(model.emission, state, draw_key, num_samples, tolerances, f"{name}.emission")
    if action is None:
        _check_static(model, state)
        return
    moved = model.transition(state, action).sample(move_key)
    assert_same_structure(moved, state, f"{name}.transition: gives a state like that of initial")
    check_transforms(
        lambda z, k: model.transition(z, action).log_prob(model.transition(z, action).sample(k)),
        (state, move_key),
        (other, draw_key),
        tolerances.algebra,
        f"{name}.transition",
    )
    _check_parameter_gradients(model, lambda m: m.transition(state, action).log_prob(moved))
    if jnp.issubdtype(jnp.result_type(state), jnp.inexact):
        _check_score(
            lambda z: model.transition(z, action), state, move_key, num_samples, tolerances, f"{name}.transition"
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
    scores = eqx.filter_jit(lambda keys: jax.lax.map(score, keys, batch_size=64))(jr.split(key, num_samples))
    assert_zero_mean(scores, tolerances.standard_errors, f"{name}: samples come from its density (mean score)")


def _check_parameter_gradients(model: AbstractModel, log_density: Callable[[AbstractModel], Array]) -> None:
    gradients = eqx.filter_jit(eqx.filter_grad(log_density))(model)
    assert_finite(gradients, f"{type(model).__name__}: gradients in the model's parameters")


def _check_static(model: AbstractModel, state: PyTree) -> None:
    try:
        model.transition(state, jnp.zeros(1))
    except BadInputError:
        return
    raise AssertionError(f"{type(model).__name__}: expected a static model to raise BadInputError when moved.")
