"""The exact filter of hidden Markov models: the forward recursion."""

from typing import ClassVar, final

import jax
import jax.numpy as jnp

from ...core import AbstractSequentialModel, FilterInfo
from ...distributions import AbstractRecursion, Parallel, Sequential
from ...models.sequential import HiddenMarkov
from ...results import BadInputError
from ...typing import Action, Array, Float, Key, Observation
from ._categorical_belief import CategoricalBelief, normalised
from ._offline import AbstractOfflineFilter, Filtered, length_of


@final
class Forward(AbstractOfflineFilter):
    """Exact recursive inference in a `HiddenMarkov` model, with any emission.

        p(z_t | x_{1:t}) ~ p(x_t | z_t) sum_{z_{t-1}} p(z_t | z_{t-1}, a_{t-1}) p(z_{t-1} | x_{1:t-1})

    Sums and products are taken in logarithms, so no sequence is too long and no observation too unlikely: a state that was ruled out
    but for e^-400 may still be the one that explains what comes. Missing entries (NaN, or those of a `Masked`) are integrated out.

    Attributes:
        recursion: how the verb `filter` goes through a sequence; `Parallel()` multiplies K by K matrices in log T dependent steps.

    References:
        Rabiner, "A tutorial on hidden Markov models", 1989, Eqs. 19-21; Hassan, Sarkka and Garcia-Fernandez, "Temporal
        parallelization of inference in hidden Markov models", 2021.
    """

    stochastic: ClassVar[bool] = False
    recursion: AbstractRecursion = Sequential()

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> CategoricalBelief:
        return CategoricalBelief(jax.nn.log_softmax(require_hidden_markov(model).initial_logits))

    def predict(
        self,
        model: AbstractSequentialModel,
        belief: CategoricalBelief,
        action: Action = None,
        *,
        key: Key | None = None,
    ) -> CategoricalBelief:
        """sum_z p(z' | z, a) p(z)."""
        matrix = require_hidden_markov(model).transitions.log_matrix(action)
        return CategoricalBelief(log_predict(belief.log_probabilities, matrix))

    def update(
        self,
        model: AbstractSequentialModel,
        belief: CategoricalBelief,
        observation: Observation,
        *,
        key: Key | None = None,
    ) -> tuple[CategoricalBelief, FilterInfo]:
        """Condition on one observation."""
        likelihoods = require_hidden_markov(model).log_likelihoods(observation)
        log_probabilities, log_evidence = normalised(belief.log_probabilities + likelihoods)
        return CategoricalBelief(log_probabilities), FilterInfo(-log_evidence)

    def filter(self, model: AbstractSequentialModel, observations: Observation, actions: Action = None) -> Filtered:
        """All beliefs; the likelihoods of all times are computed at once."""
        model = require_hidden_markov(model)
        likelihoods = jax.vmap(model.log_likelihoods)(observations)
        matrices = log_transition_matrices(model, actions, length_of(observations))
        start = self.init(model).log_probabilities
        if isinstance(self.recursion, Parallel):
            beliefs = _parallel(start, likelihoods, matrices)
            later = jax.vmap(log_predict)(beliefs[:-1], matrices)
            predictions = jnp.concatenate([start[None], later])
            evidence = jax.nn.logsumexp(predictions + likelihoods, axis=-1)
        else:
            beliefs, predictions, evidence = _sequential(start, likelihoods, matrices)
        return Filtered(CategoricalBelief(beliefs), CategoricalBelief(predictions), FilterInfo(-evidence))


def _sequential(
    start: Float[Array, " k"], likelihoods: Float[Array, "time k"], matrices: Float[Array, "steps k k"]
) -> tuple[Float[Array, "time k"], Float[Array, "time k"], Float[Array, " time"]]:
    """Log beliefs, log predictions and log evidences; the loop keeps the largest weight at one, and sums come after it."""

    def body(prediction, inputs):
        likelihood, matrix = inputs
        weights = prediction + likelihood
        top = jax.lax.stop_gradient(jnp.max(weights))
        after = log_predict(weights - jnp.where(jnp.isfinite(top), top, 0.0), matrix)
        return after, after

    _, later = jax.lax.scan(body, start, (likelihoods[:-1], matrices))
    predictions = jax.nn.log_softmax(jnp.concatenate([start[None], later]), axis=-1)
    joint = predictions + likelihoods
    evidences = jax.nn.logsumexp(joint, axis=-1)
    return joint - evidences[:, None], predictions, evidences


