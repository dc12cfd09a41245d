"""The control energy of one action: what a policy is inferred from, as a posterior over states is from a free energy.

    U(a) = -Q(s, a) / alpha - log p(a | s)
    F(pi) = E_pi[U + log pi] = KL(pi || p) - E_pi[Q(s, a)] / alpha

Value is the distortion and divergence the rate, both in nats; -alpha F(pi) is the soft value of the state under pi, in the
unit of the reward. An ensemble of critics counts as mean minus pessimism times deviation.

References:
    Haarnoja et al., "Soft actor-critic", ICML 2018; Marino (thesis), Eqs. 6.3 to 6.8.
"""

from collections.abc import Callable
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
from jax.core import Tracer

from ..core import AbstractObjective, Points
from ..distributions import AbstractExpectation, MonteCarlo, at_points, sample_with_log_prob
from ..results import BadInputError
from ..typing import Action, Array, Coefficient, Distribution, Energy, Float, Key, PyTree, Scalar
from ._free_energy import FreeEnergyTerms

MINIMUM_OF_TWO = 0.5**0.5
"""The pessimism at which the value of two critics is the lesser one: their unbiased deviation is |Q_1 - Q_2| / sqrt(2)."""


class ActionProblem(NamedTuple):
    """What the energy of an action depends on.

    Attributes:
        state: s, as the critics read it.
        critics: maps (s, a) to the values of every critic, in the unit of the reward.
        temperature: alpha, in the unit of the reward per nat.
        prior: p(a | s).
    """

    state: PyTree
    critics: Callable[[PyTree, Action], Float[Array, " critics"]]
    temperature: Scalar
    prior: Distribution


def pessimistic(values: Float[Array, " critics"], pessimism: Coefficient) -> Scalar:
    """mean - beta std over an ensemble, with the unbiased deviation; `MINIMUM_OF_TWO` gives the lesser of two.

    References:
        Ciosek et al., "Better exploration with optimistic actor-critic", NeurIPS 2019; Marino (thesis), Sec. 6.3.
    """
    mean = jnp.mean(values)
    if values.shape[0] == 1:
        return mean
    variance = jnp.sum((values - mean) ** 2) / (values.shape[0] - 1)
    # Where all agree there is no direction in which they begin to differ: the root's slope there is infinite.
    deviation = jnp.where(variance > 0.0, jnp.sqrt(jnp.where(variance > 0.0, variance, 1.0)), 0.0)
    return mean - pessimism * deviation


@final
class SoftReturn(AbstractObjective[ActionProblem]):
    """F(pi) = KL(pi || p) - E_pi[mean_i Q_i - beta std_i Q_i] / alpha, in nats.

    Attributes:
        expectation: rule for E_pi; `Enumeration()` for actions that can be counted.
        pessimism: beta; negative is optimistic.
    """

    expectation: AbstractExpectation = MonteCarlo(1)
    pessimism: Coefficient = MINIMUM_OF_TWO

    @property
    def pathwise(self) -> bool:
        return self.expectation.pathwise

    def check(self, args: ActionProblem) -> None:
        """Refuse a temperature that is known not to be positive.

        Raises:
            BadInputError: it is not.
        """
        if not isinstance(args.temperature, Tracer) and not float(args.temperature) > 0.0:
            raise BadInputError(f"Expected a temperature above zero, got {args.temperature}.")

    def value(self, action: Action, args: ActionProblem) -> Scalar:
        """Q(s, a) of the ensemble, in the unit of the reward."""
        return pessimistic(args.critics(args.state, action), self.pessimism)

    def pointwise(self, value: Array, args: ActionProblem, *, key: Key) -> Energy:
        return -self.value(value, args) / args.temperature - args.prior.log_prob(value)

    def __call__(self, distribution: Distribution, args: ActionProblem, *, key: Key) -> Energy:
        return self.terms(distribution, args, key=key).free_energy_nats

    def terms(self, distribution: Distribution, args: ActionProblem, *, key: Key) -> FreeEnergyTerms:
        """-E_pi[Q] / alpha as distortion, KL(pi || p) as rate, from the same actions."""
        if isinstance(self.expectation, MonteCarlo):
            keys = jax.random.split(key, self.expectation.num_samples)
            actions, log_probs = at_points(lambda k: sample_with_log_prob(distribution, key=k), keys)
            points = Points(actions, jnp.full(log_probs.shape, 1.0 / log_probs.shape[0], log_probs.dtype))
        else:
            points = self.expectation.points(distribution, key=key)
            log_probs = at_points(distribution.log_prob, points.values)
        values = at_points(lambda a: self.value(a, args), points.values)
        divergences = log_probs - at_points(args.prior.log_prob, points.values)
        # An action that pi excludes costs nothing, even where its log density is infinite.
        divergences = jnp.where(points.weights > 0.0, divergences, 0.0)
        value, divergence = (self.expectation.average(points, one) for one in (values, divergences))
        return FreeEnergyTerms(-value / args.temperature, divergence[None])
