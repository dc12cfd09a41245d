"""Filters of one sequential model as methods: the published one, and amortized variational filtering.

Published filters are trained through everything, as in their sources. Amortized variational filtering is local to a step
(Algorithm 2), and its network moves at every time step, as in the authors' code. Of each training the numbers with the lowest
free energy on validation clips count.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import jax.random as jr
import optax

from ...core import AbstractLearner, AbstractSequentialModel
from ...inference import ModelWithFilter, filtering_descent
from ...inference.engines import LearnedSGD, ScaledGradient
from ...inference.filters import FlatReader, NormalizedMean, VariationalFilter, amortized_variational_filter
from ...models.sequential import ConditionedOnFirst
from ...objectives import Annealing
from ...typing import Key
from ._method import Method, Training
from ._sequences import ClipNats, Reporting, SequenceTask

OWN = "baseline"
"""Name of the filter that a model was published with."""


def avf(num_iterations: int) -> str:
    """Name of amortized variational filtering with so many iterations."""
    return f"AVF, {num_iterations} iteration{'s' if num_iterations > 1 else ''}"


class Update(enum.StrEnum):
    """How a new estimate is made of the old one."""

    gated = "gated"
    """Highway gates, Eq. 3.12."""
    learned_sgd = "learned_sgd"
    """A step along the gradient whose length is learned, and an offset; posterior means are layer-normalised."""


@final
@dataclass(frozen=True)
class UpdateNetwork:
    """The update network of amortized variational filtering, the same for all models."""

    width: int = 1024
    """Units in each hidden layer (count)."""
    depth: int = 2
    """Hidden layers (count)."""
    update: Update = Update.gated
    """Rule that makes the new estimate."""
    reads_observation: bool = False
    """Whether the network reads the observation besides estimate and gradient."""

    def filter(
        self, model: AbstractSequentialModel, num_iterations: int, batch_size: int, *, key: Key
    ) -> VariationalFilter:
        """The filter; gradients that `learned_sgd` steps along are those of the mean over a training batch, as published."""
        options: dict[str, Any] = {"reader": FlatReader()} if self.reads_observation else {}
        if self.update is Update.learned_sgd:
            options |= {"update": ScaledGradient(LearnedSGD(), 1.0 / batch_size), "bound": NormalizedMean()}
        return amortized_variational_filter(
            model, key=key, num_steps=num_iterations, width=self.width, depth=self.depth, **options
        )


@final
@dataclass(frozen=True)
class SequenceTraining(Training):
    """How a model and its filter are trained on sequences, with Adam."""

    truncation: int = 0
    """Steps of a sequence that are differentiated through together; 0 for whole sequences (count)."""


def filtering_methods(
    task: SequenceTask,
    published: Callable[..., VariationalFilter],
    network: UpdateNetwork,
    iterations: Sequence[int],
    training: SequenceTraining,
    reporting: Reporting,
) -> tuple[Method, ...]:
    """The published filter, and amortized variational filtering with each number of iterations.

    Args:
        task: model and sequences; a model's first weights do not depend on the filter.
        published: `published(model, key=...)` builds the filter that the model was published with.
    """
    rising = max(1, round(reporting.annealing * training.num_steps))
    # One update a time step: the same rates at the same share of training as for the model.
    online = replace(training, num_steps=training.num_steps * task.data.clip).optimizer()
    validate = ClipNats(task.batch(task.data.validation))

    def method(name: str, build_filter: Callable[..., VariationalFilter], **options: Any) -> Method:
        def build(*, key: Key) -> ModelWithFilter:
            model_key, filter_key = jr.split(key)
            model = task.model(key=model_key)
            return ModelWithFilter(ConditionedOnFirst(model), build_filter(model, key=filter_key))

        def learner(learned: ModelWithFilter) -> AbstractLearner:
            return filtering_descent(
                learned, training.optimizer(), training.truncation or None,
                weighting=Annealing(optax.linear_schedule(0.0, 1.0, rising)), prepare=task.crops, **options,
            )  # fmt: skip

        return Method(name, build, learner, training, validate, reporting.validation_every)

    def amortized(num: int) -> Method:
        def build(model: AbstractSequentialModel, *, key: Key) -> VariationalFilter:
            return network.filter(model, num, training.batch_size, key=key)

        return method(avf(num), build, online=online)

    return method(OWN, published, detach=lambda array: array), *map(amortized, iterations)
