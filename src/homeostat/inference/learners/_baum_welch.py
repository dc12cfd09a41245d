"""Exact expectation maximisation for hidden Markov models.

The E-step smooths every sequence; the M-step is in closed form for each part, from the expected counts

    gamma_t(z) = p(z_t = z | x_{1:T}),   xi_t(z, z') = p(z_t = z, z_{t+1} = z' | x_{1:T})

and from the pseudo-counts of conjugate priors, whose centres are fixed before the first step (`ConjugatePrior`).

References:
    Baum, Petrie, Soules and Weiss, "A maximization technique occurring in the statistical analysis of probabilistic functions of
    Markov chains", 1970; Rabiner, "A tutorial on hidden Markov models", 1989, Eqs. 40 and 109-111.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import check_kind
from ...models.sequential import (
    AbstractEmissions,
    AbstractTransitionTable,
    ConjugatePrior,
    HiddenMarkov,
    discrete_divergence,
    most_probable_logits,
    uniform_logits,
)
from ...results import BadInputError
from ...typing import Action, Array, Bool, Coefficient, Float, Int, Observation, PyTree, Scalar
from .._filter import length_mask, masked, require_observable
from ..smoothers import ForwardBackward, SmoothedStates
from ._evidence_ascent import Improved, Learned, ascend_evidence


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


class StatePrior(NamedTuple):
    """Priors of the parts of a `HiddenMarkov` model; None for maximum likelihood.

    Attributes:
        initial: of p(z_1), with unnormalised logits [K] as its centre.
        transitions: of every row p(. | z, a), with an `AbstractTransitionTable` as its centre.
        observation: of every p(x | z), with `AbstractEmissions` as its centre.
    """

    initial: ConjugatePrior[Float[Array, " k"]] | None = None
    transitions: ConjugatePrior[AbstractTransitionTable] | None = None
    observation: ConjugatePrior[AbstractEmissions] | None = None


def pooled_prior(
    model: HiddenMarkov,
    observations: Observation,
    *,
    lengths: Int[Array, " sequences"] | None = None,
    parts: StateParts = StateParts(),
    count: Coefficient = 1.0,
) -> StatePrior:
    """A prior that does not tell states apart: uniform where `model` allows a step, and the moments of all observations.

    Nothing but units changes with the scale or the origin of a column of the observations.

    Args:
        model: where learning starts; what is impossible in it stays so.
        observations: [sequences, time, ...]; NaN (or a `Masked`) where missing.
        lengths: of sequences that were padded to one length.
        parts: what will be learned; other parts need no prior.
        count: pseudo-observations of each distribution.

    Raises:
        BadInputError: a column of real numbers never varies, or a part has no conjugate prior.
    """
    _check(model, parts)
    return _pooled_prior(model, _prepare(model, observations, lengths)[0], parts, count)


def baum_welch(
    model: HiddenMarkov,
    observations: Observation,
    actions: Action = None,
    *,
    lengths: Int[Array, " sequences"] | None = None,
    parts: StateParts = StateParts(),
    prior: StatePrior | None = None,
    smoother: ForwardBackward = ForwardBackward(),
    num_steps: int = 20,
    throw: bool = True,
) -> Learned[HiddenMarkov]:
    """Maximise log p(observations) + log p(parameters) over the chosen parts; no step lowers it.

    Args:
        model: where to start; states that start alike stay alike.
        observations: [sequences, time, ...]; NaN (or a `Masked`) where missing.
        actions: [sequences, time - 1, ...], or None.
        lengths: of sequences that were padded to one length.
        parts: what to learn.
        prior: of each part; by default `pooled_prior`, with one pseudo-observation. `StatePrior()` is maximum likelihood, which
            exists only where no state can explain its observations without spread: observations that repeat make the density of
            Gaussian ones infinite, and an outcome that a state never emits makes logits infinite.
        smoother: the E-step.
        num_steps: number of steps.
        throw: raise if the evidence ends non-finite.

    Returns:
        The learned model, and evidence and prior along the way, in nats.

    Raises:
        BadInputError: no sequence axis, a part has no M-step in closed form, a prior does not fit its part, the model cannot emit
            an observation, or `pooled_prior` refuses them.
    """
    _check(model, parts)
    if num_steps < 0:
        raise BadInputError(f"Expected num_steps >= 0, got {num_steps}.")
    observations, mask = _prepare(model, observations, lengths)
    prior = _pooled_prior(model, observations, parts, 1.0) if prior is None else prior
    check_kind(prior, StatePrior, "the prior")
    for part, own in zip((model.initial_logits, model.transitions, model.observation), prior, strict=True):
        _check_centre(part, own)
    # A part that stays as it is has a prior that stays as it is.
    prior = StatePrior(*(own if learn else None for own, learn in zip(prior, parts, strict=True)))
    improve = eqx.Partial(_improve, observations, actions, mask, parts, prior, smoother)
    return ascend_evidence(improve, model, num_steps, throw)


def _improve(
    observations: Observation,
    actions: Action,
    mask: Bool[Array, "sequences time"],
    parts: StateParts,
    prior: StatePrior,
    smoother: ForwardBackward,
    model: HiddenMarkov,
) -> Improved:
    """One step, and the logarithms of evidence and prior before it."""
    in_axes = (0, None if actions is None else 0)
    smoothed = jax.vmap(lambda x, a: smoother.smooth(model, x, a, throw=False), in_axes=in_axes)(observations, actions)
    updated = _maximise(model, smoothed, observations, actions, mask, parts, prior)
    evidence = -jnp.sum(smoothed.filtered.info.free_energy_nats)
    return Improved(updated, evidence, jnp.asarray(_log_prior(model, prior), evidence.dtype))


def _maximise(
    model: HiddenMarkov,
    smoothed: SmoothedStates,
    observations: Observation,
    actions: Action,
    mask: Array,
    parts: StateParts,
    prior: StatePrior,
) -> HiddenMarkov:
    """The M-step."""
    weights = jnp.where(mask[:, :, None], smoothed.beliefs.probabilities, 0.0)
    initial, transitions, emissions = model.initial_logits, model.transitions, model.observation
    if parts.initial:
        initial = most_probable_logits(jnp.sum(weights[:, 0], axis=0), prior.initial, initial)
    if parts.transitions and isinstance(transitions, AbstractTransitionTable):
        counts = jnp.where(mask[:, 1:, None, None], smoothed.pairwise, 0.0)
        transitions = transitions.maximise(_flat(counts), _flat(actions), prior.transitions)
    if parts.observation and isinstance(emissions, AbstractEmissions):
        emissions = emissions.maximise(_flat(observations), _flat(weights), prior.observation)
    return HiddenMarkov(initial, transitions, emissions)


def _log_prior(model: HiddenMarkov, prior: StatePrior) -> Scalar | float:
    """-sum over parts of n KL(centre || part): the logarithm of the prior less that of its mode."""
    total = 0.0
    if prior.initial is not None:
        total = total - prior.initial.count * discrete_divergence(prior.initial.centre, model.initial_logits)
    if prior.transitions is not None and isinstance(model.transitions, AbstractTransitionTable):
        total = total - prior.transitions.count * model.transitions.divergence(prior.transitions.centre)
    if prior.observation is not None and isinstance(model.observation, AbstractEmissions):
        total = total - prior.observation.count * model.observation.divergence(prior.observation.centre)
    return total


def _pooled_prior(model: HiddenMarkov, observations: Observation, parts: StateParts, count: Coefficient) -> StatePrior:
    initial = transitions = emissions = None
    if parts.initial:
        initial = ConjugatePrior(uniform_logits(model.initial_logits), count)
    if parts.transitions and isinstance(model.transitions, AbstractTransitionTable):
        transitions = ConjugatePrior(model.transitions.centre(), count)
    if parts.observation and isinstance(model.observation, AbstractEmissions):
        emissions = ConjugatePrior(model.observation.centre(_flat(observations)), count)
    return StatePrior(initial, transitions, emissions)


def _flat(tree: PyTree) -> PyTree:
    """Sequences one after the other."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def _prepare(
    model: HiddenMarkov, observations: Observation, lengths: Int[Array, " sequences"] | None
) -> tuple[Observation, Bool[Array, "sequences time"]]:
    """Observations with what is beyond a sequence marked as missing, and which times are within it."""
    shapes = [jnp.shape(leaf)[:2] for leaf in jax.tree.leaves(observations)]
    if any(len(shape) < 2 for shape in shapes):
        raise BadInputError("Expected observations [sequences, time, ...]: add a leading axis to a single sequence.")
    count, time = shapes[0]
    lengths = jnp.full(count, time) if lengths is None else lengths
    # Not in a compiled function, because lengths can be refused only while their values are known.
    mask = length_mask(lengths, time)
    observations = jax.vmap(masked)(observations, mask)
    require_observable(model, observations, ("sequence", "step"))
    return observations, mask


def _check(model: HiddenMarkov, parts: StateParts) -> None:
    if parts.observation and not isinstance(model.observation, AbstractEmissions):
        raise BadInputError(
            "Expected one of the AbstractEmissions to learn p(x | z) in closed form, got a function: leave it out with "
            "parts=StateParts(observation=False), or learn by gradient on the energy of `filter`."
        )
    if parts.transitions and not isinstance(model.transitions, AbstractTransitionTable):
        raise BadInputError(
            f"Expected transitions with a closed-form M-step (TransitionMatrix, ControlledTransitions), got a "
            f"{type(model.transitions).__name__}: leave them out with parts=StateParts(transitions=False), or learn their rates "
            f"by gradient on the energy of `filter`."
        )


def _check_centre(part: Any, prior: ConjugatePrior[Any] | None) -> None:
    if prior is None:
        return
    expected, got = (
        f"{type(one).__name__} of shapes {[jnp.shape(leaf) for leaf in jax.tree.leaves(one)]}"
        for one in (part, prior.centre)
    )
    if expected != got:
        raise BadInputError(f"Expected a prior whose centre is like the part, {expected}, got {got}.")
