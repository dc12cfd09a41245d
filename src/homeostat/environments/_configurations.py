"""Where an episode starts and which goals it is given: distributions over configurations."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..results import BadInputError
from ..typing import Any, Array, Float, Key
from ._grid import FACTORS, NUM_SHAPES, SpriteGrid


class AbstractConfigurations(eqx.Module):
    """A distribution over latents [shape, scale, orientation, x, y] in class units."""

    @abc.abstractmethod
    def draw(self, grid: SpriteGrid, *, on_lattice: bool, key: Key) -> Array:
        """One configuration, shape (5,): integers on the lattice, else real numbers within it."""


@final
class UniformConfigurations(AbstractConfigurations):
    """Every factor independent and uniform."""

    shapes: tuple[int, ...] = eqx.field(static=True, default=(0, 1, 2))

    def __check_init__(self):
        if not self.shapes or not all(shape in range(NUM_SHAPES) for shape in self.shapes):
            raise BadInputError(f"Expected shapes among 0 (square), 1 (ellipse) and 2 (heart), got {self.shapes!r}.")

    def draw(self, grid, *, on_lattice, key):
        shape_key, pose_key = jr.split(key)
        shape = jnp.asarray(self.shapes)[jr.randint(shape_key, (), 0, len(self.shapes))]
        classes = jnp.asarray(grid.num_classes[1:])
        if on_lattice:
            pose = jr.randint(pose_key, (4,), 0, classes)
            return jnp.concatenate([shape[None], pose]).astype(jnp.int32)
        # The ring has no end, so orientation covers one class unit more than the steps between its classes.
        extent = jnp.where(jnp.arange(4) == 1, classes, classes - 1)
        pose = jr.uniform(pose_key, (4,)) * extent
        return jnp.concatenate([shape[None].astype(pose.dtype), pose])


@final
class FixedConfiguration(AbstractConfigurations):
    """Always the same configuration.

    Attributes:
        latents: [shape, scale, orientation, x, y] in class units.
    """

    latents: Array = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        if self.latents.shape != (5,):
            raise BadInputError(
                f"Expected latents as five numbers [shape, scale, orientation, x, y], got shape {self.latents.shape}."
            )

    def draw(self, grid, *, on_lattice, key):
        del key
        latents = grid.contain(grid.checked(self.latents))
        if not on_lattice:
            return latents.astype(jnp.result_type(float))
        if not jnp.issubdtype(latents.dtype, jnp.integer):
            raise BadInputError("Expected whole numbers for a start or goal on the lattice, got real ones.")
        return latents.astype(jnp.int32)


@final
class FactorisedConfigurations(AbstractConfigurations):
    """Independent categorical distributions, one per factor; a preference over latents as well as a start.

    Attributes:
        log_probabilities: five vectors of normalised log-probabilities in nats, as long as each factor has classes.
    """

    log_probabilities: tuple[Float[Array, " classes"], ...]

    def __init__(self, logits: Any):
        """`logits`: five vectors (shape, scale, orientation, x, y), normalised here."""
        if len(logits) != len(FACTORS):
            raise BadInputError(f"Expected five vectors of logits, one for each of {FACTORS}, got {len(logits)}.")
        self.log_probabilities = tuple(jax.nn.log_softmax(jnp.asarray(np.asarray(v, float))) for v in logits)

    def log_prob(self, latents: Array) -> Float[Array, "*batch"]:
        """Log p(latents) in nats, for latents of shape (..., 5); real latents are read at their nearest class."""
        nearest = jnp.round(latents).astype(int)
        terms = [
            # Orientation rounds up to the end of the ring, which is its beginning.
            table[nearest[..., factor] % table.shape[-1] if factor == 2 else nearest[..., factor]]
            for factor, table in enumerate(self.log_probabilities)
        ]
        return jnp.sum(jnp.stack(terms), axis=0)

    def draw(self, grid, *, on_lattice, key):
        keys = jr.split(key, len(FACTORS))
        lengths = tuple(table.shape[-1] for table in self.log_probabilities)
        if lengths != grid.num_classes:
            raise BadInputError(f"Expected logits of lengths {grid.num_classes} for {FACTORS}, got {lengths}.")
        draws = [jr.categorical(k, table) for k, table in zip(keys, self.log_probabilities, strict=True)]
        return jnp.stack(draws).astype(jnp.int32 if on_lattice else jnp.result_type(float))
