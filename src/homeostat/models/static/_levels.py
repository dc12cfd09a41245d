"""Levels of a latent Gaussian model: fixed, learned and conditional priors, and what they pass on to the level below."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...distributions import AbstractLevel
from ...results import BadInputError
from ...typing import Array, Distribution, Float

MINIMUM_LOG_SCALE, MAXIMUM_LOG_SCALE = -7.5, 7.5
"""Bounds of a learned log standard deviation: log variances of [-15, 15], as in the code of Marino, Yue and Mandt (2018)."""

Mapping = Callable[[Float[Array, " n"]], Float[Array, " m"]]
"""A network between vectors."""


class AbstractWiring(eqx.Module):
    """Context that a level passes to the level below: its value, deterministic units, and perhaps what it was handed itself."""

    @abc.abstractmethod
    def __call__(self, context: Array, value: Array, units: Array) -> Float[Array, " below"]:
        """The context of the level below."""


@final
class NoSkip(AbstractWiring):
    """[z^l, d^l]: every level sees only the one above."""

    def __call__(self, context: Array, value: Array, units: Array) -> Float[Array, " below"]:
        return jnp.concatenate([value, units])


@final
class Skip(AbstractWiring):
    """[z^l, d^l, context]: every level sees all levels above, p(z^l | z^{l+1:L}) without a bottleneck."""

    def __call__(self, context: Array, value: Array, units: Array) -> Float[Array, " below"]:
        return jnp.concatenate([value, units, context])


@final
class StandardLevel(AbstractLevel):
    """z^L ~ N(0, 1): the fixed prior at the top."""

    dim: int = eqx.field(static=True)

    def __check_init__(self):
        check_size(self.dim)

    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        return dist.Normal(jnp.zeros(self.dim), jnp.ones(self.dim), validate_args=False).to_event(1)

    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        return value


@final
class LearnedLevel(AbstractLevel):
    """z^L ~ N(m, s^2) with learned m and s: a prior at the top that is fitted with the rest.

    Attributes:
        loc: m.
        log_scale: log s.
    """

    loc: Float[Array, " d"]
    log_scale: Float[Array, " d"]

    def __init__(self, dim: int):
        check_size(dim)
        self.loc, self.log_scale = jnp.zeros(dim), jnp.zeros(dim)

    @property
    def dim(self) -> int:
        return self.loc.shape[0]

    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        return _normal(self.loc, self.log_scale)

    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        return value


@final
class ConditionalLevel(AbstractLevel):
    """z^l ~ N(m(context), s^2), with deterministic units d^l = g(context).

    Attributes:
        mean: m, a network of `dim` outputs; where `log_scale` is None, of twice as many, the second half of which is log s.
        log_scale: log s, the same for every context; None if it is conditional.
        units: g, a network; None for no deterministic units.
        wiring: what is handed down.

    References:
        Marino (thesis), Eq. 2.10; constant and conditional prior variances and deterministic units as in the configurations of
        Marino, Yue and Mandt, "Iterative amortized inference", ICML 2018.
    """

    mean: Mapping
    log_scale: Float[Array, " d"] | None = None
    units: Mapping | None = None
    wiring: AbstractWiring = NoSkip()
    dim: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_size(self.dim)
        if self.log_scale is not None and self.log_scale.shape != (self.dim,):
            raise BadInputError(f"Expected one log scale for each of {self.dim} variables, got {self.log_scale.shape}.")

    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        output, expected = self.mean(context), self.dim * (1 if self.log_scale is not None else 2)
        if output.shape != (expected,):
            raise BadInputError(
                f"Expected a network with {expected} outputs for {self.dim} variables, got {output.shape}."
            )
        if self.log_scale is not None:
            return _normal(output, self.log_scale)
        loc, log_scale = jnp.split(output, 2)
        return _normal(loc, log_scale)

    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        units = jnp.zeros(0, value.dtype) if self.units is None else self.units(context)
        return self.wiring(context, value, units)


def _normal(loc: Array, log_scale: Array) -> Distribution:
    scale = jnp.exp(jnp.clip(log_scale, MINIMUM_LOG_SCALE, MAXIMUM_LOG_SCALE))
    return dist.Normal(loc, scale, validate_args=False).to_event(1)


def check_size(dim: int) -> None:
    """Refuse a level without variables."""
    if dim < 1:
        raise BadInputError(f"Expected at least one latent variable in a level, got dim={dim}: pass dim >= 1.")
