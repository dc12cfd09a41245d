"""Linear dynamics seen linearly, with Gaussian noise: learned by expectation maximisation, filtered exactly."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, final

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....inference import ModelWithFilter, SequenceBatch, maximum_likelihood
from ....inference.filters import Kalman
from ....models.sequential import LinearDynamics, LinearGaussian, LinearGaussianParameters
from ....typing import Float, Key
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._likelihood import lengths_of, seen_values
from ._maximization import AbstractMaximizedModel, MaximizationState, linear_step
from ._named import SequencesSystem

_SEGMENTS = (20, 20, 40, 80)
"""Steps of the search between two validations; all together they are at most a tenth of `--steps`."""
_WORSE_NATS = 0.05
"""Where validation has lost this much a step, the search has learned the training steps by heart."""
_MOST_NUMBERS = 20_000_000
"""Entries of the covariances of all steps: beyond, a gradient takes gigabytes, and so many steps leave EM little to creep."""


@final
class LinearGaussianModel(AbstractMaximizedModel):
    """`linear-gaussian`."""

    name: ClassVar[str] = "linear-gaussian"
    refines: ClassVar[bool] = True
    improve = staticmethod(linear_step)

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        # Smoothing keeps a square matrix of states and numbers for every step.
        width = int(options.latents) + math.prod(description.shape) + 1
        return 2 * padded_steps * width**2

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        """A slowly forgetting state that is seen through random directions; expectation maximisation goes on from there."""
        dim, size = int(options.latents), math.prod(description.event_shape)
        control = jnp.zeros((dim, description.action_dim))
        dynamics = LinearDynamics(0.9 * jnp.eye(dim), control, 0.5 * jnp.eye(dim))
        emission = jr.normal(jr.split(key)[0], (size, dim)) / math.sqrt(dim)
        return ModelWithFilter(
            LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, emission, jnp.eye(size)), Kalman()
        )

    def refine(
        self,
        system: SequencesSystem,
        state: MaximizationState,
        batch: SequenceBatch,
        score: Callable[[MaximizationState], float] | None,
    ) -> MaximizationState:
        """Goes on from where expectation maximisation creeps, by a quasi-Newton method, as long as validation gains."""
        values = seen_values(batch)
        large = values.shape[0] * values.shape[1] * int(system.options.latents) ** 2 > _MOST_NUMBERS
        # Without validation nothing would tell when the training steps are learned by heart.
        if large or score is None:
            return state
        best, lowest = state, score(state)
        for steps in np.asarray(_SEGMENTS)[np.cumsum(_SEGMENTS) <= system.options.steps // 10].tolist():
            found = maximum_likelihood(
                LinearGaussianParameters.of(state.model, start_is_learned=len(values) > 1),
                values,
                None if batch.actions is None else jnp.asarray(batch.actions),
                lengths=lengths_of(batch),
                num_steps=steps,
            )
            state = state._replace(model=found.parameters.model())
            nats = score(state)
            if nats < lowest:
                best, lowest = state, nats
            if found.converged or nats > lowest + _WORSE_NATS:
                break
        return best

    def effects(
        self, learned: ModelWithFilter[Any], description: SequencesDescription
    ) -> Float[np.ndarray, "entries inputs"] | None:
        model = learned.model
        assert isinstance(model, LinearGaussian) and isinstance(model.dynamics, LinearDynamics)
        return np.asarray(model.emission_matrix @ model.dynamics.control, np.float64)
