"""Generative models by name."""

import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractModel
from ...data import GREY_LEVELS
from ...models.static import (
    AbstractLikelihood,
    Bernoulli,
    CategoricalOutput,
    ConditionalDiscretizedGaussian,
    ConditionalGaussian,
    DiscretizedGaussian,
    FactorAnalysis,
    Gaussian,
    LearnedLevel,
    Multinomial,
    NoSkip,
    ProbabilisticPCA,
    Skip,
    SparseCoding,
    StandardLevel,
    latent_gaussian,
    unit_columns,
)
from ...results import BadInputError
from ...typing import Key
from .._counts import count_likelihood
from ._describe import RowsDescription
from ._networks import make_mapping
from ._options import LINEAR, RowsOptions


def latent_dims(options: RowsOptions) -> tuple[int, ...]:
    """Latent variables of each level, from text such as 64,32.

    Raises:
        BadInputError: the text is something else, or a level has no variables.
    """
    parts = [part.strip() for part in options.latents.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise BadInputError(
            f"Expected at least one latent variable in each level, as 64 or 64,32, got --latents {options.latents!r}."
        )
    dims = tuple(int(part) for part in parts)
    if options.model != "latent-gaussian" and len(dims) > 1:
        raise BadInputError(
            f"Expected one level of latent variables for {options.model}, got --latents {options.latents}: only "
            f"latent-gaussian has levels."
        )
    return dims


def make_likelihood(options: RowsOptions, description: RowsDescription) -> AbstractLikelihood:
    """The output density that was named or chosen."""
    name, shape = description.likelihood, description.event_shape
    conditional = options.scale == "conditional"
    if conditional and name not in ("gaussian", "discretized-gaussian"):
        raise BadInputError(
            f"Expected --scale constant for a {name} likelihood, which has no scale, got conditional: leave it out."
        )
    if name == "bernoulli":
        return Bernoulli(shape)
    if name == "gaussian":
        return ConditionalGaussian(shape) if conditional else Gaussian(shape, jnp.zeros(shape))
    if name == "discretized-gaussian":
        width = 1.0 / (GREY_LEVELS - 1.0)
        if conditional:
            return ConditionalDiscretizedGaussian(shape, width, link=jax.nn.sigmoid)
        return DiscretizedGaussian(shape, jnp.full(shape, -1.0), width, link=jax.nn.sigmoid)
    if name == "categorical":
        return CategoricalOutput(shape, description.num_classes)
    if name == "multinomial":
        return Multinomial(shape[0], description.total_count)
    return count_likelihood(name, description.scaling, shape)


def make_model(options: RowsOptions, description: RowsDescription, *, key: Key) -> AbstractModel:
    """The generative model that the options name, before it learned anything."""
    dims = latent_dims(options)
    if options.model in LINEAR and not 1 <= dims[0] < description.size:
        raise BadInputError(
            f"Expected fewer latent variables than the {description.size} numbers of a row for {options.model}, got "
            f"--latents {options.latents}."
        )
    if options.model != "latent-gaussian":
        return _linear(options, description, dims[0], key)
    likelihood = make_likelihood(options, description)
    return latent_gaussian(
        likelihood,
        dims,
        key=key,
        mapping=make_mapping(options, description, likelihood.num_features),
        units=options.units,
        wiring=Skip() if options.wiring == "skip" else NoSkip(),
        conditional_scale=jnp.zeros if options.level_scale == "constant" else lambda dim: None,
        top=LearnedLevel if options.prior == "learned" else StandardLevel,
    )


def _linear(options: RowsOptions, description: RowsDescription, dim: int, key: Key) -> AbstractModel:
    size = description.size
    if options.model == "sparse-coding":
        dictionary = unit_columns(jr.normal(key, (size, dim)))
        return SparseCoding(dictionary, jnp.full((), -0.5), jnp.zeros(()))
    loadings, zeros = 0.1 * jr.normal(key, (size, dim)), jnp.zeros(size)
    if options.model == "factor-analysis":
        return FactorAnalysis(loadings, zeros, zeros)
    return ProbabilisticPCA(loadings, zeros, jnp.zeros(()))
