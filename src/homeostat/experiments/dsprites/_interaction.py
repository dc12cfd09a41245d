"""Interaction data from images: worlds to explore, exploration that stays off their bounds, and tracking frame by frame."""

import abc
import math
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...distributions import FullGaussian, GaussianMoments, gaussian_moments
from ...environments import SYMMETRY_ORDER, AbstractSpriteWorld, Antialiased
from ...inference import infer
from ...inference.engines import NaturalGradient
from ...models.sequential import LinearDynamics, Measurement, second_order
from ...models.static import Similarity, SpatialTransformer, SpriteCoordinates
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Int, Key, PyTree
from ._sprites import TEMPLATE_CELLS, TEMPLATE_EXTENT, Centre, angle_period, similarity_of, sprite_model

CLASS_STEP = (0.1 / 0.171, 2.0 / 40.0, 32.0 / 31.0 / 9.24, 32.0 / 31.0 / 9.24)
"""One class of scale, orientation and position in the units of z (see `SpriteCoordinates`)."""

LAST_CLASS = (5.0, math.inf, 31.0, 31.0)
"""Largest class of each factor; orientation has no end. The smallest is 0 (for orientation, none)."""

TRACKING_WIDTH = 0.5
"""Standard deviation of the prior of one frame about the previous estimate, in units of z. It only has to be wide: it is
divided out of the posterior again."""

TRACKING_STEPS = 6
"""Natural-gradient steps a frame."""

TEMPLATE_EDGE = 3.0
"""Width of a template's edges, in template cells."""

RING = 12
"""Angles tried in a first frame, over the range that the shape's symmetry leaves."""


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


class AbstractExploration(eqx.Module):
    """Random actions that keep the sprite away from the ends of scale and position, where moves are clipped.

    A clipped move is no linear dynamics, so it is kept out of the data; which way an action moves a factor is taken as known.
    """

    @abc.abstractmethod
    def __call__(self, place: Float[Array, "4"], speed: Float[Array, "4"], *, key: Key) -> Array:
        """The action at an estimated place (class units) and speed (class units a step)."""


@final
class Reversal(AbstractExploration):
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
class Spring(AbstractExploration):
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


def tracking_models(sigma: float) -> SpatialTransformer:
    """Given-template models of the three shapes, stacked, with edges as soft as those of the images.

    A template drawn with edges one of its own cells wide is sharper than the images; its energy is then rough at the scale of
    a step, Gauss-Newton steps stall, and the posterior is too narrow. Three cells are 1.1 pixels at the mean scale.

    Args:
        sigma: standard deviation of a pixel.
    """
    zoom = 32.0 / TEMPLATE_EXTENT
    renderer = Antialiased(size=TEMPLATE_CELLS, edge_width=TEMPLATE_EDGE, max_scale=zoom)
    shapes = jnp.arange(len(SYMMETRY_ORDER))
    templates = jax.vmap(lambda shape: renderer.image(shape, zoom, 0.0, 32.0, 32.0))(shapes)
    log_sigma = jnp.log(jnp.asarray(sigma, templates.dtype))
    return eqx.filter_vmap(lambda t: SpatialTransformer(t, log_sigma=log_sigma, extent=TEMPLATE_EXTENT))(templates)


