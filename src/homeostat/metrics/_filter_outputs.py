"""What a model with its filter says of each step of a sequence, before the observation and after it."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core import AbstractFilter, AbstractSequentialModel
from ..inference import SequenceBatch, filter
from ..typing import Array, Distribution, Float, Key


class FilterOutputs(NamedTuple):
    """Outputs from the second step of a sequence on, and beliefs about its states; leading axis [time].

    Attributes:
        predicted: mean of x_{t+1} given what came before, [time - 1, ...].
        predicted_scale: its standard deviation.
        updated: mean of x_{t+1} under the belief after it.
        updated_scale: its standard deviation.
        mean: of the state after each observation, [time, d].
        scale: its standard deviation.
    """

    predicted: Float[Array, "steps ..."]
    predicted_scale: Float[Array, "steps ..."]
    updated: Float[Array, "steps ..."]
    updated_scale: Float[Array, "steps ..."]
    mean: Float[Array, "time d"]
    scale: Float[Array, "time d"]


@eqx.filter_jit
def predictions_and_updates(
    method: AbstractFilter, model: AbstractSequentialModel, batch: SequenceBatch, *, key: Key, num_samples: int = 16
) -> FilterOutputs:
    """Outputs before and after each update of the only sequence of a batch, averaged over draws of its state.

    Args:
        method: finds the beliefs.
        model: p(x, z).
        batch: of one sequence.
        key: random key.
        num_samples: draws of the state at each step.
    """
    x, mask = batch.observations[0], jax.tree.map(lambda leaf: leaf[0], batch.mask)
    actions = jax.tree.map(lambda leaf: leaf[0], batch.actions)
    filter_key, draw_key = jax.random.split(key)
    found = filter(method, model, x, actions, key=filter_key, mask=mask, throw=False)

    def draw(step: Array, one_key: Key) -> tuple[tuple[Array, Array], ...]:
        before_key, state_key, after_key = jax.random.split(one_key, 3)
        before = jax.tree.map(lambda leaf: leaf[step], found.beliefs).snapshot(key=before_key)
        carry = model.init_carry() if before.carry is None else before.carry
        action = jax.tree.map(lambda leaf: leaf[step], actions)
        carry = model.next_carry(carry, before.state, before.observation, action)
        ahead = model.emission_given(carry, model.prior(carry).sample(state_key))
        after = jax.tree.map(lambda leaf: leaf[step + 1], found.beliefs).snapshot(key=after_key)
        now = model.emission_given(model.init_carry() if after.carry is None else after.carry, after.state)
        return tuple((expected(one), jnp.broadcast_to(one.variance, x.shape[1:])) for one in (ahead, now))

    def at(pair: tuple[Array, Key]) -> tuple[tuple[Array, Array], ...]:
        step, step_key = pair
        drawn = jax.vmap(draw, in_axes=(None, 0))(step, jax.random.split(step_key, num_samples))
        # The variance of a mixture: the mean of the variances and the variance of the means.
        return tuple(
            (jnp.mean(mean, axis=0), jnp.sqrt(jnp.mean(variance, axis=0) + jnp.var(mean, axis=0)))
            for mean, variance in drawn
        )

    count = x.shape[0] - 1
    before, after = jax.lax.map(at, (jnp.arange(count), jax.random.split(draw_key, count)))
    mean, variance = jax.vmap(lambda belief: (belief.mean, jnp.diagonal(belief.covariance)))(found.beliefs)
    return FilterOutputs(*before, *after, mean, jnp.sqrt(variance))


def expected(emission: Distribution | Any) -> Array:
    """The mean of an observation; of categories, the most probable one."""
    base = getattr(emission, "base_dist", emission)
    if type(base).__name__ == "CategoricalLogits":
        return jnp.argmax(base.logits, axis=-1).astype(base.logits.dtype)
    return jnp.broadcast_to(emission.mean, emission.event_shape)
