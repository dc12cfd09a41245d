"""Exact expectation maximisation for hidden Markov models.

The E-step smooths every sequence; the M-step is in closed form for each part, from the expected counts

    gamma_t(z) = p(z_t = z | x_{1:T}),   xi_t(z, z') = p(z_t = z, z_{t+1} = z' | x_{1:T})

References:
    Baum, Petrie, Soules and Weiss, "A maximization technique occurring in the statistical analysis of probabilistic functions of
    Markov chains", 1970; Rabiner, "A tutorial on hidden Markov models", 1989, Eqs. 40 and 109-111.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ...models.sequential import AbstractEmissions, HiddenMarkov
from ...results import BadInputError
from ...typing import Action, Array, Bool, Int, Observation, Scalar
from .._filter import length_mask, masked
from ..smoothers import ForwardBackward, SmoothedStates
from ._evidence_ascent import Learned, ascend_evidence


class StateParts(NamedTuple):
    """Which parts of a `HiddenMarkov` model are learned; the others stay as they are.

    Attributes:
        initial: p(z_1) (needs several sequences to mean something).
        transitions: p(z' | z, a).
        observation: p(x | z), of one of the `AbstractEmissions`.
    """

    initial: bool = True
    transitions: bool = True
    observation: bool = True


def baum_welch(
    model: HiddenMarkov,
    observations: Observation,
    actions: Action = None,
    *,
    lengths: Int[Array, " sequences"] | None = None,
    parts: StateParts = StateParts(),
    prior_count: float = 0.0,
    smoother: ForwardBackward = ForwardBackward(),
    num_steps: int = 20,
    throw: bool = True,
) -> Learned[HiddenMarkov]:
    """Maximise log p(observations) over the chosen parts; without prior counts no step lowers it.

    Args:
        model: where to start; states that start alike stay alike.
        observations: [sequences, time, ...]; NaN (or a `Masked`) where missing.
        actions: [sequences, time - 1, ...], or None.
        lengths: of sequences that were padded to one length.
        parts: what to learn.
        prior_count: pseudo-counts, added to every initial state and transition, and to the emissions as observations of what they
            are; above zero for emissions of counts and binary entries, and against states that explain a single observation.
        smoother: the E-step.
        num_steps: number of steps.
        throw: raise if the evidence ends non-finite.

    Returns:
        The learned model and the evidence along the way, in nats.

    Raises:
        BadInputError: no sequence axis, or a part has no M-step in closed form.
    """
    emissions = model.observation
    if parts.observation and not isinstance(emissions, AbstractEmissions):
        raise BadInputError(
            "Expected one of the AbstractEmissions to learn p(x | z) in closed form, got a function: leave it out with "
            "parts=StateParts(observation=False), or learn by gradient on the energy of `filter`."
        )
    if num_steps < 0 or prior_count < 0.0:
        raise BadInputError(f"Expected num_steps >= 0 and prior_count >= 0, got {num_steps} and {prior_count}.")
    shapes = [jnp.shape(leaf)[:2] for leaf in jax.tree.leaves(observations)]
    if any(len(shape) < 2 for shape in shapes):
        raise BadInputError("Expected observations [sequences, time, ...]: add a leading axis to a single sequence.")
    count, time = shapes[0]
    lengths = jnp.full(count, time) if lengths is None else lengths
    # Out here, because lengths can be refused only while their values are known.
    mask = length_mask(lengths, time)
    improve = eqx.Partial(
        _improve, jax.vmap(masked)(observations, mask), actions, mask, parts, float(prior_count), smoother
    )
    return ascend_evidence(improve, model, num_steps, throw)


def _improve(
    observations: Observation,
    actions: Action,
    mask: Bool[Array, "sequences time"],
    parts: StateParts,
    prior_count: float,
    smoother: ForwardBackward,
    model: HiddenMarkov,
) -> tuple[HiddenMarkov, Scalar]:
    """One step, and log p(observations) before it."""
    in_axes = (0, None if actions is None else 0)
    smoothed = jax.vmap(lambda x, a: smoother.smooth(model, x, a, throw=False), in_axes=in_axes)(observations, actions)
    updated = _maximise(model, smoothed, observations, actions, mask, parts, prior_count)
    return updated, -jnp.sum(smoothed.filtered.info.free_energy_nats)


def _maximise(
    model: HiddenMarkov,
    smoothed: SmoothedStates,
    observations: Observation,
    actions: Action,
    mask: Array,
    parts: StateParts,
    prior_count: float,
) -> HiddenMarkov:
    """The M-step."""
    flat = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)  # noqa: E731
    weights = jnp.where(mask[:, :, None], smoothed.beliefs.probabilities, 0.0)
    initial, transitions, emissions = model.initial_logits, model.transitions, model.observation
    if parts.initial:
        shares = jnp.sum(weights[:, 0], axis=0) + prior_count
        initial = jnp.where(shares > 0.0, jnp.log(jnp.where(shares > 0.0, shares, 1.0)), -jnp.inf)
        initial = initial - jax.nn.logsumexp(initial)
    if parts.transitions:
        counts = jnp.where(mask[:, 1:, None, None], smoothed.pairwise, 0.0)
        transitions = transitions.maximise(flat(counts), flat(actions), prior_count)
    if parts.observation and isinstance(emissions, AbstractEmissions):
        emissions = emissions.maximise(flat(observations), flat(weights), prior_count)
    return HiddenMarkov(initial, transitions, emissions)
