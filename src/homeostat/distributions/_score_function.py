"""The score-function estimator: gradients of an expectation without differentiating through samples.

    grad E_q[f] = E_q[f grad log q + grad f]                                                            (Eq. 2.26)

It needs no reparameterisation, so it serves discrete latents, at the price of noise that a baseline b lessens:
E_q[b grad log q] = 0 for every b that does not depend on the sample.
"""

import abc
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import Points
from ..results import BadInputError
from ..typing import Array, Coefficient, Distribution, Float, Key, Scalar
from ._expectation import AbstractExpectation


class AbstractBaseline(eqx.Module):
    """Baseline: subtracted from f before it multiplies the score."""

    @abc.abstractmethod
    def __call__(self, values: Float[Array, " n"]) -> Float[Array, " n"]:
        """b_i for every sample, a function of the other samples or of none."""


@final
class NoBaseline(AbstractBaseline):
    """b = 0: Eq. 2.26 as it stands."""

    def __call__(self, values: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.zeros_like(values)


@final
class ConstantBaseline(AbstractBaseline):
    """b = a number known beforehand, such as a running mean of past energies.

    Attributes:
        value: b, in the unit of f.
    """

    value: Coefficient

    def __call__(self, values: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.full_like(values, self.value)


@final
class LeaveOneOut(AbstractBaseline):
    """b_i = mean of f over the other samples: unbiased, and needs two samples or more.

    References:
        Mnih and Rezende, "Variational inference for Monte Carlo objectives", ICML 2016, Sec. 2.5.
    """

    def __call__(self, values: Float[Array, " n"]) -> Float[Array, " n"]:
        num = values.shape[0]
        if num < 2:
            raise BadInputError("Expected at least two samples for a leave-one-out baseline, got one.")
        return (jnp.sum(values) - values) / (num - 1.0)


@final
class ScoreFunction(AbstractExpectation):
    """Independent samples through which no gradient flows; the score carries it instead.

    The value is the sample mean. A factor q(z) / [q(z)] (brackets mark a constant), whose value is one and whose gradient is
    the score, makes ordinary differentiation give Eq. 2.26, also for gradients of gradients.

    Attributes:
        num_samples: number of samples.
        baseline: lessens the noise.

    References:
        Marino (thesis), Eq. 2.26; Foerster et al., "DiCE: the infinitely differentiable Monte Carlo estimator", ICML 2018.
    """

    pathwise: ClassVar[bool] = False
    num_samples: int = eqx.field(static=True, default=2)
    baseline: AbstractBaseline = LeaveOneOut()

    def __check_init__(self):
        if self.num_samples < 1:
            raise BadInputError(f"Expected at least one sample, got num_samples={self.num_samples}.")

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        values = jax.lax.stop_gradient(jax.vmap(distribution.sample)(jr.split(key, self.num_samples)))
        log_prob = jax.vmap(distribution.log_prob)(values)
        one = jnp.exp(log_prob - jax.lax.stop_gradient(log_prob))
        return Points(values, one / self.num_samples)

    def average(self, points: Points, values: Float[Array, " n"]) -> Scalar:
        baseline = jax.lax.stop_gradient(self.baseline(values))
        # The baseline leaves the value alone: what it takes from f it gives back without a score.
        return points.weights @ (values - baseline) + jnp.mean(baseline)
