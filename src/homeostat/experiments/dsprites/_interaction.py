"""Interaction data from images: exploration that stays off the bounds, see, estimate and act; the true dynamics of the worlds."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...environments import AbstractSpriteWorld
from ...models.sequential import LinearDynamics, Measurement, second_order
from ...models.static import SpatialTransformer, SpriteCoordinates, model_at
from ...typing import Array, Float, Int, Key, PyTree
from ._sprites import CLASS_STEP, LAST_CLASS, NUM_SHAPES, in_classes
from ._tracking import locate, rough_pose, track

# Explorations map an estimated place (class units) and speed (class units a step) to an action at random that keeps the sprite
# away from the ends of scale and position: a clipped move is no linear dynamics. Which way an action moves is taken as known.


@final
class Reversal(eqx.Module):
    """Draw every component at random, and turn it inwards where the estimate is within its margin of an end.

    Attributes:
        margins: of scale, orientation, x and y, in class units; larger than the largest move and its noise.
        whole: whether actions are -1, 0, 1 instead of real numbers in [-1, 1].
    """

    margins: tuple[float, float, float, float] = eqx.field(static=True)
    whole: bool = eqx.field(static=True, default=False)

    def __call__(self, place, speed, *, key):
        if self.whole:
            action = jr.randint(key, (4,), -1, 2)
        else:
            action = jr.uniform(key, (4,), place.dtype, -1.0, 1.0)
        last = jnp.asarray(LAST_CLASS, place.dtype)
        margins = jnp.asarray(self.margins, place.dtype)
        low = jnp.isfinite(last) & (place < margins)
        return jnp.where(low, jnp.abs(action), jnp.where(place > last - margins, -jnp.abs(action), action))


@final
class Spring(eqx.Module):
    """Random accelerations with a spring towards the middle and some braking, for sprites that have velocity.

    Attributes:
        stiffness: action for a displacement of half the range.
        braking: action for a speed of one class a step.
    """

    stiffness: float = 2.0
    braking: float = 0.5

    def __call__(self, place, speed, *, key):
        last = jnp.asarray(LAST_CLASS, place.dtype)
        middle = jnp.where(jnp.isfinite(last), 0.5 * last, place)
        pull = self.stiffness * (middle - place) / jnp.where(jnp.isfinite(last), 0.5 * last, 1.0)
        action = jr.uniform(key, (4,), place.dtype, -1.0, 1.0) + pull - self.braking * speed
        return jnp.clip(action, -1.0, 1.0)


class Interaction(NamedTuple):
    """Sequences of interaction, with a leading axis of sequences.

    Attributes:
        values: most likely z given each image alone, NaN where tracking failed, [sequences, time, 4].
        scale_trils: lower Cholesky factors of their error covariances, [sequences, time, 4, 4].
        actions: [sequences, time - 1, 4].
        latents: true configurations in class units, for checking only, [sequences, time, 5].
    """

    values: Float[Array, "sequences time 4"]
    scale_trils: Float[Array, "sequences time 4 4"]
    actions: Float[Array, "sequences steps 4"]
    latents: Array

    @property
    def measurements(self) -> Measurement:
        """Values with their noise."""
        return Measurement(self.values, self.scale_trils)


def explore(
    world: AbstractSpriteWorld,
    exploration: Reversal | Spring,
    models: SpatialTransformer,
    *,
    num_sequences: int,
    length: int,
    key: Key,
    tick: Callable[[], None] = lambda: None,
) -> Interaction:
    """Sequences with all shapes in turn: see, estimate, act at random, `length` times.

    The first frame is perceived from nothing but its shape; each later one from the angle before it. A loop
    over compiled steps, not one compiled loop: the step that tracks is then compiled once for all worlds. `tick` is called after
    every frame.
    """
    shapes = jnp.arange(num_sequences) % NUM_SHAPES
    sprites = model_at(models, shapes)
    start_key, first_key, *keys = jr.split(key, length + 2)
    state = _begin(world, shapes, start_key)
    image = _see(world, state, first_key)
    estimate = before = locate(sprites, image, shapes)
    records = []
    for step_key in keys:
        see_key, act_key = jr.split(step_key)
        image = _see(world, state, see_key)
        # Scale and place start from the bright pixels, the angle, which they do not tell, from the estimate before.
        start = rough_pose(sprites, image).at[:, 1].set(estimate[:, 1])
        measurement = track(sprites, image, start)
        # A frame in which the steps diverged is not finite: it counts as missing, and tracking goes on after it.
        lost = ~jnp.all(jnp.isfinite(measurement.value), axis=1, keepdims=True)
        before, estimate = estimate, jnp.where(lost, estimate, measurement.value)
        state, record = _act(world, exploration, sprites, state, measurement, estimate, before, act_key)
        records.append(record)
        tick()
    measurements, actions, latents = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *records)
    return Interaction(measurements.value, measurements.scale_tril, actions[:, :-1], latents)


@eqx.filter_jit
def _begin(world: AbstractSpriteWorld, shapes: Int[Array, " n"], key: Key) -> PyTree:
    """States with whole configurations in the middle half of every range."""

    def one(shape, one_key):
        place_key, world_key = jr.split(one_key)
        low, high = jnp.asarray([1, 0, 8, 8]), jnp.asarray([5, world.grid.orientations, 24, 24])
        latents = jnp.concatenate([shape[None], jr.randint(place_key, (4,), low, high)]).astype(jnp.int32)
        return world.initial_at(latents, key=world_key)

    return jax.vmap(one)(shapes, jr.split(key, shapes.shape[0]))


@eqx.filter_jit
def _see(world: AbstractSpriteWorld, states: PyTree, key: Key) -> Float[Array, "n 64 64"]:
    num = jax.tree.leaves(states)[0].shape[0]
    return jax.vmap(lambda state, k: world.observation(state, key=k))(states, jr.split(key, num))


@eqx.filter_jit
def _act(
    world: AbstractSpriteWorld,
    exploration: Reversal | Spring,
    sprites: SpatialTransformer,
    states: PyTree,
    measurements: Measurement,
    estimates: Float[Array, "n 4"],
    before: Float[Array, "n 4"],
    key: Key,
) -> tuple[PyTree, tuple[Measurement, Array, Array]]:
    """Choose and carry out the actions; what is remembered of the frame is returned beside the next states."""
    coordinates = sprites.coordinates

    def one(state, value, previous, offset, gain, one_key):
        act_key, move_key = jr.split(one_key)
        place = in_classes(SpriteCoordinates(offset, gain), value)
        speed = place - in_classes(SpriteCoordinates(offset, gain), previous)
        action = exploration(place, speed, key=act_key)
        return world.transition(state, action, key=move_key), action

    keys = jr.split(key, before.shape[0])
    after, actions = jax.vmap(one)(states, estimates, before, coordinates.offset, coordinates.gain, keys)
    return after, (measurements, actions.astype(before.dtype), jax.vmap(world.latents)(states))


def true_first_order(gain: Float[Array, "4 4"], noise: Float[Array, "4 4"]) -> LinearDynamics:
    """z' = z + B u + L eps, with gain and noise given in class units."""
    step = jnp.asarray(CLASS_STEP)[:, None]
    return LinearDynamics(jnp.eye(4), step * gain, step * noise)


def true_second_order(gain: Float[Array, "4 4"], noise: Float[Array, "4 4"], damping: float) -> LinearDynamics:
    """(p', v') with v' = (1 - damping) v + B u + L eps and p' = p + v', in the units of z.

    The position has no noise of its own; 1e-4 of a class is given to it so that the noise has a factor.
    """
    step = jnp.asarray(CLASS_STEP)
    mean = second_order(4, damping=damping, gain=step[:, None] * gain)
    through = jnp.concatenate([jnp.eye(4), jnp.eye(4)]) @ (step[:, None] * noise)
    floor = jnp.diag(jnp.concatenate([1e-4 * step, jnp.zeros(4)]) ** 2)
    return LinearDynamics(mean.matrix, mean.control, jnp.linalg.cholesky(through @ through.T + floor))
