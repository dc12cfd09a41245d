"""Models that start at a linear-Gaussian one of the same sequences and go on by gradients of what a filter or a path says."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ....core import AbstractSequentialModel
from ....inference import ModelWithFilter, SequenceBatch
from ....models.sequential import LinearGaussian
from ....typing import Key
from ..._task import make_optimizer
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._linear_gaussian import LinearGaussianModel
from ._maximization import learn_linear
from ._named import AbstractNamedModel, MakeBatch, SequencesSystem

LINEAR_STEPS = 50
"""Steps of expectation maximisation of the linear model."""
_CLIP = 1.0
"""Norm to which gradients are shortened unless `--clip-norm` names one: those of a filter that loses track have no bound (nats per
unit)."""


class AbstractDescendedModel(AbstractNamedModel):
    """A model that begins at what is found in all training sequences, and descends on pieces of them."""

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        return LinearGaussianModel().numbers_held(options, description, padded_steps)

    def begin(self, system: SequencesSystem, together: MakeBatch, run: Any, *, key: Key) -> SequencesSystem:
        learned = system.learned

        def start(key: Key) -> AbstractSequentialModel:
            return self.start(system, jax.tree.map(jnp.asarray, together()), key=key)

        found = run.stage("start", start, key=key, like=learned.model)
        return system._replace(learned=ModelWithFilter(found, learned.filter))

    @abc.abstractmethod
    def start(self, system: SequencesSystem, batch: SequenceBatch, *, key: Key) -> AbstractSequentialModel:
        """Where learning starts, in the structure of what `build` gives."""


def linear_model(options: SequencesOptions, description: SequencesDescription, *, key: Key) -> LinearGaussian:
    """A linear-Gaussian model before it has learned."""
    model = LinearGaussianModel().build(options, description, key=key).model
    assert isinstance(model, LinearGaussian)
    return model


def linear_start(system: SequencesSystem, batch: SequenceBatch, *, key: Key) -> LinearGaussian:
    """A linear-Gaussian model after some steps of expectation maximisation."""
    return learn_linear(linear_model(system.options, system.description, key=key), batch, LINEAR_STEPS)


def optimizer(options: SequencesOptions) -> optax.GradientTransformation:
    """Adam on gradients that are shortened in any case."""
    clip = optax.identity() if options.clip_norm else optax.clip_by_global_norm(_CLIP)
    return optax.chain(clip, make_optimizer(options))
