"""Encoders and decoders of square images, as video models use them: DCGAN's strided convolutions and VGG's stacks of 3 x 3.

Height x width x channels, unbatched. The published networks normalise over the batch. A batch statistic makes the output for one
image depend on the others beside it, and needs running averages that a filter, which sees one frame at a time, would have to
carry; here every layer has a group norm instead, which needs the one image only and has as many learned numbers.
"""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..results import BadInputError
from ..typing import Array, Float, Key
from ._convolution import Convolution, PatchEmbedding, PatchExpansion
from ._dense import LayerNorm, xavier_uniform

CODE_SIDE = 4
"""Side of the grid between an image and its code, in cells, as in both networks for images of 64 x 64."""

DCGAN_CHANNELS = (64, 128, 256, 512)
"""Channels after each halving of the image."""

VGG_STACKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
"""Channels of the convolutions before each halving of the image."""


def leaky_relu(x: Array) -> Array:
    """x for x > 0 and 0.2 x below, the slope of both networks."""
    return jnp.where(x > 0.0, x, 0.2 * x)


@final
class GroupNorm(eqx.Module):
    """(x - mean) / sqrt(var + 1e-5) over positions and the channels of a group, times a learned scale, plus a learned offset.

    Attributes:
        groups: number of groups of channels.

    References:
        Wu and He, "Group normalization", ECCV 2018.
    """

    scale: Float[Array, " channels"]
    offset: Float[Array, " channels"]
    groups: int = eqx.field(static=True)

    def __init__(self, channels: int, groups: int = 32):
        """At most `groups` groups: the largest number of them that divides both."""
        self.scale, self.offset = jnp.ones(channels), jnp.zeros(channels)
        self.groups = math.gcd(channels, groups)

    def __call__(self, grid: Float[Array, "rows columns channels"]) -> Float[Array, "rows columns channels"]:
        split = grid.reshape(*grid.shape[:2], self.groups, -1)
        mean = jnp.mean(split, axis=(0, 1, 3), keepdims=True)
        variance = jnp.var(split, axis=(0, 1, 3), keepdims=True)
        normal = ((split - mean) * jax.lax.rsqrt(variance + 1e-5)).reshape(grid.shape)
        return normal * self.scale[None, None, :] + self.offset[None, None, :]


@final
class Upsampling(eqx.Module):
    """A transposed convolution with a 4 x 4 kernel and stride 2: twice the side.

        y[2i + r, 2j + s] = sum_{u, v in {0, 1}} x[i + r + u - 1, j + s + v - 1] W[3 - r - 2u, 3 - s - 2v] + b

    Attributes:
        weight: W, height x width x in x out.
        bias: b.
    """

    weight: Float[Array, "4 4 in out"]
    bias: Float[Array, " out"]

    def __init__(self, in_channels: int, out_channels: int, *, key: Key):
        self.weight = xavier_uniform(key, (4, 4, in_channels, out_channels), 16 * in_channels, 16 * out_channels)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, grid: Float[Array, "rows columns in"]) -> Float[Array, "new_rows new_columns out"]:
        # Each of the four kinds of output pixel is a 2 x 2 convolution, done as one matrix product (see `Convolution`).
        rows, columns, _ = grid.shape
        padded = jnp.pad(grid, ((1, 1), (1, 1), (0, 0)))
        kinds = []
        for r in (0, 1):
            for s in (0, 1):
                near = [padded[r + u : r + u + rows, s + v : s + v + columns] for u in (0, 1) for v in (0, 1)]
                kernel = [self.weight[3 - r - 2 * u, 3 - s - 2 * v] for u in (0, 1) for v in (0, 1)]
                kinds.append(jnp.concatenate(near, axis=-1) @ jnp.concatenate(kernel))
        image = jnp.stack(kinds).reshape(2, 2, rows, columns, -1).transpose(2, 0, 3, 1, 4)
        return image.reshape(2 * rows, 2 * columns, -1) + self.bias[None, None, :]


