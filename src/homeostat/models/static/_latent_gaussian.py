"""Latent Gaussian models: one level or many, any mapping, any output density.

    p(x, z^{1:L}) = p(x | z^{1:L}) prod_l p(z^l | z^{l+1:L})                                             (Eq. 2.10)

Beside `Direct` it is the generative half of a variational autoencoder; beside `Iterative`, of iterative amortized inference;
beside `PredictiveCoding`, hierarchical predictive coding. The model is the same object in each.
"""

from collections.abc import Callable, Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractModel
from ...distributions import AbstractLevel, Hierarchical
from ...nn import MLP
from ...results import BadInputError
from ...typing import Array, Distribution, Float, Key
from ._levels import AbstractWiring, ConditionalLevel, Mapping, NoSkip, StandardLevel
from ._likelihoods import AbstractLikelihood


@final
class LatentGaussian(AbstractModel):
    """Gaussian latents in L levels, a decoder and an output density; the state is the flat vector [z^1, ..., z^L].

    Attributes:
        levels: priors, the lowest (nearest the data) first.
        decoder: from what the levels hand down to the features of the output density.
        density: p(x | features).

    References:
        Marino (thesis), Eq. 2.10 and Sec. 3.4.
    """

    levels: tuple[AbstractLevel, ...] = eqx.field(converter=tuple)
    decoder: Mapping
    density: AbstractLikelihood

    def __check_init__(self):
        if not self.levels:
            raise BadInputError("Expected at least one level of latent variables, got none.")
        density, got = self.density, eqx.filter_eval_shape(lambda: self.features(jnp.zeros(self.dim))).shape
        if got != (density.num_features,):
            raise BadInputError(
                f"Expected a decoder with {density.num_features} outputs for {type(density).__name__} on observations "
                f"of shape {density.shape}, got shape {got}."
            )

    @property
    def dims(self) -> tuple[int, ...]:
        """Number of variables of each level, the lowest first."""
        return tuple(level.dim for level in self.levels)

    @property
    def dim(self) -> int:
        """Number of variables of all levels."""
        return sum(self.dims)

    def initial(self) -> Distribution:
        """The prior of all levels: a Gaussian for one, `Hierarchical` for more."""
        if len(self.levels) == 1:
            return self.levels[0].conditional(jnp.zeros(0))
        return Hierarchical(self.levels)

    def features(self, state: Float[Array, " d"]) -> Float[Array, " n"]:
        """Output of the decoder at `state`."""
        return self.decoder(Hierarchical(self.levels).descend(state).context)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        return self.density(self.features(state))


def latent_gaussian(
    likelihood: AbstractLikelihood,
    dims: Sequence[int],
    *,
    key: Key,
    mapping: Callable[..., Mapping] | None = None,
    units: int = 0,
    wiring: AbstractWiring = NoSkip(),
    conditional_scale: Callable[[int], Float[Array, " d"] | None] = lambda dim: None,
    top: Callable[[int], AbstractLevel] = StandardLevel,
) -> LatentGaussian:
    """A latent Gaussian model with networks of one kind throughout.

    Args:
        dims: variables of each level, the lowest (nearest the data) first.
        mapping: `mapping(in_size, out_size, key=...)` builds a network, such as `functools.partial(MLP, width=512, depth=2)` (the
            default) or the same of `HighwayMLP`.
        units: deterministic units of every level but the top.
        wiring: what a level hands down: `NoSkip()` or `Skip()`.
        conditional_scale: gives the constant log scales of a level of so many variables; `None`, the default, for scales that
            depend on the context; `jax.numpy.zeros` for learned constant ones.
        top: builds the topmost level; `StandardLevel` or `LearnedLevel`.

    Raises:
        BadInputError: a level has no variables.
    """
    if not dims:
        raise BadInputError("Expected at least one level of latent variables, got none: pass dims=(64,), say.")
    build = _default_mapping if mapping is None else mapping
    levels: list[AbstractLevel] = [top(dims[-1])]
    size = jax.eval_shape(lambda: levels[0].descend(jnp.zeros(0), jnp.zeros(dims[-1]))).shape[0]
    for dim in reversed(dims[:-1]):
        key, mean_key, units_key = jr.split(key, 3)
        log_scale = conditional_scale(dim)
        mean = build(size, dim if log_scale is not None else 2 * dim, key=mean_key)
        network = build(size, units, key=units_key) if units else None
        level = ConditionalLevel(mean, log_scale, network, wiring, dim)
        size = eqx.filter_eval_shape(
            lambda level=level, n=size: level.descend(jnp.zeros(n), jnp.zeros(level.dim))
        ).shape[0]
        levels.append(level)
    return LatentGaussian(levels[::-1], build(size, likelihood.num_features, key=key), likelihood)


def _default_mapping(in_size: int, out_size: int, *, key: Key) -> Mapping:
    return MLP(in_size, out_size, 512, 2, key=key)
