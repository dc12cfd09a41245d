"""How a discrete state moves: one matrix, one for each action, or rates in continuous time."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...results import BadInputError
from ...typing import Action, Array, Float, Scalar
from ._conjugate_prior import ConjugatePrior, discrete_divergence, log_of, most_probable_logits, uniform_logits
from ._timed_action import TimedAction
from ._validation import check_shape


class AbstractTransitions(eqx.Module):
    """p(z' | z, a) over K states."""

    @property
    def num_states(self) -> int:
        """K, the length of the last axis of every parameter."""
        return jax.tree.leaves(self)[0].shape[-1]

    @abc.abstractmethod
    def log_matrix(self, action: Action = None) -> Float[Array, "k k"]:
        """log p(z' | z, a), [z, z']; -inf where a step is impossible."""


class AbstractTransitionTable(AbstractTransitions):
    """Transitions with a row of logits for each state and action, whose M-step is in closed form.

    Attributes:
        logits: unnormalised log p(z' | z), [..., K, K].
    """

    logits: eqx.AbstractVar[Float[Array, "*rows k k"]]

    @abc.abstractmethod
    def maximise(
        self,
        counts: Float[Array, "steps k k"],
        actions: Action,
        prior: "ConjugatePrior[AbstractTransitionTable] | None",
    ) -> "AbstractTransitionTable":
        """The most probable transitions for expected counts of (z, z') at each step (the M-step of Baum-Welch).

        Args:
            counts: [steps, K, K], steps of all sequences one after the other.
            actions: with the same leading axis, or None.
            prior: of each row; None for maximum likelihood.
        """

    def centre(self) -> "AbstractTransitionTable":
        """Every step that is possible equally probable: where a prior that knows nothing has its centre."""
        return eqx.tree_at(lambda table: table.logits, self, uniform_logits(self.logits))

    def divergence(self, centre: "AbstractTransitionTable") -> Scalar:
        """Sum over rows of KL(centre || p(z' | z, a)) in nats."""
        return discrete_divergence(centre.logits, self.logits)

    def _most_probable(
        self, counts: Float[Array, "*rows k k"], prior: "ConjugatePrior[AbstractTransitionTable] | None"
    ) -> Float[Array, "*rows k k"]:
        rows = None if prior is None else ConjugatePrior(prior.centre.logits, prior.count)
        return most_probable_logits(counts, rows, self.logits)


@final
class TransitionMatrix(AbstractTransitionTable):
    """One matrix, whatever is done.

    Attributes:
        logits: unnormalised log p(z' | z), [K, K].
    """

    logits: Float[Array, "k k"]

    def __check_init__(self):
        check_shape("the transition logits", self.logits, 2 * self.logits.shape[-1:])

    @classmethod
    def from_probabilities(cls, matrix: Array) -> "TransitionMatrix":
        """Rows p(. | z) that sum to one; zeros are steps that never happen.

        Raises:
            BadInputError: a row is no distribution.
        """
        return cls(log_distribution("a row of the transition matrix", matrix))

    def log_matrix(self, action: Action = None) -> Float[Array, "k k"]:
        return jax.nn.log_softmax(self.logits, axis=-1)

    def maximise(
        self, counts: Float[Array, "steps k k"], actions: Action, prior: ConjugatePrior[AbstractTransitionTable] | None
    ) -> "TransitionMatrix":
        return TransitionMatrix(self._most_probable(jnp.sum(counts, axis=0), prior))


@final
class ControlledTransitions(AbstractTransitionTable):
    """One matrix for each of a few actions, which are whole numbers.

    Attributes:
        logits: unnormalised log p(z' | z, a), [A, K, K].
    """

    logits: Float[Array, "a k k"]

    def log_matrix(self, action: Action = None) -> Float[Array, "k k"]:
        if action is None or jnp.shape(action) != () or not jnp.issubdtype(jnp.result_type(action), jnp.integer):
            raise BadInputError(
                f"Expected one integer action below {self.logits.shape[0]}, got {action}: use `TransitionMatrix` for a chain "
                f"that nobody steers."
            )
        return jax.nn.log_softmax(self.logits[action], axis=-1)

    def maximise(
        self, counts: Float[Array, "steps k k"], actions: Action, prior: ConjugatePrior[AbstractTransitionTable] | None
    ) -> "ControlledTransitions":
        sums = jax.ops.segment_sum(counts, actions, self.logits.shape[0])
        return ControlledTransitions(self._most_probable(sums, prior))


@final
class JumpProcess(AbstractTransitions):
    """A Markov chain in continuous time: p(z' | z) = exp(t Q) with rates Q_ij > 0 for i != j and rows that sum to zero.

    Its action is an `TimedAction`.

    Attributes:
        log_rates: log Q_ij in 1 / time, [K, K]; the diagonal is not read.
    """

    log_rates: Float[Array, "k k"]

    def log_matrix(self, action: Action = None) -> Float[Array, "k k"]:
        if not isinstance(action, TimedAction):
            raise BadInputError(
                f"Expected an `TimedAction` as the action of a chain in continuous time, got {type(action).__name__}: say how "
                f"long each step lasts."
            )
        rates = jnp.where(jnp.eye(self.num_states, dtype=bool), 0.0, jnp.exp(self.log_rates))
        generator = rates - jnp.diag(jnp.sum(rates, axis=1))
        # Rounding may leave a probability of -1e-17.
        return log_of(jnp.maximum(jax.scipy.linalg.expm(action.duration * generator), 0.0))


def log_distribution(name: str, probabilities: Array) -> Float[Array, "... k"]:
    """The logarithm of probabilities, which are checked where their values are known."""
    probabilities = jnp.asarray(probabilities, jnp.result_type(float))
    if not isinstance(probabilities, Tracer):
        values = np.asarray(probabilities)
        if not np.all(np.isfinite(values)) or np.any(values < 0.0) or not np.allclose(values.sum(-1), 1.0, atol=1e-4):
            raise BadInputError(
                f"Expected {name} to hold probabilities that sum to one, got {values.tolist()}: normalise it, or pass logits."
            )
    return log_of(probabilities)