@final
class _Block(eqx.Module):
    """A convolution, a group norm and a leaky rectifier."""

    layer: Convolution | Upsampling | PatchExpansion
    norm: GroupNorm

    def __init__(self, layer: Convolution | Upsampling | PatchExpansion):
        self.layer, self.norm = layer, GroupNorm(layer.bias.shape[0])

    def __call__(self, grid: Float[Array, "rows columns in"]) -> Float[Array, "new_rows new_columns out"]:
        return leaky_relu(self.norm(self.layer(grid)))


@final
class _Code(eqx.Module):
    """The last grid to a vector in (-1, 1): a 4 x 4 convolution without padding, a layer norm and tanh."""

    layer: PatchEmbedding
    norm: LayerNorm = LayerNorm()

    def __call__(self, grid: Float[Array, "rows columns in"]) -> Float[Array, " out"]:
        return jnp.tanh(self.norm(self.layer(grid).ravel()))


@final
class DCGANEncoder(eqx.Module):
    """Image to a code in (-1, 1): 4 x 4 convolutions of stride 2 down to a grid of 4 x 4, then one over all of it.

    Attributes:
        size: side of the image, pixels.

    References:
        Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
        networks", ICLR 2016, as the encoder of Denton and Fergus (2018).
    """

    blocks: tuple[_Block, ...]
    code: _Code
    size: int = eqx.field(static=True)

    def __init__(
        self, size: int, out_size: int, *, key: Key, in_channels: int = 1, channels: tuple[int, ...] = DCGAN_CHANNELS
    ):
        """Build the encoder.

        Args:
            size: side of the image, 4 times 2 for every entry of `channels`.
            channels: after every halving.
        """
        _check_size(size, len(channels))
        *keys, code_key = jr.split(key, len(channels) + 1)
        pairs = zip((in_channels, *channels), channels, keys, strict=False)
        self.blocks = tuple(_Block(Convolution(a, b, 4, 2, key=k)) for a, b, k in pairs)
        self.code = _Code(PatchEmbedding(channels[-1], out_size, CODE_SIDE, key=code_key))
        self.size = size

    def __call__(self, image: Float[Array, "size size channels"]) -> Float[Array, " out"]:
        for block in self.blocks:
            image = block(image)
        return self.code(image)


@final
class DCGANDecoder(eqx.Module):
    """Code to image: a grid of 4 x 4, then transposed 4 x 4 convolutions of stride 2; the output is linear.

    Attributes:
        blocks: the first grid and the hidden transposed convolutions.
    """

    blocks: tuple[_Block, ...]
    output: Upsampling

    def __init__(
        self, in_size: int, size: int, *, key: Key, out_channels: int = 1, channels: tuple[int, ...] = DCGAN_CHANNELS
    ):
        """Build the decoder; arguments as for `DCGANEncoder`, of which it is the mirror image."""
        _check_size(size, len(channels))
        first_key, *keys, output_key = jr.split(key, len(channels) + 1)
        mirrored = channels[::-1]
        first = _Block(PatchExpansion(in_size, mirrored[0], CODE_SIDE, key=first_key))
        pairs = zip(mirrored[:-1], mirrored[1:], keys, strict=True)
        self.blocks = (first, *(_Block(Upsampling(a, b, key=k)) for a, b, k in pairs))
        self.output = Upsampling(mirrored[-1], out_channels, key=output_key)

    def __call__(self, code: Float[Array, " in"]) -> Float[Array, "size size channels"]:
        grid = code[None, None, :]
        for block in self.blocks:
            grid = block(grid)
        return self.output(grid)