def explore(
    world: AbstractSpriteWorld,
    exploration: AbstractExploration,
    models: SpatialTransformer,
    *,
    num_sequences: int,
    length: int,
    key: Key,
    tick: Callable[[], None] = lambda: None,
) -> Interaction:
    """Sequences with all shapes in turn: see, estimate, act at random, `length` times.

    The first frame is perceived from nothing but its shape; each later one from the angle before it. A loop
    over compiled steps, not one compiled loop: the step that tracks is then compiled once for all worlds.

    Args:
        world: images in, actions out.
        exploration: chooses actions from estimates alone.
        models: stacked sprite models.
        num_sequences: run side by side.
        length: number of frames.
        key: of everything.
        tick: called after every frame, `length` times.
    """
    shapes = jnp.arange(num_sequences) % len(SYMMETRY_ORDER)
    sprites = eqx.filter_vmap(lambda shape: sprite_model(models, shape))(shapes)
    start_key, first_key, *keys = jr.split(key, length + 2)
    state = _begin(world, shapes, start_key)
    image = _see(world, state, first_key)
    estimate = before = _locate(sprites, image, shapes)
    records = []
    for step_key in keys:
        see_key, act_key = jr.split(step_key)
        image = _see(world, state, see_key)
        # Scale and place start from the bright pixels, the angle, which they do not tell, from the estimate before.
        start = _rough_pose(sprites, image).at[:, 1].set(estimate[:, 1])
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
def track(sprites: SpatialTransformer, images: Float[Array, "n 64 64"], starts: Float[Array, "n 4"]) -> Measurement:
    """What each image says about z near `starts`: natural gradients with a full covariance, less the prior.

    The points of q are its mean alone, which makes each a Gauss-Newton step and the result the Laplace approximation.
    """
    family, engine = FullGaussian(4), NaturalGradient(rate=1.0, expectation=Centre())

    def one(sprite, image, start):
        prior = GaussianMoments(start, TRACKING_WIDTH * jnp.eye(4, dtype=start.dtype))
        posterior = infer(
            FreeEnergy(sprite, Centre()),
            engine,
            family,
            Evidence(image, family(family.from_scale_tril(*prior))),
            key=jr.key(0),
            params=family.from_scale_tril(start, 0.02 * prior.scale_tril),
            num_steps=TRACKING_STEPS,
            throw=False,
        )  # The rules above draw nothing, so the key has no effect.
        return Measurement.from_posterior(gaussian_moments(posterior.distribution), prior)

    return eqx.filter_vmap(one)(sprites, images, starts)


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
    exploration: AbstractExploration,
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


def _locate(
    sprites: SpatialTransformer, images: Float[Array, "n 64 64"], shapes: Int[Array, " n"]
) -> Float[Array, "n 4"]:
    """Poses in a first frame: scale and place from the bright pixels, the best of a ring of angles by tracking each."""
    rough = _rough_pose(sprites, images)
    turn = angle_period(shapes) / sprites.coordinates.gain[:, 1]
    best = jnp.full(shapes.shape, jnp.inf)
    found = rough
    for index in range(RING):
        start = rough.at[:, 1].add(turn * (index / RING))
        value = track(sprites, images, start).value
        energy = _misfit(sprites, images, value)
        better = energy < best
        found, best = jnp.where(better[:, None], value, found), jnp.where(better, energy, best)
    return found


@eqx.filter_jit
def _rough_pose(sprites: SpatialTransformer, images: Float[Array, "n 64 64"]) -> Float[Array, "n 4"]:
    def one(sprite, image):
        bright = (image > 0.5).astype(image.dtype)
        mass, ticks = jnp.maximum(jnp.sum(bright), 1.0), jnp.arange(image.shape[0], dtype=image.dtype) + 0.5
        cell = 2.0 * sprite.extent / sprite.template.shape[0]
        scale = jnp.sqrt(mass / (jnp.sum(sprite.template) * cell**2))
        place = Similarity(
            scale, jnp.zeros_like(mass), jnp.sum(bright, 0) @ ticks / mass, jnp.sum(bright, 1) @ ticks / mass
        )
        return sprite.coordinates.inverse(place)

    return eqx.filter_vmap(one)(sprites, images)


@eqx.filter_jit
def _misfit(
    sprites: SpatialTransformer, images: Float[Array, "n 64 64"], values: Float[Array, "n 4"]
) -> Float[Array, " n"]:
    """Mean squared difference of images and models; infinite where a value is not finite."""
    error = eqx.filter_vmap(lambda sprite, image, z: jnp.mean((sprite.image(z) - image) ** 2))(sprites, images, values)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def in_classes(coordinates: SpriteCoordinates, z: Float[Array, "4"]) -> Float[Array, "4"]:
    """Scale, orientation (on the cover), x and y in class units."""
    origin = jnp.stack([jnp.asarray(part, z.dtype) for part in similarity_of(jnp.zeros(5, z.dtype))])
    return (jnp.stack(coordinates(z)) - origin) / (coordinates.gain * jnp.asarray(CLASS_STEP, z.dtype))


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
