"""Angles of symmetric things: a continuous way for a network to say them.

A picture with symmetry order n is the same at r and at r + 2 pi / n. A network that puts out r itself would have to jump
somewhere on that circle. The pair (cos n r, sin n r) is a continuous, single-valued function of the picture; the head reads

    r = atan2(b, a) / n      in (-pi / n, pi / n]

of an output (a, b), and the distance of (a, b) from the origin is left free: it carries no angle.
"""

import jax.numpy as jnp

from ..typing import Array, Float, Int, Scalar


def angle_of(direction: Float[Array, "2"], order: int | Int[Array, ""] = 1) -> Scalar:
    """r = atan2(b, a) / n of an output (a, b), in radians.

    Args:
        direction: (a, b), any length but zero.
        order: n, the number of rotations that leave the picture as it is.
    """
    # At the origin atan2 has no derivative; a network passes there with probability zero, its first weights may not.
    safe = jnp.where(jnp.sum(direction**2) > 0.0, direction, jnp.ones_like(direction))
    return jnp.arctan2(safe[1], safe[0]) / order


def direction_of(angle: Scalar, order: int | Int[Array, ""] = 1) -> Float[Array, "2"]:
    """(cos n r, sin n r), the target of such an output."""
    return jnp.stack([jnp.cos(order * angle), jnp.sin(order * angle)])
