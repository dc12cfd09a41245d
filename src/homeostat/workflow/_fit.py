"""From data of a user's own to a fitted model, for every task."""

from typing import Any

import jax

from ..results import BadInputError
from ..typing import Key
from ._context import FitContext, NoRun
from ._curves import show_training
from ._fitted import AbstractFitted
from ._task import AbstractTask, Trained


def fit(task: AbstractTask, data: Any, context: FitContext | None = None, *, key: Key, seed: int = 0) -> Any:
    """Fit a model to data, and select the best moment of training by validation.

    Args:
        task: kind of data with options.
        data: a path, an array or opened data.
        context: the run that keeps, measures and draws; without one nothing but the fitted model is left.
        key: of initial weights and all draws.
        seed: of the split and the order of batches, where there is no run.

    Returns:
        The fitted model: `FittedRows` or `FittedSequences`.

    Raises:
        BadInputError: options and data that contradict each other; without a run also training that met numbers that are not
            finite.
    """
    run = NoRun(seed) if context is None else context
    task.check()
    everything = task.open(data, message=run.say)
    train, validation = task.split(everything, run.seed)

    def describe(key: Key) -> Any:
        found = task.describe(everything, train)
        # Shapes are enough to find what does not fit together, before anything is kept.
        task.build(found, key=None)
        return found

    description = run.stage("describe", describe, key=key)
    if task.fingerprint(everything) != description.fingerprint:
        raise BadInputError(
            f"Expected the {task.name} that this run was started with in {data}, got others: the file has changed. Put it back, "
            f"or start a new run."
        )
    for line in task.announce(description, train, validation):
        run.say(f"  {line}")
    build_key, train_key, end_key = jax.random.split(key, 3)
    system = task.build(description, key=build_key)
    trained = task.solve(system, train, run, key=train_key)
    if trained is None:
        trained = _train(task, system, train, validation, run, train_key)
    fitted = task.fitted(system, trained.selected)
    if context is not None:
        fitted.save(context.folder)
        _conclude(fitted, trained, train, validation, context, end_key)
    elif trained.failure is not None:
        raise BadInputError(
            f"Expected finite terms throughout training, which stopped at {trained.failure}: {task.advice}, or look for extreme "
            f"values in the data."
        )
    return fitted


def _train(task: AbstractTask, system: Any, train: Any, validation: Any, run: FitContext | NoRun, key: Key) -> Trained:
    schedule = task.schedule()

    def validate(state: Any, key: Key) -> float:
        return task.score(system, task.select(system, state), validation, key=key)

    offset_nats = task.offset_nats(system, train)

    def recorded(metrics: Any) -> Any:
        names = {"free_energy_nats", "distortion_nats", "weighted_nats"} & set(metrics._fields)
        return metrics._replace(**{name: getattr(metrics, name) + offset_nats for name in names})

    found = run.fit(
        "train",
        task.learner(system),
        task.loader(system, train, run),
        recorded=recorded,
        num_steps=schedule.num_steps,
        key=key,
        every=schedule.every,
        validate=validate if len(validation) else None,
        validate_every=schedule.validate_every,
        patience=task.options.patience or None,
    )
    return Trained(
        task.select(system, found.state),
        found.step,
        found.last_step,
        len(found.validation_nats) > 0,
        _failure_text(found.failure),
        found.out_of_patience,
    )


def _failure_text(failure: Any) -> str | None:
    """At which update training had to stop, and what was at fault."""
    if failure is None:
        return None
    names = [name for name in failure._fields if name != "step" and bool(getattr(failure, name))]
    return f"update {int(failure.step)}: the {' and the '.join(names)} became NaN or infinite"


def _conclude(
    fitted: AbstractFitted, trained: Trained, train: Any, validation: Any, context: FitContext, key: Key
) -> None:
    """Measure on data that no weight was learned from, where there are any, and draw."""
    task = fitted.task
    measure_key, figure_key = jax.random.split(key)
    chosen = fitted.beginning(validation if len(validation) else train)
    summary = context.stage("measure", lambda key: fitted.measure(chosen, context, key=key), key=measure_key)
    context.conclude(
        unit=task.unit,
        rows_of="validation" if len(validation) else "train",
        likelihood=fitted.description.likelihood,
        best_step=trained.step,
        last_step=trained.last_step,
        failure=trained.failure,
        **task.sizes(train, validation),
        **summary,
    )
    show_training(context, task.per)
    # A model that was never validated before training failed may say anything, numbers beyond a figure's axes included.
    if trained.failure is None or trained.validated:
        fitted.report(chosen, context, key=figure_key)
    if trained.failure is not None:
        context.say(
            f"error: training stopped at {trained.failure}. The model from before is kept (after {trained.step} updates). "
            f"Expected finite terms: {task.advice}, or look for extreme values in the data."
        )
    elif trained.out_of_patience:
        context.say(f"  training ended after {trained.last_step} updates without improvement on the validation data")
    elif trained.last_step < task.options.steps:
        context.say(f"  training ended after {trained.last_step} updates, the most that this engine takes")
    if trained.step != trained.last_step:
        context.say(f"  the model kept is the one after {trained.step} updates, the best on the validation data")
