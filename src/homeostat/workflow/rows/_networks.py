"""What networks read of an observation, and networks built by name."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...nn import MLP, ConvolutionalDecoder, ConvolutionalEncoder, FlatImage, HighwayMLP
from ...objectives import Evidence
from ...results import BadInputError
from ...typing import Array, Float, Key
from ._describe import RowsDescription
from ._options import RowsOptions


class AbstractReader(eqx.Module):
    """Features of an observation for a network."""

    @abc.abstractmethod
    def __call__(self, args: Evidence) -> Float[Array, "..."]:
        """The features."""


@final
class Flat(AbstractReader):
    """The numbers themselves, in one vector."""

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        return jnp.ravel(jnp.asarray(args.observation, jnp.result_type(float)))


@final
class Standardized(AbstractReader):
    """(x - loc) / scale, for models that see the data in their own unit.

    Attributes:
        loc: mean of the training rows.
        scale: their standard deviation.
    """

    loc: Float[Array, " n"]
    scale: Float[Array, " n"]

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        loc, scale = jax.lax.stop_gradient((self.loc, self.scale))
        return (jnp.ravel(args.observation) - loc) / scale


@final
class LogCounts(AbstractReader):
    """log(1 + x) of word counts."""

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        return jnp.log1p(jnp.ravel(jnp.asarray(args.observation, jnp.result_type(float))))


@final
class OneHot(AbstractReader):
    """One number for each alternative of each entry.

    Attributes:
        num_classes: alternatives.
    """

    num_classes: int = eqx.field(static=True)

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        return jax.nn.one_hot(jnp.ravel(jnp.asarray(args.observation, jnp.int32)), self.num_classes).ravel()


@final
class Image(AbstractReader):
    """The numbers as a square.

    Attributes:
        side: pixels.
    """

    side: int = eqx.field(static=True)

    def __call__(self, args: Evidence) -> Float[Array, "side side"]:
        return jnp.asarray(args.observation, jnp.result_type(float)).reshape(self.side, self.side)


def make_reader(description: RowsDescription, options: RowsOptions) -> AbstractReader:
    """What networks read of these description."""
    if description.likelihood == "multinomial":
        return LogCounts()
    if description.likelihood == "categorical":
        return OneHot(description.num_classes)
    if description.likelihood == "gaussian" and not description.scaling.standardized:
        return Standardized(jnp.asarray(description.scaling.loc), jnp.asarray(description.scaling.scale))
    return Flat()


@final
class Encoder(eqx.Module):
    """An observation to flat parameters.

    Attributes:
        reader: gives the features.
        network: maps them.
        bound: applied to the output.
    """

    reader: AbstractReader
    network: Callable[..., Any]
    bound: Callable[[Array], Array] | None = None

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        output = self.network(self.reader(args))
        return output if self.bound is None else self.bound(output)


def dense(options: RowsOptions) -> Callable[..., Any]:
    """`build(in_size, out_size, key=...)` of dense networks."""
    kind = HighwayMLP if options.mapping == "highway" else MLP
    return partial(kind, width=options.width, depth=options.depth)


def make_mapping(options: RowsOptions, description: RowsDescription, num_features: int) -> Callable[..., Any]:
    """`build(in_size, out_size, key=...)` of the model's networks: the one that ends in features may be convolutional."""
    plain = dense(options)
    if options.mapping != "convolutional":
        return plain
    side, patch = _square(description)
    if num_features != side * side:
        raise BadInputError(
            f"Expected one feature for each pixel for --mapping convolutional, got {num_features} for {side * side}: use "
            f"--scale constant and a bernoulli, gaussian or discretized-gaussian likelihood, or --mapping mlp."
        )

    def build(in_size: int, out_size: int, *, key: Key) -> Any:
        if out_size != num_features:
            return plain(in_size, out_size, key=key)
        return FlatImage(ConvolutionalDecoder(in_size, side, key=key, patch=patch, width=options.width))

    return build


def make_encoder(
    options: RowsOptions,
    description: RowsDescription,
    out_size: int,
    *,
    key: Key,
    bound: Callable[[Array], Array] | None,
) -> Encoder:
    """A network from an observation to parameters."""
    if options.mapping == "convolutional":
        side, patch = _square(description)
        network = ConvolutionalEncoder(side, out_size, key=key, patch=patch, width=options.width)
        return Encoder(Image(side), network, bound)
    reader = make_reader(description, options)
    in_size = eqx.filter_eval_shape(reader, Evidence(jnp.zeros(description.event_shape))).shape[0]
    return Encoder(reader, dense(options)(in_size, out_size, key=key), bound)


def _square(description: RowsDescription) -> tuple[int, int]:
    """Side of the image and of the patches that cover it."""
    shape = description.image_shape
    side = shape[0] if len(shape) == 2 and shape[0] == shape[1] else 0
    patch = next((patch for patch in (4, 2, 1) if side and side % (2 * patch) == 0), 0)
    if not patch or description.size != side * side:
        described = " x ".join(map(str, shape)) if shape else "rows that are no images"
        raise BadInputError(
            f"Expected square grey images with an even side for --mapping convolutional, got {described}: say --image-shape "
            f"if the rows are flat, or use --mapping mlp."
        )
    return side, patch
