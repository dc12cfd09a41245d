"""Scenes of several coloured sprites: drawing them, and explaining them with their order of depth."""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...distributions import Antithetic, Cubature, FullGaussian
from ...environments import SceneState, SpriteGrid, SpriteScene
from ...inference import KeepAll, ModePosterior, infer_modes
from ...inference.engines import NaturalGradient
from ...models.static import ExplainingAway, OccludedSprites, model_at, stack_models
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Bool, Float, Int, Key
from ._sprites import SIGMA, similarity_of, sprite_templates

COLOURS = ((1.0, 0.25, 0.2), (0.25, 0.85, 0.3), (0.3, 0.45, 1.0))


class Scene(NamedTuple):
    """A picture of one square, one ellipse and one heart, and how it came about.

    Attributes:
        image: what is seen.
        latents: class latents of each object; object k has shape k.
        order: objects from far to near.
    """

    image: Float[Array, "64 64 3"]
    latents: Int[Array, "3 5"]
    order: Int[Array, "3"]


def draw_scene(*, key: Key) -> Scene:
    """Pixel-exact sprites with random poses, the nearer covering the farther."""
    pose_key, order_key = jr.split(key)
    classes = jnp.asarray(SpriteGrid().num_classes)
    latents = jr.randint(pose_key, (3, 5), 0, classes[None, :]).at[:, 0].set(jnp.arange(3))
    order = jr.permutation(order_key, 3)
    latents, order = latents.astype(jnp.int32), order.astype(jnp.int32)
    state = SceneState(latents, jnp.zeros((3, 0)), jnp.asarray(COLOURS), order, ())
    return Scene(SpriteScene(3, COLOURS).picture(state), latents, order)


def scene_models() -> OccludedSprites:
    """Given-template models of all six orders of depth, stacked; row k belongs to row k of `depth_orders`."""
    templates = sprite_templates()
    log_sigma = jnp.log(jnp.asarray(SIGMA, templates.dtype))
    build = lambda order: OccludedSprites(templates, jnp.asarray(COLOURS), order, jnp.zeros(3), log_sigma)  # noqa: E731
    return stack_models(tuple(map(build, depth_orders())))


def depth_orders() -> Int[Array, "6 3"]:
    """All orders of three objects, each from far to near."""
    return jnp.asarray(list(itertools.permutations(range(3))), jnp.int32)


def explain_scene(
    models: OccludedSprites, image: Float[Array, "64 64 3"], *, key: Key, num_steps: int = 10
) -> ModePosterior:
    """Poses of all objects under every order of depth, weighed by their free energies; mode k is order k."""
    num_orders = depth_orders().shape[0]
    starts = ExplainingAway()(model_at(models, 0), image)

    def best_start(model):
        objective = FreeEnergy(model)
        energies = jax.lax.map(lambda z: objective.pointwise(z, Evidence(image), key=key), starts)
        return starts[jnp.argmin(energies)]

    chosen = eqx.filter_vmap(best_start)(models)
    family = FullGaussian(chosen.shape[1])
    narrow = jax.vmap(lambda z: family.from_scale_tril(z, 0.02 * jnp.eye(z.shape[0], dtype=z.dtype)))(chosen)
    return infer_modes(
        FreeEnergy(models, Cubature()),
        NaturalGradient(rate=0.7, expectation=Antithetic(3)),
        family,
        Evidence(image),
        narrow,
        key=key,
        num_steps=num_steps,
        hypothesis=jnp.arange(num_orders),
        merging=KeepAll(),
        throw=False,
    )


def scene_errors(
    models: OccludedSprites, scene: Scene, found: ModePosterior
) -> tuple[Float[Array, "3"], Bool[Array, ""]]:
    """Errors of the most probable explanation.

    Returns:
        Distance of each object's centre from the truth in pixels, and whether the most probable order of depth draws the true
        picture (orders of objects that do not overlap are equivalent).
    """
    best = model_at(models, found.best)
    decoded = jax.vmap(best.coordinates)(found.best_params.loc.reshape(3, 4))
    truth = jax.vmap(similarity_of)(scene.latents)
    pixels = jnp.hypot(decoded.x - truth.x, decoded.y - truth.y)
    z = jax.vmap(best.coordinates.inverse)(truth).ravel()
    true_order = eqx.tree_at(lambda model: model.order, best, scene.order)
    return pixels, jnp.max(jnp.abs(best.image(z) - true_order.image(z))) < 0.5
