"""Targets of critics: what an action was worth, from the steps that followed it.

    y_k = r_k + gamma (1 - terminal_k) x_{k+1}

What stands for x is one's choice of estimator; at a cut (`truncated`) and at the last step it is the soft value V, because the
episode went on there, unseen. After the end of a task nothing follows.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp

from ..results import BadInputError
from ..typing import Action, Array, Bool, Coefficient, Float, PyTree, Scalar


class Segment(NamedTuple):
    """Consecutive steps of one world, the oldest first.

    Attributes:
        state: s_0, ..., s_n, as agents read them.
        action: a_0, ..., a_n.
        reward: of a_k in s_k.
        terminal: whether the task ended in s_{k+1}.
        truncated: whether the episode was cut off there.
        log_prob: log density of a_k under the policy that chose it.
        idle: whether a_k was ignored, because the step began a new episode.
    """

    state: PyTree
    action: Action
    reward: Float[Array, " steps"]
    terminal: Bool[Array, " steps"]
    truncated: Bool[Array, " steps"]
    log_prob: Float[Array, " steps"]
    idle: Bool[Array, " steps"]


class Ahead(NamedTuple):
    """What the present policy and critics say of the steps after the first, s_1, ..., s_n.

    Attributes:
        value: V(s_k) = E_pi[Q] - alpha KL(pi || p).
        cost: alpha KL(pi || p) there.
        action_value: Q(s_k, a_k) of the action that was taken.
        log_prob: log pi(a_k | s_k) of it.
    """

    value: Float[Array, " n"]
    cost: Float[Array, " n"]
    action_value: Float[Array, " n"]
    log_prob: Float[Array, " n"]


class AbstractReturn(eqx.Module):
    """An estimator of the return of the first action of a segment."""

    num_steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def follow(self, later: Scalar, segment: Segment, ahead: Ahead, k: int) -> Scalar:
        """x_k where the episode goes on in s_k, from y_k, `later`."""

    def __call__(self, segment: Segment, ahead: Ahead, discount: Coefficient) -> Scalar:
        """y_0, in the unit of the reward.

        Args:
            segment: num_steps + 1 steps.
            ahead: of its steps 1 to num_steps.
            discount: gamma.
        """
        going = 1.0 - segment.terminal.astype(segment.reward.dtype)
        last = self.num_steps - 1
        target = segment.reward[last] + discount * going[last] * ahead.value[last]
        for k in range(last - 1, -1, -1):
            follows = jnp.where(segment.truncated[k], ahead.value[k], self.follow(target, segment, ahead, k))
            target = segment.reward[k] + discount * going[k] * follows
        return target


@final
class NStep(AbstractReturn):
    """The rewards of n steps, the entropy bonus between them, and the soft value after them; n = 1 is soft actor-critic's.

    Not corrected for actions that the present policy would not choose.

    Attributes:
        num_steps: n.
    """

    num_steps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _check(self.num_steps)

    def follow(self, later, segment, ahead, k):
        return later - ahead.cost[k]


@final
class Retrace(AbstractReturn):
    """x_k = V(s_k) + c_k (y_k - Q(s_k, a_k)),   c_k = lambda min(1, pi(a_k | s_k) / mu(a_k | s_k)).

    Attributes:
        num_steps: n, the longest return.
        decay: lambda.

    References:
        Munos et al., "Safe and efficient off-policy reinforcement learning", NeurIPS 2016, Eqs. 3 and 4.
    """

    num_steps: int = eqx.field(static=True, default=5)
    decay: Coefficient = 0.9

    def __check_init__(self):
        _check(self.num_steps)

    def follow(self, later, segment, ahead, k):
        ratio = jnp.exp(jnp.minimum(ahead.log_prob[k] - segment.log_prob[k + 1], 0.0))
        return ahead.value[k] + self.decay * ratio * (later - ahead.action_value[k])


def _check(num_steps: int) -> None:
    if num_steps < 1:
        raise BadInputError(f"Expected a return over at least one step, got num_steps={num_steps}.")
