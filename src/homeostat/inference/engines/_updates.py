"""How the outputs of an update network change an estimate."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...typing import Array, Coefficient, Float
from ._encodings import Feedback


class AbstractUpdateRule(eqx.Module):
    """How network outputs change the estimate."""

    @abc.abstractmethod
    def outputs(self, size: int) -> int:
        """Number of network outputs for `size` parameters."""

    @abc.abstractmethod
    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        """The new estimate."""


@final
class Gated(AbstractUpdateRule):
    """lambda <- g lambda + (1 - g) proposal, g = sigmoid(gate): the highway update of Eq. 3.12.

    Attributes:
        gate_bias: added to the gate's input; positive values start near the identity.

    References:
        Marino (thesis), Eq. 3.12.
    """

    gate_bias: Coefficient = 0.0

    def outputs(self, size: int) -> int:
        return 2 * size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        proposal, gate = jnp.split(output, 2)
        gate = jax.nn.sigmoid(gate + self.gate_bias)
        return gate * feedback.estimate + (1.0 - gate) * proposal


@final
class Residual(AbstractUpdateRule):
    """lambda <- lambda + scale * output.

    Attributes:
        scale: multiplies the output, in the parameters' unit.
    """

    scale: Coefficient = 1.0

    def outputs(self, size: int) -> int:
        return size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        return feedback.estimate + self.scale * output


@final
class LearnedSGD(AbstractUpdateRule):
    """lambda <- lambda - sigmoid(rate) g + offset, a learned step size for the raw gradient.

    References:
        Marino, Cvitkovic and Yue, "A general method for amortizing variational filtering", NeurIPS 2018 (code).
    """

    def outputs(self, size: int) -> int:
        return 2 * size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        offset, rate = jnp.split(output, 2)
        return feedback.estimate - jax.nn.sigmoid(rate) * feedback.gradient + offset


@final
class BoundLogScale(eqx.Module):
    """Clips the second half of an estimate [mu, log sigma].

    Attributes:
        low: least log sigma.
        high: greatest log sigma.

    References:
        Log variances in [-15, 15], as in the code of Marino, Yue and Mandt (2018).
    """

    low: float = -7.5
    high: float = 7.5

    def __call__(self, estimate: Float[Array, " k"]) -> Float[Array, " k"]:
        loc, log_scale = jnp.split(estimate, 2)
        return jnp.concatenate([loc, jnp.clip(log_scale, self.low, self.high)])


@final
class ScaledGradient(AbstractUpdateRule):
    """Another rule, which is shown the gradient times a factor.

    A rule that adds the gradient itself, such as `LearnedSGD`, depends on its unit. Published codes that differentiate the mean
    over a batch of B examples show the network 1/B of what each example's own energy gives: factor 1/B is their setting.

    Attributes:
        rule: any update rule.
        factor: multiplies the gradient.
    """

    rule: AbstractUpdateRule
    factor: Coefficient

    def outputs(self, size: int) -> int:
        return self.rule.outputs(size)

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        scaled = eqx.tree_at(lambda f: f.gradient, feedback, self.factor * feedback.gradient)
        return self.rule(scaled, output)
