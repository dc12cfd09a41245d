"""Methods that are compared, their training, and what training leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractLearner
from ...results import BadInputError
from ...runs import RunContext
from ...train import InMemoryLoader
from ...typing import Any, Array, Float, Key, PyTree


@dataclass(frozen=True)
class Training:
    """How a model and what infers are trained, with Adam."""

    num_steps: int = 10_000
    """Updates (count)."""
    batch_size: int = 16
    """Rows or sequences in a batch (count)."""
    learning_rate: float = 1e-3
    """Adam's rate at the start (dimensionless)."""
    final_rate: float = 0.1
    """Share of the rate that is left at the end; it falls along half a cosine (fraction)."""
    largest_gradient: float = 0.0
    """Norm to which a longer gradient of a batch is clipped; 0 for no clipping (nats per unit of weight)."""

    def optimizer(self) -> optax.GradientTransformation:
        """Adam with a falling rate, after clipping where that is asked for."""
        adam = optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.num_steps, alpha=self.final_rate))
        if self.largest_gradient > 0.0:
            return optax.chain(optax.clip_by_global_norm(self.largest_gradient), adam)
        return adam


@final
@dataclass(frozen=True)
class Method:
    """One way to learn, which is trained anew for every seed.

    Attributes:
        name: in tables and stages.
        build: `build(key=...)` gives what is learned; also called for the structure alone.
        learner: `learner(learned)` trains it; its state has `learned` and `failure`.
        training: steps, batch and rate.
        validate: `validate(learned, key=...)` on held-out data, in nats, traceable; of each training the numbers with the
            lowest value are kept. None keeps the last.
        every: updates in a compiled segment, and between validations.
    """

    name: str
    build: Callable[..., Any]
    learner: Callable[[Any], AbstractLearner]
    training: Training
    validate: Callable[..., Array] | None = None
    every: int = 100


class Trained(NamedTuple):
    """What training leaves: the best by validation, or the last.

    Attributes:
        steps: updates done at the end of each segment.
        free_energy_nats: mean over each segment, on training batches.
    """

    learned: Any
    steps: Float[Array, " segments"]
    free_energy_nats: Float[Array, " segments"]


def train(context: RunContext, name: str, method: Method, data: PyTree, *, key: Key) -> Trained:
    """Train a method as a stage of the run, resumable; rows or sequences are the leading axis of `data`.

    Raises:
        BadInputError: training met something that was not finite.
    """
    training = method.training
    every = min(method.every, training.num_steps)

    def fit(key: Key) -> Trained:
        build_key, fit_key = jr.split(key)
        judge = None if method.validate is None else eqx.filter_jit(method.validate)

        def validate(state: Any, key: Key) -> float:
            return float(judge(state.learned, key=key))  # pyright: ignore[reportOptionalCall]

        result = context.fit(
            name, method.learner(eqx.filter_jit(method.build)(key=build_key)), InMemoryLoader(data, training.batch_size),
            num_steps=training.num_steps, key=fit_key, every=every, validate=None if judge is None else validate,
        )  # fmt: skip
        if result.failure is not None:
            raise BadInputError(
                f"Expected training of {name!r} to stay finite, got a value that was not at update {result.last_step}: "
                "choose a smaller learning rate, or clip gradients."
            )
        curve = jnp.asarray(result.history.free_energy_nats, float)
        return Trained(result.state.learned, jnp.asarray(result.steps, float), curve)

    empty = np.zeros(-(-training.num_steps // every), jnp.result_type(float))

    def like() -> Trained:
        return Trained(method.build(key=jr.key(0)), jnp.asarray(empty), jnp.asarray(empty))

    return context.stage(name, fit, key=key, like=like)


def only(where: Callable[[Any], Any], optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser that moves `where(params)` and leaves everything else as it is."""

    def labels(params: PyTree) -> PyTree:
        still = jax.tree.map(lambda _: "still", params)
        return eqx.tree_at(where, still, replace_fn=lambda part: jax.tree.map(lambda _: "moved", part))

    return optax.multi_transform({"still": optax.set_to_zero(), "moved": optimizer}, labels)
