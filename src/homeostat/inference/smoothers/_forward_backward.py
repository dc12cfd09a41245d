"""Exact smoothing of hidden Markov models, and their most likely path."""

from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.discrete.smoothing import smoothing_operator

from ...core import AbstractSequentialModel, AbstractSmoother
from ...distributions import Parallel
from ...models.sequential import HiddenMarkov, sequence_length
from ...results import BadInputError
from ...typing import Action, Array, Float, Int, Observation, PyTree, Scalar
from .._filter import Filtered, filter, masked, require_observable
from ..filters import CategoricalBelief, Forward
from ..filters._forward import _log, log_transition_matrices, require_hidden_markov


class SmoothedStates(NamedTuple):
    """What the forward-backward smoother found.

    Attributes:
        beliefs: p(z_t | x_1, ..., x_T), leading axis time.
        pairwise: p(z_t, z_{t+1} | x_1, ..., x_T), [time - 1, K, K].
        filtered: the forward pass.
    """

    beliefs: CategoricalBelief
    pairwise: Float[Array, "steps k k"]
    filtered: Filtered

    @property
    def log_evidence_nats(self) -> Scalar:
        """log p(x_1, ..., x_T)."""
        return -self.filtered.free_energy_nats


class Path(NamedTuple):
    """The most likely path.

    Attributes:
        states: argmax p(z_1, ..., z_T | x_1, ..., x_T), [time].
        log_joint_nats: log p(x_1, ..., x_T, z_1, ..., z_T) there.
    """

    states: Int[Array, " time"]
    log_joint_nats: Scalar


@final
class ForwardBackward(AbstractSmoother):
    """The exact smoother of `HiddenMarkov` models, a backward pass over the filtered beliefs.

        p(z_t | x_{1:T}) = p(z_t | x_{1:t}) sum_{z'} p(z' | z_t, a_t) p(z' | x_{1:T}) / p(z' | x_{1:t})

    Attributes:
        filter: the forward pass; its recursion is that of the backward pass too.

    References:
        Rabiner, "A tutorial on hidden Markov models", 1989, Eqs. 27 and 37; in the form of Kitagawa 1987, which reads no
        observation twice.
    """

    stochastic: ClassVar[bool] = False
    filter: Forward = Forward()

    def smooth(self, model, observations, actions=None, *, key=None, throw=True) -> SmoothedStates:
        """Both passes; nothing is drawn, so the key has no effect."""
        key = jr.key(0) if key is None else key
        return self(model, filter(self.filter, model, observations, actions, key=key, throw=throw), actions)

    def __call__(self, model: AbstractSequentialModel, filtered: Filtered, actions: Action = None) -> SmoothedStates:
        """The backward pass over the result of the forward pass."""
        if not isinstance(filtered.beliefs, CategoricalBelief) or not isinstance(
            filtered.predictions, CategoricalBelief
        ):
            raise BadInputError(
                f"Expected the result of a `Forward` filter, got beliefs of type {type(filtered.beliefs).__name__}."
            )
        beliefs, predictions = filtered.beliefs.log_probabilities, filtered.predictions.log_probabilities
        matrices = log_transition_matrices(require_hidden_markov(model), actions, beliefs.shape[0])
        expected = predictions[1:, None, :]
        # p(z_t | z_{t+1}, x_{1:t}) in columns; a state that cannot be reached has none.
        reachable = expected > -jnp.inf
        kernels = jnp.exp(beliefs[:-1, :, None] + matrices - jnp.where(reachable, expected, 0.0))
        beliefs = filtered.beliefs.probabilities
        if isinstance(self.filter.recursion, Parallel):
            last = jnp.broadcast_to(beliefs[-1], (1, *matrices.shape[1:]))
            rows = jnp.concatenate([jnp.swapaxes(kernels, 1, 2), last])
            with jax.numpy_rank_promotion("allow"):
                # cuthbert's operator takes the later element first; every row of the last one is the filtered belief.
                swept = jax.lax.associative_scan(_after, rows, reverse=True)
            smoothed = swept[:, 0]
        else:

            def body(later, kernel):
                now = kernel @ later
                return now, now

            _, earlier = jax.lax.scan(body, beliefs[-1], kernels, reverse=True)
            smoothed = jnp.concatenate([earlier, beliefs[-1:]])
        pairwise = kernels * smoothed[1:, None, :]
        return SmoothedStates(CategoricalBelief(_log(smoothed)), pairwise, filtered)


def _after(later: Float[Array, "... k k"], earlier: Float[Array, "... k k"]) -> Float[Array, "... k k"]:
    return smoothing_operator(earlier, later)


def viterbi(
    model: AbstractSequentialModel,
    observations: Observation,
    actions: Action = None,
    *,
    mask: PyTree | None = None,
    length: Int[Array, ""] | None = None,
) -> Path:
    """The most likely path of a `HiddenMarkov` model, by dynamic programming.

    Args:
        model: a hidden Markov model.
        observations: x_1, ..., x_T on a leading time axis; NaN or `Masked` where missing.
        actions: a_1, ..., a_{T-1}, or None.
        mask: True where observed, as for `filter`; besides NaN.
        length: steps of a sequence that was padded with missing ones, beyond which its path stays in the last state.

    Raises:
        BadInputError: the model is another, or cannot emit an observation whose value is known.

    References:
        Viterbi, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", 1967.
    """
    observations = observations if mask is None else masked(observations, mask)
    require_observable(require_hidden_markov(model), observations)
    return _viterbi(model, observations, actions, length)


@eqx.filter_jit
def _viterbi(
    model: HiddenMarkov, observations: Observation, actions: Action, length: Int[Array, ""] | None = None
) -> Path:
    time = sequence_length(observations, actions)
    likelihoods = jax.vmap(model.log_likelihoods)(observations)
    matrices = log_transition_matrices(model, actions, time)
    within = jnp.arange(1, time) < (time if length is None else length)

    def forward(best, inputs):
        matrix, likelihood, inside = inputs
        scores = best[:, None] + matrix
        # A step that does not exist changes nothing: a missing one would still favour states that lead to probable ones.
        origin = jnp.where(inside, jnp.argmax(scores, axis=0), jnp.arange(scores.shape[0]))
        return jnp.where(inside, jnp.max(scores, axis=0) + likelihood, best), origin

    start = jax.nn.log_softmax(model.initial_logits) + likelihoods[0]
    best, origins = jax.lax.scan(forward, start, (matrices, likelihoods[1:], within))
    last = jnp.argmax(best)

    def back(state, origin):
        before = origin[state]
        return before, before

    _, earlier = jax.lax.scan(back, last, origins, reverse=True)
    return Path(jnp.concatenate([earlier, last[None]]), jnp.max(best))
