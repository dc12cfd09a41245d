"""Interaction data from images: exploration that stays off the bounds, see, estimate and act; the true dynamics of the worlds."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...agents import rollout
from ...core import AbstractAgent, Decision
from ...environments import AbstractSpriteWorld
from ...models.sequential import LinearDynamics, Measurement, Periodic, second_order
from ...models.static import SpatialTransformer, SpriteCoordinates, model_at
from ...typing import Array, Float, Int, Key
from ._sprites import CLASS_STEP, LAST_CLASS, NUM_SHAPES, in_classes
from ._tracking import TRACKING_STEPS, locate, rough_pose, track

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


LATTICE_EXPLORATION = Reversal((0.5,) * 4, whole=True)
"""Of whole moves, which have no noise."""


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


@final
class Tracker(AbstractAgent[Array]):
    """Tracks a sprite of known shape from frame to frame, and acts at random; its state is the last estimate of z."""

    sprite: SpatialTransformer
    exploration: Reversal | Spring
    num_steps: int = eqx.field(static=True)

    def init(self, *, key: Key) -> Float[Array, "4"]:
        return jnp.zeros(4)

    def act(self, state: Array, observation: Float[Array, "64 64"], *, key: Key) -> tuple[Decision, Array]:
        # Scale and place start from the bright pixels, the angle, which they do not tell, from the estimate before.
        start = rough_pose(self.sprite, observation).at[1].set(state[1])
        measurement = track(self.sprite, observation, start, self.num_steps)
        # A frame in which the steps diverged is not finite: it counts as missing, and tracking goes on after it.
        estimate = jnp.where(jnp.all(jnp.isfinite(measurement.value)), measurement.value, state)
        place, past = (in_classes(self.sprite.coordinates, z) for z in (estimate, state))
        return Decision(self.exploration(place, place - past, key=key), measurement), estimate


@eqx.filter_jit
def explore(
    world: AbstractSpriteWorld,
    exploration: Reversal | Spring,
    models: SpatialTransformer,
    *,
    num_sequences: int,
    length: int,
    num_steps: int = TRACKING_STEPS,
    key: Key,
) -> Interaction:
    """Sequences with all shapes in turn: see, estimate (by so many steps of the engine), act at random, `length` times.

    The first frame is perceived from nothing but its shape; each later one from the angle before it.
    """

    def one(shape: Int[Array, ""], key: Key) -> Interaction:
        place_key, world_key, see_key, run_key = jr.split(key, 4)
        # Whole configurations in the middle half of every range.
        low, high = jnp.asarray([1, 0, 8, 8]), jnp.asarray([5, world.grid.orientations, 24, 24])
        latents = jnp.concatenate([shape[None], jr.randint(place_key, (4,), low, high)]).astype(jnp.int32)
        state, sprite = world.initial_at(latents, key=world_key), model_at(models, shape)
        first = locate(sprite, world.observation(state, key=see_key), shape, num_steps)
        found, actions, latents = rollout(
            world, Tracker(sprite, exploration, num_steps), key=run_key, num_steps=length, state=state, agent_state=first,
            keep=lambda step: (step.decision.info, step.decision.action, world.latents(step.state)),
        ).trajectory  # fmt: skip
        # Angles are measured within one turn, as if each frame had been looked at by itself.
        values = Periodic(SpriteCoordinates().periods).wrap(found.value)
        return Interaction(values, found.scale_tril, actions[:-1].astype(first.dtype), latents)

    return jax.vmap(one)(jnp.arange(num_sequences) % NUM_SHAPES, jr.split(key, num_sequences))


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
