"""Stationary linear dynamics in continuous time, for steps of any duration, at the maximum of the likelihood."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, final

import equinox as eqx
import jax.numpy as jnp

from ....inference import ModelWithFilter, SequenceBatch, maximum_likelihood
from ....inference.filters import Kalman
from ....models.sequential import (
    ContinuousLinearDynamics,
    ContinuousParameters,
    DurationFirst,
    LinearGaussian,
    TimedAction,
)
from ....typing import Key
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._likelihood import MOST_STEPS, AbstractSolvedModel, lengths_of, seen_values
from ._named import SequencesSystem


@final
class ContinuousModel(AbstractSolvedModel):
    """`continuous`."""

    name: ClassVar[str] = "continuous"
    takes_durations: ClassVar[bool] = True

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        # Powers, nodes and doublings of every step, for the gradient.
        return 100 * padded_steps * int(options.latents) ** 2

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        return ModelWithFilter(_model(_start(options, description, key), description), Kalman())

    def solve(
        self, system: SequencesSystem, batch: SequenceBatch, record: Callable[[int, float], None], *, key: Key
    ) -> LinearGaussian:
        description, actions = system.description, None
        if batch.actions is not None:
            actions = jnp.asarray(batch.actions)
        if description.uneven and actions is not None:
            actions = TimedAction(actions[..., 0], actions[..., 1:])
        found = maximum_likelihood(
            _start(system.options, description, key),
            seen_values(batch),
            actions,
            lengths=lengths_of(batch),
            num_steps=min(system.options.steps, MOST_STEPS),
            callback=record,
        )
        return _model(found.parameters, description)


def _start(options: SequencesOptions, description: SequencesDescription, key: Key) -> ContinuousParameters:
    inputs = description.action_dim - int(description.uneven)
    duration = None if description.uneven else 1.0
    size = math.prod(description.event_shape)
    return ContinuousParameters.start(int(options.latents), size, inputs, duration=duration, key=key)


def _model(parameters: ContinuousParameters, description: SequencesDescription) -> LinearGaussian:
    """The model that takes known inputs as arrays, with the duration of a step first where durations differ."""
    model = parameters.model()
    if not isinstance(model.dynamics, ContinuousLinearDynamics):
        return model
    return eqx.tree_at(lambda model: model.dynamics, model, DurationFirst(model.dynamics))