def _parallel(
    start: Float[Array, " k"], likelihoods: Float[Array, "time k"], matrices: Float[Array, "steps k k"]
) -> Float[Array, "time k"]:
    """Log beliefs by prefix products of p(x_t | z_t) p(z_t | z_{t-1}), each divided by its largest entry."""
    count = start.shape[0]
    first = jnp.broadcast_to(start, (1, count, count))
    steps = jnp.concatenate([first, matrices]) + likelihoods[:, None, :]
    swept = jax.lax.associative_scan(_log_product, _relative(steps))
    return jax.nn.log_softmax(swept[:, 0], axis=-1)


def _log_product(earlier: Float[Array, "n k k"], later: Float[Array, "n k k"]) -> Float[Array, "n k k"]:
    """log sum_j exp(a_ij + b_jk), up to a constant; term by term, so that K^2 numbers are held for a time and not K^3."""

    def add(total: Array, column_and_row: tuple[Array, Array]) -> tuple[Array, None]:
        column, row = column_and_row
        return _log_add(total, column[:, :, None] + row[:, None, :]), None

    nothing = jnp.full(earlier.shape, -jnp.inf, earlier.dtype)
    total, _ = jax.lax.scan(add, nothing, (jnp.moveaxis(earlier, 2, 0), jnp.moveaxis(later, 1, 0)))
    return _relative(total)


def _relative(log_matrices: Float[Array, "n k k"]) -> Float[Array, "n k k"]:
    """Less the largest entry, where there is one."""
    top = jax.lax.stop_gradient(jnp.max(log_matrices, axis=(1, 2), keepdims=True))
    return log_matrices - jnp.where(jnp.isfinite(top), top, 0.0)


def _log_add(one: Float[Array, "*n"], other: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """log(e^a + e^b), whose derivative is zero where both are -inf."""
    possible = jnp.maximum(one, other) > -jnp.inf
    one, other = (jnp.where(possible, term, 0.0) for term in (one, other))
    return jnp.where(possible, jnp.logaddexp(one, other), -jnp.inf)


def log_predict(belief: Float[Array, " k"], matrix: Float[Array, "k j"]) -> Float[Array, " j"]:
    """log sum_k exp(belief_k + matrix_kj); -inf where no state leads, and there the derivative is zero and not NaN."""
    joint = belief[:, None] + matrix
    top = jax.lax.stop_gradient(jnp.max(joint, axis=0))
    possible = top > -jnp.inf
    top = jnp.where(possible, top, 0.0)
    return top + _log(jnp.sum(jnp.exp(joint - top[None, :]), axis=0))


def log_transition_matrices(model: HiddenMarkov, actions: Action, length: int) -> Float[Array, "steps k k"]:
    """log p(z' | z) of every step."""
    if actions is None:
        matrix = model.transitions.log_matrix(None)
        return jnp.broadcast_to(matrix, (length - 1, *matrix.shape))
    return jax.vmap(model.transitions.log_matrix, axis_size=length - 1)(actions)


def _log(probabilities: Float[Array, "... k"]) -> Float[Array, "... k"]:
    """-inf at zero, where the derivative is zero and not NaN."""
    possible = probabilities > 0.0
    return jnp.where(possible, jnp.log(jnp.where(possible, probabilities, 1.0)), -jnp.inf)


def require_hidden_markov(model: AbstractSequentialModel) -> HiddenMarkov:
    """The model, if this filter can run on it."""
    if not isinstance(model, HiddenMarkov):
        raise BadInputError(
            f"Expected a HiddenMarkov model, got {type(model).__name__}: `Kalman`, `Extended`, `Unscented`, `Particle` and "
            f"`VariationalFilter` take continuous states."
        )
    return model
