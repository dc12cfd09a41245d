"""`filter`: run any filter over a sequence."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer

from .._scan import scan
from ..core import AbstractBelief, AbstractFilter, AbstractSequentialModel, FilterInfo
from ..distributions import Masked, known_entries, require_emission
from ..models.sequential import Measurement, pad_actions, sequence_length
from ..results import RESULTS, BadInputError
from ..typing import Action, Array, Bool, Distribution, Float, Int, Key, Observation, PyTree
from .filters import AbstractOfflineFilter, Filtered


def filter(
    method: AbstractFilter,
    model: AbstractSequentialModel,
    observations: Observation,
    actions: Action | None = None,
    *,
    key: Key,
    mask: PyTree | None = None,
    throw: bool = True,
) -> Filtered:
    """Beliefs along a sequence x_1, a_1, x_2, ..., a_{T-1}, x_T: update with x_t, then predict with a_t.

    Unbatched and compiled on first use. For many sequences `jax.vmap` over observations, actions, mask and keys; sequences of
    different lengths are padded (with anything) to the longest and masked by `length_mask`. For a live source call
    `method.init`, `method.update` and `method.predict` yourself: memory does not grow with time. Irregular steps in time are a
    model whose transition reads the time that passes from the action.

    Args:
        method: any filter.
        model: the model it believes in.
        observations: x_1, ..., x_T on a leading time axis; NaN where missing. A step at which nothing was observed adds no
            free energy.
        actions: a_1, ..., a_{T-1} on a leading time axis; None for a model without actions.
        key: split over time.
        mask: True where observed, [time] or of the shape of the observations (a tree of such for a tree); besides NaN, and for
            integers, where `Masked` observations do the same.
        throw: raise if a free energy is not finite; with False, look at `info`.

    Returns:
        Beliefs, predictions and free energies in nats.

    Raises:
        BadInputError: lengths of observations, actions and mask do not fit, beliefs change their structure on the way, or the
            model cannot emit an observation whose value is known (unless `throw` is off).
    """
    observations = observations if mask is None else masked(observations, mask)
    if throw:
        require_observable(model, observations)
    return _filter(method, model, observations, actions, key, throw)


@eqx.filter_jit
def _filter(
    method: AbstractFilter,
    model: AbstractSequentialModel,
    observations: Observation,
    actions: Action | None,
    key: Key,
    throw: bool,
) -> Filtered:
    sequence_length(observations, actions)
    if isinstance(method, AbstractOfflineFilter):
        beliefs, predictions, info = method.filter(model, observations, actions)
    else:
        beliefs, predictions, info = _step_by_step(method, model, observations, actions, key=key)
    results = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, info.free_energy_nats.shape), info.result)
    info = FilterInfo(info.free_energy_nats, results)
    if throw:
        finite = jnp.all(jnp.isfinite(info.free_energy_nats))
        result = RESULTS.where(finite, RESULTS.successful, RESULTS.nonfinite_energy)
        failed = results != RESULTS.successful
        first = jax.tree.map(lambda leaf: leaf[jnp.argmax(failed)], results)
        result = RESULTS.where(jnp.any(failed), first, result)
        beliefs, info = result.error_if((beliefs, info), result != RESULTS.successful)
    return Filtered(beliefs, predictions, info)


def require_observable(
    model: AbstractSequentialModel, observations: Observation, axes: tuple[str, ...] = ("step",)
) -> None:
    """Raise `BadInputError` if the model cannot emit an observation; what is traced or missing is not looked at.

    Warns of real numbers that their precision does not suffice for.
    """
    both = isinstance(observations, Masked)
    value, observed = (observations.value, observations.observed) if both else (observations, None)
    require_emission(_first_emission, model, value, observed, axes)
    numbers = value.value if isinstance(value, Measurement) else value
    for leaf in jax.tree.leaves(numbers):
        if not isinstance(leaf, Tracer) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating) and jnp.ndim(leaf):
            _warn_of_rounding(np.asarray(leaf), float(jnp.finfo(jnp.result_type(leaf)).eps))


def _warn_of_rounding(values: np.ndarray, precision: float) -> None:
    """Warn where neighbouring numbers lie farther apart than a twentieth of the deviation of an entry."""
    columns = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
    # The squares of larger numbers overflow, and these are told apart by the filter itself.
    known = np.abs(columns) < _LARGEST
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, columns, 0.0).sum(axis=0) / count
    deviation = np.sqrt((np.where(known, columns - mean[None, :], 0.0) ** 2).sum(axis=0) / count)
    apart = precision * np.abs(mean)
    coarse = (apart > _COARSE * deviation) & (deviation > 0.0)
    if coarse.any():
        entry = int(np.argmax(coarse))
        warnings.warn(
            f"Observations of entry {entry} lie near {mean[entry]:.6g} and vary by some {deviation[entry]:.2g}, but numbers of "
            f"{'32' if precision > 1e-10 else '64'} bits are {apart[entry]:.2g} apart there: subtract their mean, or compute in 64 "
            f"bits (JAX_ENABLE_X64=1).",
            stacklevel=4,
        )


def _first_emission(model: AbstractSequentialModel) -> Distribution:
    carry = model.init_carry()
    return model.emission_given(carry, model.prior(carry).sample(jr.key(0)))


_LARGEST = 1e150
_COARSE = 0.05
"""Rounding to steps of this part of a deviation adds 1/12 of its square, 0.0002, to a variance."""

HINT = (
    "let init_carry() and next_carry() (of a Markov model: initial() and transition()) give the same kind, such as two "
    "MultivariateNormal, or use MomentMatching or `Particle`, which do not carry distributions."
)
"""What to do where a belief changes its structure on the way."""


def _step_by_step(
    method: AbstractFilter,
    model: AbstractSequentialModel,
    observations: Observation,
    actions: Action | None,
    *,
    key: Key,
) -> tuple[AbstractBelief, AbstractBelief, FilterInfo]:
    length = sequence_length(observations, actions)
    keys = jr.split(key, 2 * length + 1)
    first_key, keys = keys[0], keys[1:].reshape(length, 2)
    # The last prediction of the scan is thrown away, so its action does not matter; it only completes the array.
    padded = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.zeros((1, *leaf.shape[1:]), leaf.dtype)]), actions)
    padded = pad_actions(padded, jnp.arange(length) < length - 1)

    def body(prediction, inputs):
        observation, action, step_keys = inputs
        belief, info = method.update(model, prediction, observation, key=step_keys[0])
        return method.predict(model, belief, action, key=step_keys[1]), (belief, prediction, info)

    start, inputs = method.init(model, key=first_key), (observations, padded, keys)
    _, (beliefs, predictions, info) = scan(
        body, start, inputs, name=f"what is carried for {type(model).__name__}", hint=HINT
    )
    return beliefs, predictions, info


@eqx.filter_jit
def predictive_log_likelihood(
    method: AbstractFilter,
    model: AbstractSequentialModel,
    filtered: Filtered,
    observations: Observation,
    actions: Action | None = None,
    *,
    horizon: int = 1,
    key: Key,
) -> Float[Array, " predictions"]:
    """log p(x_{t+k} | x_1, ..., x_t, a_t, ..., a_{t+k-1}) for every t at which it can be asked, k the horizon.

    Exact for exact filters; for others, minus the free energy of the observation under the open-loop prediction.

    Args:
        method: the filter behind `filtered`.
        model: the model that predicts.
        filtered: what `filter` found with them.
        observations: x_1, ..., x_T, as for `filter`.
        actions: a_1, ..., a_{T-1}, or None.
        horizon: k, at least 1 and below T.
        key: split over predictions and steps.

    Returns:
        T - k numbers in nats.

    Raises:
        BadInputError: the sequence is too short for the horizon.
    """
    length = sequence_length(observations, actions)
    if not 1 <= horizon < length:
        raise BadInputError(f"Expected a horizon from 1 to {length - 1} for {length} observations, got {horizon}.")
    starts = jnp.arange(length - horizon)
    beliefs = jax.tree.map(lambda leaf: leaf[: length - horizon], filtered.beliefs)
    targets = jax.tree.map(lambda leaf: leaf[horizon:], observations)
    plans = jax.tree.map(lambda leaf: leaf[starts[:, None] + jnp.arange(horizon)[None, :]], actions)

    def one(belief, observation, plan, one_key):
        keys = jr.split(one_key, horizon + 1)

        def step(belief, inputs):
            action, step_key = inputs
            return method.predict(model, belief, action, key=step_key), None

        belief, _ = jax.lax.scan(step, belief, (plan, keys[:-1]))
        return -method.update(model, belief, observation, key=keys[-1])[1].free_energy_nats

    in_axes = (0, 0, None if actions is None else 0, 0)
    return jax.vmap(one, in_axes=in_axes)(beliefs, targets, plans, jr.split(key, length - horizon))


def length_mask(lengths: Int[Array, "*batch"], num_steps: int) -> Bool[Array, "*batch time"]:
    """True for the first `lengths` of `num_steps` steps: the mask of sequences that were padded to one length.

    Raises:
        BadInputError: the number of steps is below one, or a length that is known while tracing is not within it.
    """
    if num_steps < 1:
        raise BadInputError(f"Expected at least one step, got num_steps={num_steps}.")
    if not isinstance(lengths, Tracer):
        # NumPy, because inside a compiled function JAX would trace even what is known.
        known = np.asarray(lengths)
        low, high = int(known.min(initial=num_steps)), int(known.max(initial=1))
        if low < 1 or high > num_steps:
            raise BadInputError(f"Expected lengths from 1 to {num_steps}, the padded length, got {low} to {high}.")
    lengths = jnp.asarray(lengths)
    steps = jnp.arange(num_steps).reshape((1,) * lengths.ndim + (num_steps,))
    return steps < lengths[..., None]


def masked(observations: Observation, mask: PyTree) -> Observation:
    """Observations with NaN where the mask is False, or `Masked` where their type has no NaN; what was missing stays missing.

    Args:
        observations: arrays with leading time axes.
        mask: [time] for all entries of a step, or of the shape of the observations.

    Raises:
        BadInputError: the mask is not Boolean, or of another shape.
    """
    if isinstance(observations, Measurement):
        return Measurement(masked(observations.value, mask), observations.scale_tril)
    if isinstance(observations, Masked):
        again = known_entries(masked(observations.value, mask))
        known = jax.tree.map(jnp.logical_and, observations.observed, again.observed)
        return Masked(observations.value, known)
    single = len(jax.tree.leaves(mask)) == 1 and jnp.ndim(jax.tree.leaves(mask)[0]) == 1
    masks = jax.tree.map(lambda leaf: jax.tree.leaves(mask)[0], observations) if single else mask
    shapes, got = ([jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (observations, masks))
    fits = len(shapes) == len(got) and all(a in (b, b[:1]) for a, b in zip(got, shapes, strict=True))
    if not fits or any(jnp.result_type(leaf) != jnp.dtype(bool) for leaf in jax.tree.leaves(masks)):
        types = [str(jnp.result_type(leaf)) for leaf in jax.tree.leaves(masks)]
        raise BadInputError(
            f"Expected a Boolean mask, True where observed, of shape (time,) or that of the observations, {shapes}, got shapes "
            f"{got} of types {types}."
        )

    def spread(flag: Array, leaf: Array) -> Array:
        return jnp.broadcast_to(flag.reshape(flag.shape + (1,) * (jnp.ndim(leaf) - flag.ndim)), jnp.shape(leaf))

    observed = jax.tree.map(spread, masks, observations)
    if all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in jax.tree.leaves(observations)):
        return jax.tree.map(lambda leaf, flag: jnp.where(flag, leaf, jnp.nan), observations, observed)
    known = jax.tree.map(
        lambda leaf, flag: flag & ~jnp.isnan(leaf) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) else flag,
        observations,
        observed,
    )
    return Masked(observations, known)
