"""From data of a user's own to a fitted model, for every task."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..results import BadInputError
from ..runs import RunContext
from ..train import FitResult, fit as fit_learner, read_json_lines
from ..typing import Key
from ..viz import plot_learning
from ._baselines import gain_sentence, gain_warnings
from ._fitted import AbstractFitted
from ._selection import Choice, candidates, choose
from ._task import AbstractTask, Selected

_BEYOND = 1e12
"""Nats of a training that explodes; no axis should hold them."""

_PANELS = {
    "free energy": {"free_energy_nats": "training", "validation_free_energy_nats": "validation"},
    "distortion": {"distortion_nats": "training"},
    "rate": {"rate_nats": "training"},
}


class _NoRun:
    """The run of a fit in memory: nothing is kept, recorded or said."""

    def __init__(self, seed: int):
        self.seed = seed

    def stage(self, name: str, function: Callable[..., Any], *, key: Any, like: Any = None) -> Any:
        return function(key=key)

    def fit(self, name: str, learner: Any, loader: Any, *, recorded: Callable[[Any], Any], **options: Any) -> FitResult:
        return fit_learner(learner, loader, **options)

    def metrics(self, *, step: int, **numbers: Any) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def fit(task: AbstractTask, data: Any, context: RunContext | None = None, *, key: Key, seed: int = 0) -> Any:
    """Fit a model to data, and select the best moment of training by validation.

    Args:
        data: a path, an array, a data frame (of pandas, polars or pyarrow) or opened data.
        context: the run that keeps, measures and draws; without one nothing but the fitted model is left.
        key: of initial weights and all draws.
        seed: of the split and the order of batches, where there is no run.

    Returns:
        The fitted model: `FittedRows` or `FittedSequences`.

    Raises:
        BadInputError: options and data that contradict each other; without a run also training that met numbers that are not
            finite.
    """
    run = _NoRun(seed) if context is None else context
    alternatives = candidates(task)
    alternatives.check()
    # The largest needs most of the data.
    task = [*alternatives.tasks.values()][-1]
    everything = task.open(data, message=run.say)
    train, validation = task.split(everything, run.seed)

    def describe(key: Key) -> Any:
        found = task.describe(everything, train)
        # Shapes are enough to find what does not fit together, before anything is kept.
        task.build(found, key=None)
        return found

    description = run.stage("describe", describe, key=key)
    if everything.fingerprint() != description.fingerprint:
        raise BadInputError(
            f"Expected the {task.name} that this run was started with in {everything.name}, got others: the file has changed. Put it back, "
            f"or start a new run."
        )
    for line in task.announce(description, train, validation):
        run.say(f"  {line}")
    end_key, choice = jax.random.split(key, 3)[2], None

    def learn(task: AbstractTask, key: Key) -> tuple[Any, FitResult]:
        return _learn(task, description, train, validation, run, key)

    def score(task: AbstractTask, system: Any, selected: Selected) -> float:
        return task.score(system, selected, validation, key=end_key)

    if alternatives.option:
        task, found, choice = choose(alternatives, description, run, learn, score, key=key)
        system = task.build(description, key=None)
    else:
        system, found = learn(task, key)
    fitted, failure = task.fitted(system, task.select(system, found.state)), _failure_text(task, found.failure)
    if context is not None:
        fitted.save(context.folder)
        _conclude(fitted, found, failure, train, validation, context, choice, end_key)
    elif failure is not None:
        raise BadInputError(
            f"Expected finite terms throughout training, which stopped at {failure}: {task.advice}, or look for extreme values in "
            f"the data."
        )
    return fitted


def _learn(
    task: AbstractTask, description: Any, train: Any, validation: Any, run: RunContext | _NoRun, key: Key
) -> tuple[Any, FitResult]:
    """The system of the task, and how its training (or its solution by a formula) went."""
    build_key, train_key, _ = jax.random.split(key, 3)
    system = task.begin(task.build(description, key=build_key), train, run, key=build_key)
    if not task.solves:
        found = _train(task, system, train, validation, run, train_key)
        if found.failure is not None or not task.refines:
            return system, found

        def score(state: Any) -> float:
            return task.score(system, task.select(system, state), validation, key=train_key)

        def refine(key: Key) -> Any:
            return task.refine(system, found.state, train, score if len(validation) else None)

        return system, found._replace(state=run.stage("refine", refine, key=train_key, like=found.state))
    # A search ends by itself; how soon is not known where its result was restored.
    taken, none = [0], np.zeros(0)

    def record(*, step: int, **numbers: Any) -> None:
        taken.append(step)
        run.metrics(step=step, **numbers)

    def solve(key: Key) -> Any:
        return task.solve(system, train, record, key=key)

    selected = run.stage("train", solve, key=train_key, like=task.start(system))
    steps = max(taken) or task.num_updates(system)
    return system, FitResult(selected, steps, steps, none, None, none, none, None, False)


def _train(
    task: AbstractTask, system: Any, train: Any, validation: Any, run: RunContext | _NoRun, key: Key
) -> FitResult:
    def validate(state: Any, key: Key) -> float:
        return task.score(system, task.select(system, state), validation, key=key)

    offset_nats = task.offset_nats(system, train)

    def recorded(metrics: Any) -> Any:
        names = {"free_energy_nats", "distortion_nats", "weighted_nats"} & set(metrics._fields)
        return metrics._replace(**{name: getattr(metrics, name) + offset_nats for name in names})

    return run.fit(
        "train",
        system.learner(),
        task.loader(system, train, run.seed),
        recorded=recorded,
        key=key,
        validate=validate if len(validation) else None,
        patience=task.options.patience or None,
        least_gain=task.least_gain_nats,
        **task.schedule()._asdict(),
    )


def _failure_text(task: AbstractTask, failure: Any) -> str | None:
    """The update at which training had to stop, and what was at fault."""
    if failure is None:
        return None
    names = [task.at_fault(name) for name in failure._fields if name != "step" and bool(getattr(failure, name))]
    return f"update {int(failure.step)}: the {' and the '.join(names)} became NaN or infinite"


def _conclude(
    fitted: AbstractFitted,
    found: FitResult,
    failure: str | None,
    train: Any,
    validation: Any,
    context: RunContext,
    choice: Choice | None,
    key: Key,
) -> None:
    """Measure on data that no weight was learned from, where there are any, and draw."""
    task = fitted.task
    measure_key, figure_key = jax.random.split(key)
    chosen = fitted.beginning(validation if len(validation) else train)
    summary = context.stage("measure", lambda key: fitted.measure(chosen, train, context, key=key), key=measure_key)
    lines = read_json_lines(context.folder / "metrics.jsonl")
    if choice is not None:
        lines = [line for line in lines if line["stage"].startswith(f"{choice.option}-{choice.chosen}.")]
    warnings = gain_warnings(summary, summary.get("rate_nats", _last_rate(lines)))
    context.conclude(
        unit=task.unit,
        rows_of="validation" if len(validation) else "train",
        likelihood=fitted.description.likelihood,
        best_step=found.step,
        last_step=found.last_step,
        failure=failure,
        **task.sizes(train, validation),
        **summary,
        **({} if choice is None else choice.plain()),
        warnings=warnings,
    )
    _show_training(context, lines, task.per)
    if choice is not None:
        choice.show(context, task.per)
    # A model that was never validated before training failed may say anything, numbers beyond a figure's axes included.
    if failure is None or len(found.validation_nats):
        fitted.report(chosen, context, key=figure_key)
    if failure is not None:
        context.say(
            f"error: training stopped at {failure}. The model from before is kept (after {found.step} updates). "
            f"Expected finite terms: {task.advice}, or look for extreme values in the data."
        )
    elif found.out_of_patience:
        context.say(f"  training ended after {found.last_step} updates without improvement on the validation data")
    elif found.last_step < task.num_updates(fitted.system):
        context.say(f"  training ended after {found.last_step} updates, at a maximum of the likelihood")
    elif found.last_step < task.options.steps:
        context.say(f"  training ended after {found.last_step} updates, the most that this engine takes")
    if found.step != found.last_step:
        context.say(f"  the model kept is the one after {found.step} updates, the best on the validation data")
    sentence = gain_sentence(summary)
    if sentence is not None:
        context.say(f"  {sentence}")
    for warning in warnings:
        context.say(f"warning: {warning}")


def _last_rate(lines: list[dict[str, Any]]) -> float | None:
    """The rate at the end of training, where it is recorded; energies without a rate record zero."""
    rates = [line.get("rate_nats") for line in lines]
    return next((rate for rate in reversed(rates) if rate), None)


def _show_training(context: RunContext, lines: list[dict[str, Any]], unit: str) -> None:
    """Draw the learning curves in nats of the data, where there are at least two points.

    A likelihood that is maximised has no rate, and then its distortion is the free energy once more.
    """

    def curve(name: str) -> list[tuple[int, float]]:
        known = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        return [(step, nats) for step, nats in known if abs(nats) < _BEYOND]

    panels = {}
    for title, names in _PANELS.items():
        curves = {words: points for name, words in names.items() if (points := curve(name))}
        if any(len(points) > 1 for points in curves.values()):
            panels[title] = curves
    if "rate" in panels and not any(nats for points in panels["rate"].values() for _, nats in points):
        del panels["rate"], panels["distortion"]
    if panels:
        context.figure(
            "training",
            plot_learning(panels, label=f"nats per {unit}"),
            caption=f"Free energy and its parts in nats of the data per {unit}, against the number of updates.",
        )
