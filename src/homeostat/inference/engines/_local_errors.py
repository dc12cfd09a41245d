"""Predictions, precision-weighted errors, and what neighbouring levels of a hierarchy tell each other.

Every level predicts the one below it; its prediction is compared there, and the error goes back up. With the density of level l
written p(z^l | mu^l, sigma^l) and mu^l a function of what was handed down, an error is the slope of that one density in its own
parameters. For a Gaussian these are

    xi^l = (z^l - mu^l) / sigma_l^2   (in the mean),   sigma_l (xi^l)^2 - 1 / sigma_l   (in the standard deviation),

for a Bernoulli with logits f it is x - sigmoid(f). One pass goes down (predictions), one comes up (errors): each level maps the
errors right below it through the transposed Jacobian of its own prediction, and nothing ever differentiates the whole energy.
Where levels hand down more than their value (deterministic units, skip connections), the message from below carries their
share as well, and each level passes on what concerns those above it.

Thesis, Eqs. 8.4 and 8.5, prints xi = (x - W z) / sigma. The gradient of its Eq. 8.4 has sigma^2 in this place, as in Eqs. 3.5
and 3.6; the two agree only where sigma = 1.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular

from ...core import AbstractModel
from ...distributions import DiscretizedNormal, Hierarchical, innermost, partial_log_prob
from ...models.static import LatentGaussian
from ...objectives import Evidence
from ...results import BadInputError
from ...typing import Array, Bool, Distribution, Energy, Float, PyTree


class HierarchyErrors(NamedTuple):
    """Precision-weighted errors of one estimate, after any gain.

    Attributes:
        observation: xi_x = (x - mu_x) / sigma_x^2, in the shape of x; x - sigmoid(f) for a Bernoulli with logits f.
        latent: xi^l = (z^l - mu^l) / sigma_l^2 of every level, the lowest first.
    """

    observation: Float[Array, "..."]
    latent: tuple[Float[Array, "..."], ...]


class LocalPass(NamedTuple):
    """What one pass down and one pass up found. With a batch, all but the weights have a leading axis.

    Attributes:
        log_likelihood_nats: log p(x | z).
        log_prior_nats: log p(z), of all levels.
        errors: precision-weighted errors.
        ascent: J^T xi^{l-1} - xi^l of every level as one flat vector: the slope of log p(x, z) in z, if there is no gain.
        weights: the slope in the model's parameters, in the structure of the model; each from its own errors only, summed over
            a batch.
    """

    log_likelihood_nats: Energy
    log_prior_nats: Energy
    errors: HierarchyErrors
    ascent: Float[Array, "*batch d"]
    weights: PyTree


class Stage(NamedTuple):
    """A level as its neighbours see it.

    Attributes:
        parameters: what it could learn.
        predict: (parameters, context, value) -> density of the value, and the context of the level below.
    """

    parameters: PyTree
    predict: Callable[[PyTree, Array, Array], tuple[Distribution, Array]]


class _Report(NamedTuple):
    """What a level notes about its own value; constants for whoever differentiates."""

    log_prob: Array
    slopes: tuple[Array, ...]


Weigh = Callable[[int, Array], Array]
"""(level, weighted error) -> gain; level 0 is the observation, level 1 the latents nearest to it."""


def no_gain(level: int, error: Array) -> Array:
    """One, for every error."""
    return jnp.ones_like(error)


def local_pass(
    model: AbstractModel,
    args: Evidence,
    value: Float[Array, "*batch d"],
    weigh: Weigh = no_gain,
    *,
    lift: Callable[[Callable], Callable] = lambda function: function,
) -> LocalPass:
    """Predict from the top down, compare, and send errors one level up each.

    Args:
        model: gives the densities.
        args: the observation, a mask of its known entries where some are missing (these have no error), and a prior in place of the
            model's if it has one.
        value: z, flat, the lowest level first.
        weigh: gain of the errors.
        lift: `jax.vmap` for a batch of observations and values: the weights' slopes are then summed on the way, without one
            copy for each example.

    Raises:
        BadInputError: a density for which there are no such errors, or an observation of another shape.
    """
    stages = _stages(model, args)
    values = _values(model, args, value, len(stages))
    context, backs, reports = jnp.zeros((*value.shape[:-1], 0), value.dtype), [], []
    for level, (stage, part) in zip(range(len(stages))[::-1], zip(stages, values, strict=True), strict=True):
        learned, fixed = eqx.partition(stage.parameters, eqx.is_inexact_array)
        forward, observed = _forward(stage, fixed, level, weigh), None if level else args.observed
        (_, context), back, report = jax.vjp(
            lambda p, c, v, forward=forward, observed=observed: lift(lambda c, v, o: forward(p, c, v, o))(
                c, v, observed
            ),
            learned,
            context,
            part,
            has_aux=True,
        )
        backs.append(back)
        reports.append(report)

    message, ascent, weights = jnp.zeros_like(context), [], []
    for back, report in zip(reversed(backs), reversed(reports), strict=True):
        own, message, through = back((report.slopes, message))
        weights.append(own)
        # A Gaussian's slope in its value is that in its mean, reversed: what it says about the value itself is -xi.
        ascent.append(through - report.slopes[0])
    # The lowest stage is the observation, whose value is given.
    latent = reports[-2::-1]
    return LocalPass(
        reports[-1].log_prob,
        sum((report.log_prob for report in latent[1:]), start=latent[0].log_prob),
        HierarchyErrors(reports[-1].slopes[0], tuple(report.slopes[0] for report in latent)),
        jnp.concatenate(ascent[1:], axis=-1),
        _as_model(model, args, weights),
    )


def _forward(stage: Stage, fixed: PyTree, level: int, weigh: Weigh) -> Callable:
    """(learned, context, value, mask) -> (parameters of the density, context below), with a report that is not differentiated."""

    def forward(
        learned: PyTree, context: Array, value: Array, observed: Bool[Array, "..."] | None
    ) -> tuple[tuple[tuple[Array, ...], Array], _Report]:
        density, below = stage.predict(eqx.combine(learned, fixed), context, value)
        parameters = _parameters(density, level)
        constant, seen = jax.lax.stop_gradient((density, value))
        slopes = _slopes(constant, seen)
        if observed is not None:
            slopes = _of_known(slopes, observed)
        gain = weigh(level, slopes[0])
        weighted = tuple(
            # A factor of many variables (a Cholesky factor) has no gain of one of them.
            (gain * slope if slope.shape == gain.shape else slope).astype(parameter.dtype)
            for slope, parameter in zip(slopes, parameters, strict=True)
        )
        nats = constant.log_prob(seen) if observed is None else partial_log_prob(constant, seen, observed)
        return (parameters, below), _Report(nats, weighted)

    return forward


def _of_known(slopes: tuple[Array, ...], observed: Bool[Array, "..."]) -> tuple[Array, ...]:
    """Zero where an entry is missing, for entries that are independent given the latents."""
    if any(slope.shape != observed.shape for slope in slopes):
        raise BadInputError(
            "Expected independent outputs where entries are missing, got a full covariance: use `Gradient` on the family `Delta` "
            "instead."
        )
    return tuple(jnp.where(observed, slope, 0.0) for slope in slopes)


def _stages(model: AbstractModel, args: Evidence) -> tuple[Stage, ...]:
    """The chain of densities, the top first and the observation last."""
    if isinstance(model, LatentGaussian) and args.prior is None:
        levels = [
            Stage(level, lambda own, context, value: (own.conditional(context), own.descend(context, value)))
            for level in reversed(model.levels)
        ]
        read = (model.decoder, model.density)
        return (*levels, Stage(read, lambda own, context, value: (own[1](own[0](context)), context[:0])))
    top = Stage(model, lambda own, context, value: (own.initial(), value))
    if args.prior is not None:
        top = Stage(None, lambda own, context, value: (args.prior, value))
    return (top, Stage(model, lambda own, context, value: (own.emission(context), context[:0])))


def _values(model: AbstractModel, args: Evidence, value: Array, num_stages: int) -> list[Array]:
    """What each stage has, the top first and the observation last."""
    if not eqx.is_array_like(args.observation):
        raise BadInputError(f"Expected an observation that is one array, got {type(args.observation).__name__}.")
    parts = [value]
    if num_stages > 2:
        ends = list(itertools.accumulate(model.dims))  # pyright: ignore[reportAttributeAccessIssue]
        parts = jnp.split(value, ends[:-1], axis=-1)[::-1]
    return [*parts, jnp.asarray(args.observation, value.dtype)]


def _parameters(density: Distribution, level: int) -> tuple[Array, ...]:
    """Parameters of a density that predictions set, the mean first."""
    base = innermost(density)
    kind = type(base)
    if level and not issubclass(kind, dist.Normal | dist.MultivariateNormal):
        got = (
            "a hierarchy of levels that only `LatentGaussian` opens"
            if issubclass(kind, Hierarchical)
            else kind.__name__
        )
        raise BadInputError(
            f"Expected Gaussian latents for predictive coding, got {got}: use `Gradient` on the family `Delta` instead."
        )
    if issubclass(kind, dist.Normal | DiscretizedNormal):
        return jnp.broadcast_to(base.loc, base.batch_shape), jnp.broadcast_to(base.scale, base.batch_shape)
    if issubclass(kind, dist.MultivariateNormal):
        return base.loc, base.scale_tril
    if issubclass(kind, dist.BernoulliLogits):
        return (base.logits,)
    raise BadInputError(
        f"Expected a Gaussian, discretised Gaussian or Bernoulli output for predictive coding, got {kind.__name__}: use "
        f"`Gradient` on the family `Delta` instead."
    )


def _slopes(density: Distribution, value: Array) -> tuple[Array, ...]:
    """d log p(value) / d parameters, in the order of `_parameters`: the errors, weighted by their precisions."""
    base = innermost(density)
    kind = type(base)
    expected = density.shape()
    if value.shape != expected:
        raise BadInputError(
            f"Expected a value of shape {expected} for {kind.__name__}, got shape {value.shape}: for a batch of "
            f"observations, map with `jax.vmap` or `equinox.filter_vmap`."
        )
    if issubclass(kind, dist.Normal):
        error = value - base.loc
        weighted = error / base.scale**2
        return weighted, (error * weighted - 1.0) / base.scale
    if issubclass(kind, dist.MultivariateNormal):
        factor = base.scale_tril
        standard = solve_triangular(factor, value - base.loc, lower=True)
        weighted = solve_triangular(factor, standard, lower=True, trans=1)
        return weighted, jnp.tril(weighted[:, None] * standard[None, :]) - jnp.diag(1.0 / jnp.diagonal(factor))
    if issubclass(kind, DiscretizedNormal):
        # The slope of one bin's mass has no shorter form than its derivative.
        def mass(loc: Array, scale: Array) -> Array:
            return jnp.sum(DiscretizedNormal(loc, scale, base.bin_width, base.low, base.high).log_prob(value))

        parameters = [jnp.broadcast_to(part, base.batch_shape) for part in (base.loc, base.scale)]
        return jax.grad(mass, argnums=(0, 1))(*parameters)
    return (value - jax.nn.sigmoid(base.logits),)


def _as_model(model: AbstractModel, args: Evidence, weights: list[PyTree]) -> PyTree:
    """Slopes of the stages, the observation first, in the structure of the model."""
    learned = eqx.filter(model, eqx.is_inexact_array)
    if isinstance(model, LatentGaussian) and args.prior is None:
        (decoder, likelihood), *levels = weights
        return eqx.tree_at(lambda m: (m.levels, m.decoder, m.density), learned, (tuple(levels), decoder, likelihood))
    read, top = weights
    return read if top is None else jax.tree.map(jnp.add, read, top)
