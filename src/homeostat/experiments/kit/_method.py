"""Methods that are compared: their training, what training leaves, and scores over seeds."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractLearner
from ...metrics import count_weights
from ...results import BadInputError
from ...runs import RunContext
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, PyTree


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


def only(where: Callable[[Any], Any], optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser that moves `where(params)` and leaves everything else as it is."""

    def labels(params: PyTree) -> PyTree:
        still = jax.tree.map(lambda _: "still", params)
        return eqx.tree_at(where, still, replace_fn=lambda part: jax.tree.map(lambda _: "moved", part))

    return optax.multi_transform({"still": optax.set_to_zero(), "moved": optimizer}, labels)


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

    def like() -> Trained:
        empty = jnp.zeros(-(-training.num_steps // every))
        return Trained(method.build(key=jr.key(0)), empty, empty)

    return context.stage(name, fit, key=key, like=like)


class Result(NamedTuple):
    """All seeds of one method.

    Attributes:
        scores: what was measured of each trained model; a leading axis of seeds.
        weights: learnable numbers.
        trained: what training left of each seed.
    """

    method: Method
    scores: Any
    weights: int
    trained: tuple[Trained, ...]

    @property
    def name(self) -> str:
        """The method's."""
        return self.method.name

    @property
    def learned(self) -> Any:
        """The model of the first seed, for pictures."""
        return self.trained[0].learned


class Comparison(NamedTuple):
    """Results of methods, in their order, on one set of data; its name stands in tables and stages."""

    name: str
    results: tuple[Result, ...]

    def of(self, name: str) -> Result | None:
        """The result of a method by its name, or None where it was not compared."""
        return next((each for each in self.results if each.name == name), None)


def compare(
    context: RunContext, name: str, methods: Sequence[Method], data: PyTree, score: Callable[..., Any], *,
    num_seeds: int, key: Key,
) -> Comparison:  # fmt: skip
    """Train and score every method with every seed, resumable model by model.

    Args:
        data: training rows or sequences.
        score: `score(method, learned, key=...)` gives a tree of arrays; the same key for every method and seed but for the
            stage's name.
        num_seeds: independent trainings of each method.
    """
    results = []
    for method in methods:
        stages = [stage_name(name, method.name, seed) for seed in range(num_seeds)]
        trained = tuple(train(context, stage, method, data, key=key) for stage in stages)
        scores = []
        for stage, each in zip(stages, trained, strict=True):

            def judged(key: Key, method: Method = method, each: Trained = each) -> Any:
                return jax.tree.map(np.asarray, score(method, each.learned, key=key))

            scores.append(context.stage(f"{stage}-score", judged, key=key))
        weights = count_weights(lambda method=method: method.build(key=jr.key(0)))
        results.append(Result(method, jax.tree.map(lambda *leaves: np.stack(leaves), *scores), weights, trained))
    return Comparison(name, tuple(results))


def stage_name(*parts: str | int) -> str:
    """Letters and digits of the parts, joined by hyphens."""
    return "-".join(re.sub(r"\W+", "-", str(part)).strip("-") for part in parts)


def at(*values: Any, **options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of `Config` at one scale, for `scales`."""
    return values, options


def scales(**given: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    """Makes `Config.for_scale` of the values of each scale; a scale that is not given has the defaults."""

    def for_scale(cls: Callable[..., Any], scale: str) -> Any:
        values, options = given.get(scale, at())
        return cls(*values, **options)

    return classmethod(for_scale)
