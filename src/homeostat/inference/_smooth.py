"""`smooth`: beliefs about every state given the whole sequence."""

from typing import Any

import equinox as eqx

from ..core import AbstractSequentialModel, AbstractSmoother, require_key
from ..objectives import PathEvidence
from ..results import BadInputError
from ..typing import Action, Key, Observation, PyTree
from ._filter import masked, require_observable


def smooth(
    method: AbstractSmoother,
    model: AbstractSequentialModel,
    observations: Observation,
    actions: Action = None,
    *,
    key: Key | None = None,
    mask: PyTree | None = None,
    throw: bool = True,
) -> Any:
    """p(z_t | x_1, ..., x_T) for every t, exactly or as well as the smoother can. Arguments as for `filter`.

    Args:
        method: any smoother.
        model: a model that it takes.
        observations: x_1, ..., x_T on a leading time axis, or a `Measurement` with its own noise at each time; NaN (or a
            `Masked`) where missing.
        actions: a_1, ..., a_{T-1} on a leading time axis, or None.
        key: for smoothers that draw; exact ones do not.
        mask: True where observed, as for `filter`; besides NaN.
        throw: raise if what was found is not finite.

    Returns:
        The record of the smoother: `Smoothed` for Gaussian ones, `SmoothedStates` for hidden Markov models, `SmoothedPath`
        for structured ones.

    Raises:
        BadInputError: the smoother may draw samples and there is no key; the mask does not fit; the model cannot emit an observation
            whose value is known (unless `throw` is off).
    """
    if mask is not None:
        if isinstance(observations, PathEvidence):
            raise BadInputError(
                "Expected plain observations with a mask, got a PathEvidence, which has its own: build it from `Masked` ones."
            )
        observations = masked(observations, mask)
    if throw:
        require_observable(model, observations)
    if method.stochastic:
        key = require_key(key, f"{type(method).__name__} may draw samples")
    return _smooth(method, model, observations, actions, key, throw)


@eqx.filter_jit
def _smooth(
    method: AbstractSmoother,
    model: AbstractSequentialModel,
    observations: Observation,
    actions: Action,
    key: Key | None,
    throw: bool,
) -> Any:
    return method.smooth(model, observations, actions, key=key, throw=throw)
