"""Linear dynamics seen linearly, with Gaussian noise: learned by expectation maximisation, filtered exactly."""

import math
from typing import Any, ClassVar, final

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ....inference import ModelWithFilter
from ....inference.filters import Kalman
from ....models.sequential import LinearDynamics, LinearGaussian
from ....typing import Float, Key
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._maximization import AbstractMaximizedModel, linear_step


@final
class LinearGaussianModel(AbstractMaximizedModel):
    """`linear-gaussian`."""

    name: ClassVar[str] = "linear-gaussian"
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

    def effects(
        self, learned: ModelWithFilter[Any], description: SequencesDescription
    ) -> Float[np.ndarray, "entries inputs"] | None:
        model = learned.model
        assert isinstance(model, LinearGaussian) and isinstance(model.dynamics, LinearDynamics)
        return np.asarray(model.emission_matrix @ model.dynamics.control, np.float64)
