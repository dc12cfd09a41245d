"""A posterior that reuses the prior of the levels above: bottom-up messages meet top-down predictions."""

from collections.abc import Sequence
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ..core import AbstractFamily
from ..results import BadInputError
from ..typing import Array, Distribution, Float, PyTree, Scalar
from ._gaussian import DiagonalGaussianParams
from ._hierarchical import AbstractLevel, Hierarchical, split_levels

NEWTON_STEPS = 60
"""Of `Ladder.fit`; twenty reach machine precision from the start on well-conditioned samples."""


@final
class Corrected(AbstractLevel):
    """A level's prediction N(m, s^2), multiplied by a message N(mu, sigma^2) and normalised.

    Attributes:
        level: predicts.
        loc: mu.
        log_scale: log sigma.
    """

    level: AbstractLevel
    loc: Float[Array, " d"]
    log_scale: Float[Array, " d"]

    @property
    def dim(self) -> int:
        return self.level.dim

    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        prior = self.level.conditional(context).base_dist
        prior_precision, precision = prior.scale**-2, jnp.exp(-2.0 * self.log_scale)
        total = prior_precision + precision
        mean = (prior_precision * prior.loc + precision * self.loc) / total
        return dist.Normal(mean, jax.lax.rsqrt(total), validate_args=False).to_event(1)

    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        return self.level.descend(context, value)


@final
class Ladder(AbstractFamily[DiagonalGaussianParams]):
    """q(z) = prod_l q(z^l | z^{l+1:L}),  q(z^l | .) proportional to N(z^l; mu^l, sigma^l) p(z^l | z^{l+1:L}).

    The parameters are those of a diagonal Gaussian, one message for each variable, so any encoder of a mean-field posterior
    serves a ladder too. The levels are those of the prior: `infer` takes them from the evidence, where it has one.

    Attributes:
        levels: of the prior, the lowest first; without gradient, since a posterior does not teach the prior.

    References:
        Sønderby et al., "Ladder variational autoencoders", NeurIPS 2016, Eqs. 11 and 12; Marino (thesis), Sec. 3.2.
    """

    reparameterized: ClassVar[bool] = True
    levels: tuple[AbstractLevel, ...]

    def __init__(self, levels: Sequence[AbstractLevel]):
        if not levels:
            raise BadInputError("Expected the levels of a prior, got none: pass those of a `LatentGaussian`.")
        self.levels = tuple(levels)

    @property
    def dims(self) -> tuple[int, ...]:
        """Number of variables of each level, the lowest first."""
        return tuple(level.dim for level in self.levels)

    def given(self, args: PyTree) -> "Ladder":
        """With the levels of a prior, or of an evidence that has one."""
        prior = args if isinstance(args, dist.Distribution) else getattr(args, "prior", None)
        if prior is None:
            return self
        if isinstance(prior, Hierarchical):
            return Ladder(prior.levels)
        raise BadInputError(f"Expected the prior of a hierarchical model, got {type(prior).__name__}.")

    def init(self) -> DiagonalGaussianParams:
        """Messages as wide as a standard Gaussian."""
        size = sum(self.dims)
        return DiagonalGaussianParams(jnp.zeros(size), jnp.zeros(size))

    def __call__(self, params: DiagonalGaussianParams) -> Distribution:
        locs, log_scales = (split_levels(leaf, self.dims) for leaf in params)
        return Hierarchical([Corrected(*parts) for parts in zip(self.levels, locs, log_scales, strict=True)])

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> DiagonalGaussianParams:
        """Maximum likelihood, variable by variable: with the levels above known, each has two parameters.

        In (mu / sigma^2, 1 / sigma^2) the log likelihood is concave; damped Newton steps find its maximum.
        """
        loc, precision = jax.vmap(lambda z: _moments(Hierarchical(self.levels), z))(samples)

        def variable(values: Array, loc: Array, precision: Array) -> tuple[Array, Array]:
            def loss(natural: Float[Array, "2"]) -> Scalar:
                total = precision + natural[1]
                mean = (precision * loc + natural[0]) / total
                return 0.5 * (weights @ (total * (values - mean) ** 2 - jnp.log(total)))

            def newton(natural: Array, _: None) -> tuple[Array, None]:
                gradient, hessian = jax.grad(loss)(natural), jax.hessian(loss)(natural)
                step = -jnp.linalg.solve(hessian + 1e-12 * jnp.eye(2), gradient)
                # The decrement shortens steps that are long in the metric of the curvature.
                step = step / (1.0 + jnp.sqrt(jnp.maximum(-gradient @ step, 0.0)))
                share = jnp.where(step[1] < 0.0, jnp.minimum(1.0, -0.9 * natural[1] / step[1]), 1.0)
                moved = natural + share * step
                return moved.at[1].set(jnp.clip(moved[1], 1e-6, 1e6)), None

            natural, _ = jax.lax.scan(newton, jnp.array([0.0, 1.0], values.dtype), length=NEWTON_STEPS)
            return natural[0] / natural[1], -0.5 * jnp.log(natural[1])

        return DiagonalGaussianParams(*jax.vmap(variable, in_axes=1)(samples, loc, precision))


def _moments(prior: Hierarchical, value: Array) -> tuple[Array, Array]:
    """Mean and precision of every variable given the levels above."""
    conditionals = [c.base_dist for c in prior.descend(value).conditionals]
    return jnp.concatenate([c.loc for c in conditionals]), jnp.concatenate([c.scale**-2 for c in conditionals])
