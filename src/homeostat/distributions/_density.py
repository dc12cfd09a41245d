"""Draws together with their log densities."""

from ..typing import Array, Distribution, Key, Scalar


def sample_with_log_prob(distribution: Distribution, *, key: Key) -> tuple[Array, Scalar]:
    """x ~ q and log q(x), from what x was made of where q transforms another distribution.

    A squashed draw near its bound has lost the digits that inverting it would need, and with them the gradient that pulls a
    saturated policy back.
    """
    value, intermediates = distribution.sample_with_intermediates(key)
    return value, distribution.log_prob(value, intermediates) if intermediates else distribution.log_prob(value)
