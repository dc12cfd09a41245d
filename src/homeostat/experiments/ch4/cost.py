"""Time per step of an SRNN with its own filter and with amortized variational filtering of one iteration, side by side.

The chapter reports 15.6 ms per step with the SRNN's own filter and 13.1 ms with AVF, on TIMIT with its networks,
without saying on which machine and for how many sequences at once. Here both are compiled, take turns in one process,
and work on the same random windows; medians, compilation apart. Inference is filtering alone; training is one whole
update, divided by the number of steps: through everything for the own filter, local to the step for AVF, with the
update network moved at the end and, apart, at every step.

AVF reads gradients, so at each step it decodes once more and goes back through the decoder, and its network of the
chapter's size is larger than the SRNN's encoder; what it saves is gradients through time. The counts of learnable
numbers stand beside the times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax

from ...inference import ModelWithFilter, SequenceBatch, filtering_descent
from ...inference.filters import srnn_filter
from ...metrics import count_weights, evaluate_sequences, take_turns
from ...models.sequential import SRNNSizes, speech_density, srnn
from ...runs import AtMost, Claim, Minutes, RunContext
from ...typing import Float, Key, PyTree
from ..kit import UpdateNetwork, at, scales

SOURCE = "Marino (thesis), Sec. 4.4, Setup"
MINUTES = Minutes(smoke=0.2, small=4.0, paper=10.0)
_RATIO = "time per step with AVF, 1 iteration, over that with the SRNN's own filter"
CLAIMS = (
    Claim("cost/training", SOURCE, f"{_RATIO}, a training update (0.84)", "ratio", AtMost(1.0)),
    Claim("cost/training-online", SOURCE, f"{_RATIO}, an update with AVF's network moved at every step (0.84)", "ratio",
          AtMost(1.0), scales=()),
    Claim("cost/inference", SOURCE, f"{_RATIO}, filtering (0.84)", "ratio", AtMost(1.0)),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    sizes: SRNNSizes = SRNNSizes()
    """Of the SRNN: the chapter's."""
    amortized: UpdateNetwork = UpdateNetwork()
    """The update network: the chapter's."""
    num_steps: int = 10
    """Steps of a sequence (count)."""
    batch_size: int = 8
    """Sequences at once (count)."""
    repeats: int = 7
    """Measurements of each (count)."""

    for_scale = scales(
        smoke=at(SRNNSizes(4, 16, 16, 1, 1), UpdateNetwork(16, 1), 4, 2, 2),
        paper=at(num_steps=40, batch_size=64, repeats=15),
    )  # fmt: skip


class Task(NamedTuple):
    """Something that is timed, with the learnable numbers of its filter."""

    name: str
    weights: int
    run: Callable[[], PyTree]


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    every = tasks(config, key=key)

    def measure(key: Key) -> Float[np.ndarray, "repeats tasks"]:
        functions = [each.run for each in every]
        with context.progress("taking turns", total=(config.repeats + 1) * len(functions)) as bar:
            return take_turns(functions, config.repeats, bar.advance)

    milliseconds = 1e3 / config.num_steps * context.stage("times", measure, key=key)
    medians = np.median(milliseconds, axis=0)
    own_filter, own_update, filtering, update, online = medians
    context.measure("cost/inference", float(filtering / own_filter))
    context.measure("cost/training", float(update / own_update))
    context.measure("cost/training-online", float(online / own_update))
    spread = np.subtract(*np.percentile(milliseconds, (75, 25), axis=0))
    context.table(
        "times", ("what", "weights of the filter", "ms per step", "interquartile range, ms"),
        [
            (each.name, each.weights, float(median), float(width))
            for each, median, width in zip(every, medians, spread, strict=True)
        ],
        caption=f"Median of {config.repeats} turns, {config.batch_size} sequences of {config.num_steps} steps of 200 samples at once, on "
        f"{jax.default_backend()}.",
    )  # fmt: skip


def tasks(config: Config, *, key: Key) -> list[Task]:
    """Filtering and one update with each filter; nothing is computed before it is run."""
    sizes, density, adam = config.sizes, speech_density(), optax.adam(1e-4)
    model_key, data_key = jr.split(key)

    def built(own: bool) -> ModelWithFilter:
        model = srnn(density, sizes, key=model_key)
        if own:
            return ModelWithFilter(model, srnn_filter(model, sizes, key=model_key))
        return ModelWithFilter(model, config.amortized.filter(model, 1, config.batch_size, key=model_key))

    def task(name: str, own: bool, work: Callable[..., Callable[[], PyTree]], **options: Any) -> Task:
        @cache  # at the first call
        def prepared() -> Callable[[], PyTree]:
            batch = SequenceBatch(jr.normal(data_key, (config.batch_size, config.num_steps, density.size)))
            return work(eqx.filter_jit(built)(own), batch, key=key, **options)

        return Task(name, count_weights(lambda: built(own).filter), lambda: prepared()())

    return [
        task("own filter, inference", True, _filtering, batch_size=config.batch_size),
        task("own filter, training", True, _updating, optimizer=adam, detach=lambda x: x),
        task("AVF, inference", False, _filtering, batch_size=config.batch_size),
        task("AVF, training", False, _updating, optimizer=adam),
        task("AVF, training, its network moved at every step", False, _updating, optimizer=adam, online=adam),
    ]


def _filtering(learned: ModelWithFilter, batch: SequenceBatch, **options: Any) -> Callable[[], PyTree]:
    return partial(evaluate_sequences, learned.filter, learned.model, batch, **options)


def _updating(learned: ModelWithFilter, batch: SequenceBatch, *, key: Key, **options: Any) -> Callable[[], PyTree]:
    learner = filtering_descent(learned, **options)
    update = eqx.filter_jit(lambda learner, state, batch: learner.update(state, batch, key=key))
    return partial(update, learner, learner.init(key=key), batch)