@final
class VGGEncoder(eqx.Module):
    """Image to a code in (-1, 1): stacks of 3 x 3 convolutions, each followed by a 2 x 2 maximum, then a 4 x 4 convolution.

    Attributes:
        stacks: the convolutions before each maximum.
        size: side of the image, pixels.

    References:
        Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, as the encoder
        of Denton and Fergus, "Stochastic video generation with a learned prior", ICML 2018.
    """

    stacks: tuple[tuple[_Block, ...], ...]
    code: _Code
    size: int = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        out_size: int,
        *,
        key: Key,
        in_channels: int = 1,
        stacks: tuple[tuple[int, ...], ...] = VGG_STACKS,
    ):
        """Build the encoder; arguments as for `DCGANEncoder`, with the channels of all convolutions before each halving."""
        _check_size(size, len(stacks))
        stacks_key, code_key = jr.split(key)
        self.stacks = _stacks(in_channels, stacks, key=stacks_key)
        self.code = _Code(PatchEmbedding(stacks[-1][-1], out_size, CODE_SIDE, key=code_key))
        self.size = size

    def __call__(self, image: Float[Array, "size size channels"]) -> Float[Array, " out"]:
        for stack in self.stacks:
            for block in stack:
                image = block(image)
            # By pairs: the gradient of `max` over axes divides by how many entries equal the largest, and a compiler that computes
            # them twice may round them apart, which leaves none.
            image = jnp.maximum(image[::2], image[1::2])
            image = jnp.maximum(image[:, ::2], image[:, 1::2])
        return self.code(image)


@final
class VGGDecoder(eqx.Module):
    """Code to image: a grid of 4 x 4, then repeated doubling by copying and stacks of 3 x 3 convolutions; linear output.

    The published decoder also reads the feature maps of an earlier frame's encoder. Chapter 4 multiplies them by zero, so here
    the layers have no inputs for them: the first convolution of every stack has half as many weights.

    Attributes:
        first: code to grid.
        stacks: the convolutions after each doubling.
        output: the last convolution.
    """

    first: _Block
    stacks: tuple[tuple[_Block, ...], ...]
    output: Convolution

    def __init__(
        self,
        in_size: int,
        size: int,
        *,
        key: Key,
        out_channels: int = 1,
        stacks: tuple[tuple[int, ...], ...] = VGG_STACKS,
    ):
        """Build the decoder; arguments as for `VGGEncoder`, of which it is the mirror image."""
        _check_size(size, len(stacks))
        first_key, stacks_key, output_key = jr.split(key, 3)
        top = stacks[-1][-1]
        self.first = _Block(PatchExpansion(in_size, top, CODE_SIDE, key=first_key))
        # A stack ends with as many channels as the next, larger grid has; in the last one the output takes a layer's place.
        below = [stack[-1] for stack in stacks[-2::-1]]
        widths = [(*stack[:0:-1], end) for stack, end in zip(stacks[:0:-1], below, strict=True)]
        widths.append(stacks[0][:0:-1] if len(stacks[0]) > 1 else stacks[0])
        self.stacks = _stacks(top, tuple(widths), key=stacks_key)
        self.output = Convolution(widths[-1][-1], out_channels, key=output_key)

    def __call__(self, code: Float[Array, " in"]) -> Float[Array, "size size channels"]:
        grid = self.first(code[None, None, :])
        for stack in self.stacks:
            grid = jnp.repeat(jnp.repeat(grid, 2, axis=0), 2, axis=1)
            for block in stack:
                grid = block(grid)
        return self.output(grid)


def _stacks(in_channels: int, stacks: tuple[tuple[int, ...], ...], *, key: Key) -> tuple[tuple[_Block, ...], ...]:
    built, size = [], in_channels
    for stack, stack_key in zip(stacks, jr.split(key, len(stacks)), strict=True):
        blocks = []
        for channels, layer_key in zip(stack, jr.split(stack_key, len(stack)), strict=True):
            blocks.append(_Block(Convolution(size, channels, key=layer_key)))
            size = channels
        built.append(tuple(blocks))
    return tuple(built)


def _check_size(size: int, halvings: int) -> None:
    expected = CODE_SIDE * 2**halvings
    if size != expected or halvings < 1:
        raise BadInputError(
            f"Expected images of {expected} x {expected} for {halvings} halvings down to {CODE_SIDE} x {CODE_SIDE}, got "
            f"{size} x {size}: give one entry of channels for every halving."
        )
