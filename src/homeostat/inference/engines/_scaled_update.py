"""An update rule that sees the gradient in another unit."""

from typing import final

import equinox as eqx

from ...typing import Array, Coefficient, Float
from ._encodings import Feedback
from ._updates import AbstractUpdateRule


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
