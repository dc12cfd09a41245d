"""What networks read of an observation, and networks built by name."""

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
from .._numbers import COUNTS
from ._describe import RowsDescription
from ._options import RowsOptions

Reader = Callable[[Evidence], Array]
"""Features of an observation for a network."""


def make_reader(description: RowsDescription) -> Reader:
    """Numbers as they are, logarithms of counts, one number for each category, or standardised numbers.

    Zero is read in place of a missing number. If the data of the fit had some, which numbers are known is read as well.
    """
    values = _make_values(description)
    return partial(_with_mask, values) if description.num_missing else values


def _make_values(description: RowsDescription) -> Reader:
    if description.likelihood in ("multinomial", *COUNTS):
        return _log_counts
    if description.likelihood == "categorical":
        return partial(_one_hot, description.num_classes)
    scaling = description.scaling
    if description.likelihood == "gaussian" and not scaling.standardized:
        # The model sees the data in their own unit, networks do not; arrays, so that they are leaves of the engine.
        loc, scale = scaling.keep(scaling.loc), scaling.keep(scaling.scale)
        return eqx.Partial(_standardized, jnp.asarray(loc), jnp.asarray(scale))
    return _flat


def _flat(args: Evidence) -> Array:
    return jnp.ravel(jnp.asarray(args.observation, jnp.result_type(float)))


def _log_counts(args: Evidence) -> Array:
    return jnp.log1p(_flat(args))


def _one_hot(num_classes: int, args: Evidence) -> Array:
    found = jax.nn.one_hot(jnp.ravel(jnp.asarray(args.observation, jnp.int32)), num_classes)
    return (found if args.observed is None else jnp.where(jnp.ravel(args.observed)[:, None], found, 0.0)).ravel()


def _standardized(loc: Array, scale: Array, args: Evidence) -> Array:
    loc, scale = jax.lax.stop_gradient((loc, scale))
    found = (jnp.ravel(args.observation) - loc) / scale
    return found if args.observed is None else jnp.where(jnp.ravel(args.observed), found, 0.0)


def _with_mask(values: Reader, args: Evidence) -> Array:
    """What `values` reads, and 1 for each known entry."""
    known = jnp.ones(jnp.shape(args.observation), bool) if args.observed is None else args.observed
    found = values(args)
    return jnp.concatenate([found, jnp.ravel(known).astype(found.dtype)])


def _image(side: int, args: Evidence) -> Array:
    return _flat(args).reshape(side, side)


@final
class Encoder(eqx.Module):
    """An observation to flat parameters."""

    reader: Reader
    network: Callable[..., Any]
    bound: Callable[[Array], Array]

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        return self.bound(self.network(self.reader(args)))


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
    options: RowsOptions, description: RowsDescription, out_size: int, bound: Callable[[Array], Array], *, key: Key
) -> Encoder:
    """A network from an observation to parameters."""
    if options.mapping == "convolutional":
        side, patch = _square(description)
        network = ConvolutionalEncoder(side, out_size, key=key, patch=patch, width=options.width)
        return Encoder(partial(_image, side), network, bound)
    reader = make_reader(description)
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
