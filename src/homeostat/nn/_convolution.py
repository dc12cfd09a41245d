"""Convolutional networks for images of one channel grid, height x width x channels, unbatched.

Strides equal to the kernel's side turn a convolution into a matrix product over patches, which is what a CPU does best:
the encoder embeds patches first and convolves the small grid that remains; the decoder runs the other way round.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..results import BadInputError
from ..typing import Array, Float, Key, Nonlinearity
from ._dense import MLP, xavier_uniform


@final
class PatchEmbedding(eqx.Module):
    """A convolution whose stride is its kernel's side: each patch times one matrix.

    Attributes:
        weight: of each patch, flattened by row, column, channel.
        bias: of each output channel.
        patch: side of a patch, pixels.
    """

    weight: Float[Array, "patch_values out"]
    bias: Float[Array, " out"]
    patch: int = eqx.field(static=True)

    def __init__(self, in_channels: int, out_channels: int, patch: int, *, key: Key):
        values = patch * patch * in_channels
        self.weight = xavier_uniform(key, (values, out_channels), values, out_channels)
        self.bias = jnp.zeros(out_channels)
        self.patch = patch

    def __call__(self, image: Float[Array, "height width in"]) -> Float[Array, "rows columns out"]:
        height, width, channels = image.shape
        if height % self.patch or width % self.patch:
            raise BadInputError(
                f"Expected an image whose sides are multiples of the patch {self.patch}, got {height} x {width}."
            )
        rows, columns = height // self.patch, width // self.patch
        patches = image.reshape(rows, self.patch, columns, self.patch, channels).transpose(0, 2, 1, 3, 4)
        return patches.reshape(rows, columns, -1) @ self.weight + self.bias[None, None, :]


@final
class PatchExpansion(eqx.Module):
    """The transpose of `PatchEmbedding`: every cell becomes a patch.

    Attributes:
        weight: of each cell's channels, to a patch flattened by row, column, channel.
        bias: of each output channel.
        patch: side of a patch, pixels.
    """

    weight: Float[Array, "in patch_values"]
    bias: Float[Array, " out"]
    patch: int = eqx.field(static=True)

    def __init__(self, in_channels: int, out_channels: int, patch: int, *, key: Key):
        values = patch * patch * out_channels
        self.weight = xavier_uniform(key, (in_channels, values), in_channels, values)
        self.bias = jnp.zeros(out_channels)
        self.patch = patch

    def __call__(self, grid: Float[Array, "rows columns in"]) -> Float[Array, "height width out"]:
        rows, columns, _ = grid.shape
        patches = (grid @ self.weight).reshape(rows, columns, self.patch, self.patch, -1)
        image = patches.transpose(0, 2, 1, 3, 4).reshape(rows * self.patch, columns * self.patch, -1)
        return image + self.bias[None, None, :]


@final
class Convolution(eqx.Module):
    """A convolution with padding that keeps ceil(side / stride).

    Attributes:
        weight: kernel, height x width x in x out.
        bias: of each output channel.
        stride: step between outputs, pixels.
    """

    weight: Float[Array, "side side in out"]
    bias: Float[Array, " out"]
    stride: int = eqx.field(static=True)

    def __init__(self, in_channels: int, out_channels: int, side: int = 3, stride: int = 1, *, key: Key):
        area = side * side
        self.weight = xavier_uniform(
            key, (side, side, in_channels, out_channels), area * in_channels, area * out_channels
        )
        self.bias = jnp.zeros(out_channels)
        self.stride = stride

    def __call__(self, grid: Float[Array, "rows columns in"]) -> Float[Array, "new_rows new_columns out"]:
        # A product of shifted copies with one matrix, because XLA's own convolution is nine times slower than this on a CPU
        # once it stands inside `scan`, and no faster outside.
        side, stride = self.weight.shape[0], self.stride
        new_rows, new_columns = (-(-length // stride) for length in grid.shape[:2])
        spans = ((new_rows - 1) * stride + 1, (new_columns - 1) * stride + 1)
        missing = [max(span - 1 + side - length, 0) for span, length in zip(spans, grid.shape[:2], strict=True)]
        padded = jnp.pad(grid, [(extra // 2, extra - extra // 2) for extra in missing] + [(0, 0)])
        shifted = [
            padded[row : row + spans[0] : stride, column : column + spans[1] : stride]
            for row in range(side)
            for column in range(side)
        ]
        kernel = self.weight.reshape(-1, self.weight.shape[-1])
        return jnp.concatenate(shifted, axis=-1) @ kernel + self.bias[None, None, :]


@final
class ConvolutionalEncoder(eqx.Module):
    """Image to vector: patch embedding, a strided convolution, and a dense head.

    Attributes:
        embedding: patches to channels.
        convolution: 3 x 3, stride 2.
        head: dense layers on the flattened grid.
        activation: elementwise nonlinearity.
    """

    embedding: PatchEmbedding
    convolution: Convolution
    head: MLP
    activation: Nonlinearity = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        out_size: int,
        *,
        key: Key,
        channels: tuple[int, int] = (32, 32),
        patch: int = 4,
        width: int = 256,
        depth: int = 1,
        activation: Nonlinearity = jax.nn.elu,
    ):
        """Build the encoder.

        Args:
            size: side of the square image, a multiple of twice the patch.
            out_size: length of the output.
            key: for the weights.
            channels: of the embedding and of the convolution.
            patch: side of a patch, pixels.
            width: units in each hidden layer of the head.
            depth: hidden layers of the head.
            activation: between layers.
        """
        if size % (2 * patch):
            raise BadInputError(f"Expected a size that is a multiple of {2 * patch} (twice the patch), got {size}.")
        embedding_key, convolution_key, head_key = jr.split(key, 3)
        self.embedding = PatchEmbedding(1, channels[0], patch, key=embedding_key)
        self.convolution = Convolution(channels[0], channels[1], stride=2, key=convolution_key)
        features = (size // (2 * patch)) ** 2 * channels[1]
        self.head = MLP(features, out_size, width, depth, key=head_key, activation=activation)
        self.activation = activation

    def __call__(self, image: Float[Array, "size size"]) -> Float[Array, " out"]:
        grid = self.activation(self.embedding(image[:, :, None]))
        grid = self.activation(self.convolution(grid))
        return self.head(grid.ravel())


@final
class ConvolutionalDecoder(eqx.Module):
    """Vector to image: dense layers, and two transposed convolutions whose strides equal their kernels' sides.

    Attributes:
        body: dense layers to a grid of channels.
        middle: cells to 2 x 2 patches.
        smoothing: 3 x 3 convolution, so that neighbouring patches can agree.
        output: cells to patches of one channel.
        side: side of the first grid, cells.
        activation: elementwise nonlinearity.
    """

    body: MLP
    middle: PatchExpansion
    smoothing: Convolution
    output: PatchExpansion
    side: int = eqx.field(static=True)
    activation: Nonlinearity = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        size: int,
        *,
        key: Key,
        channels: tuple[int, int] = (32, 32),
        patch: int = 4,
        width: int = 256,
        depth: int = 1,
        activation: Nonlinearity = jax.nn.elu,
    ):
        """Build the decoder; arguments as for `ConvolutionalEncoder`, of which it is the mirror image."""
        if size % (2 * patch):
            raise BadInputError(f"Expected a size that is a multiple of {2 * patch} (twice the patch), got {size}.")
        body_key, middle_key, smoothing_key, output_key = jr.split(key, 4)
        self.side = size // (2 * patch)
        self.body = MLP(in_size, self.side**2 * channels[1], width, depth, key=body_key, activation=activation)
        self.middle = PatchExpansion(channels[1], channels[0], 2, key=middle_key)
        self.smoothing = Convolution(channels[0], channels[0], key=smoothing_key)
        self.output = PatchExpansion(channels[0], 1, patch, key=output_key)
        self.activation = activation

    def __call__(self, z: Float[Array, " in"]) -> Float[Array, "size size"]:
        grid = self.activation(self.body(z)).reshape(self.side, self.side, -1)
        grid = self.activation(self.middle(grid))
        grid = self.activation(self.smoothing(grid))
        return self.output(grid)[:, :, 0]
