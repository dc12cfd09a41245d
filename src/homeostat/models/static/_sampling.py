"""Moving a template by a similarity transform with bilinear interpolation: the hot path of the sprite models.

The transform of a template point u (pixels, y down) is p = s R(r) u + t with the rotation

    R(r) = [[cos r, sin r], [-sin r, cos r]]

counter-clockwise as displayed. The slides print `s cos r, s sin r` as the second row of their matrix, which is not a
rotation; this is the similarity transform that they mean. Sampling runs backwards, u = R(r)^T (p - t) / s, which is one
affine map from canvas pixels to template cells.

On a cell with corners I_00, I_01 (right), I_10 (below), I_11, the surface is a + b u + (c + d u) v, so a value and both of
its derivatives need the same four coefficients. The derivative rule below looks them up once for all tangents, and leaves
every sum over pixels to a product with a constant matrix, which compiles to a fast kernel where plain sums do not.
"""

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ...typing import Array, Float
from ._coordinates import Similarity

MINIMUM_SCALE = 0.05
"""Scales below it are treated as it, because the inverse transform divides by them."""

PADDING = 2
"""Rings of zeros around a template. Positions outside end up in the outer one, whose cells are zero with zero derivatives,
so that nothing has to be masked."""


def sample_template(
    template: Float[Array, "n n"], similarity: Similarity, *, size: int, extent: float
) -> Float[Array, "size size"]:
    """O = STN(gamma, I): the canvas on which the template is moved, bilinearly interpolated, zero outside.

    Differentiable in the template and in the transform, to any order (almost everywhere: the surface has kinks on the lines
    between cell centres, and second derivatives ignore them).

    Args:
        template: I, a square image whose grid covers [-extent, extent]^2 in canvas pixels at scale 1.
        similarity: scale, angle and position.
        size: side of the canvas, pixels.
        extent: half side of the template, in canvas pixels.
    """
    num = template.shape[0]
    per_pixel = num / (2.0 * extent) / jnp.maximum(similarity.scale, MINIMUM_SCALE)
    cos, sin = jnp.cos(similarity.angle) * per_pixel, jnp.sin(similarity.angle) * per_pixel
    # Coordinates from the middle of the canvas keep the products small, for the sake of single precision.
    x, y = similarity.x - 0.5 * size, similarity.y - 0.5 * size
    middle = 0.5 * (num - 1) + PADDING
    rows = [jnp.stack([cos, -sin, middle - cos * x + sin * y]), jnp.stack([sin, cos, middle - sin * x - cos * y])]
    ticks = jnp.arange(size, dtype=cos.dtype) + (0.5 - 0.5 * size)
    basis = jnp.stack([jnp.tile(ticks, size), jnp.repeat(ticks, size), jnp.ones(size * size, cos.dtype)])
    return _interpolate(template, jnp.stack(rows), basis).reshape(size, size)


@jax.custom_jvp
def _interpolate(
    template: Float[Array, "n n"], affine: Float[Array, "2 3"], basis: Float[Array, "3 pixels"]
) -> Float[Array, " pixels"]:
    """Bilinear values at (column, row) = affine @ basis, in cells of the padded template; zero outside."""
    index, across, down = _locate(template.shape[0], _product(affine, basis))
    a, b, c, d = _gather(template, index)
    return a + b * across + (c + d * across) * down


def _interpolate_tangent(primals, tangents):
    template, affine, basis = primals
    template_dot, affine_dot, _ = tangents
    index, across, down = _locate(template.shape[0], _product(affine, basis))
    a, b, c, d = _gather(template, index)
    value = a + b * across + (c + d * across) * down
    value_dot = jnp.zeros_like(value)
    if not isinstance(template_dot, SymbolicZero):
        a_dot, b_dot, c_dot, d_dot = _gather(template_dot, index)
        value_dot += a_dot + b_dot * across + (c_dot + d_dot * across) * down
    if not isinstance(affine_dot, SymbolicZero):
        value_dot += (b + d * down) * _product(affine_dot[0], basis) + (c + d * across) * _product(affine_dot[1], basis)
    return value, value_dot


_interpolate.defjvp(_interpolate_tangent, symbolic_zeros=True)


def _product(left: Array, right: Array) -> Array:
    # Accelerators would otherwise round coordinates to 11 bits, a tenth of a pixel.
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _locate(num: int, position: Float[Array, "2 pixels"]) -> tuple[Array, Array, Array]:
    """Flat index of each position's cell in the padded template, and the offsets inside the cell."""
    column, row = jnp.clip(position, 0.0, num + 2.5)
    whole_column, whole_row = column.astype(jnp.int32), row.astype(jnp.int32)
    index = whole_row * (num + 3) + whole_column
    return index, column - whole_column, row - whole_row


def _gather(template: Float[Array, "n n"], index: Array) -> list[Float[Array, " pixels"]]:
    """Coefficients a, b, c, d of the surface on each indexed cell."""
    padded = jnp.pad(template, PADDING)
    corner, right = padded[:-1, :-1], padded[:-1, 1:]
    below, diagonal = padded[1:, :-1], padded[1:, 1:]
    tables = [corner, right - corner, below - corner, diagonal - right - below + corner]
    # Four gathers of numbers become vector instructions on a CPU; one gather of four numbers does not. Clipping matters
    # for non-finite poses only, whose index is undefined.
    return [table.reshape(-1).at[index].get(mode="clip") for table in tables]
