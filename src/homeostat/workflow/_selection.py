"""Sizes chosen by validation: one fit for each of a range such as `--states 2:6`, of which the best is kept."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..results import BadInputError
from ..runs import RunContext
from ..train import FitResult
from ..typing import Key
from ..viz import plot_selection
from ._task import AbstractTask, Selected

_SIZES = ("states", "latents")
"""Options that may be a range."""


class SizeRange(NamedTuple):
    """Tasks that differ in one size; one task without a size where no option is a range.

    Attributes:
        option: the name of the size; empty without a range.
        tasks: by size.
    """

    option: str
    tasks: dict[int, AbstractTask]

    def check(self) -> None:
        """Refuse options that contradict each other, of any task.

        Raises:
            BadInputError: they do.
        """
        for task in self.tasks.values():
            task.check()


class Choice(NamedTuple):
    """The size that was chosen, beside the others.

    Attributes:
        option: the name of the size.
        sizes: that were tried.
        nats: mean free energy of the validation data under each, NaN where it was not finite.
        best_steps: updates after which each was best.
        chosen: the size with the lowest.
    """

    option: str
    sizes: list[int]
    nats: list[float]
    best_steps: list[int]
    chosen: int

    def plain(self) -> dict[str, Any]:
        """As the summary has it."""
        rows = zip(self.sizes, self.nats, self.best_steps, strict=True)
        return {
            "selection": [
                {self.option: size, "validation_free_energy_nats": nats, "best_step": step} for size, nats, step in rows
            ],
            "selected": {self.option: self.chosen},
        }

    def show(self, context: RunContext, per: str) -> None:
        """A figure and a table of the report."""
        caption = (
            f"Free energy of the validation data against the number of {self.option}; the model kept has {self.chosen}."
        )
        label = f"nats per {per}"
        context.figure("selection", plot_selection(self.sizes, self.nats, self.option, label), caption=caption)
        rows = [*zip(self.sizes, (f"{nats:.4f}" for nats in self.nats), self.best_steps, strict=True)]
        columns = [self.option, f"validation free energy, {label}", "updates"]
        context.table("selection", columns, rows, caption="Each size with the updates after which it was best.")


def candidates(task: AbstractTask) -> SizeRange:
    """The tasks that a range among the options stands for.

    Raises:
        BadInputError: a range that is none, or of a size that the model has not.
    """
    ranges = {name: text for name in _SIZES if ":" in (text := str(getattr(task.options, name, "")))}
    if not ranges:
        return SizeRange("", {0: task})
    name, text = next(iter(ranges.items()))
    ends = [int(part) if part.strip().isdecimal() else 0 for part in text.split(":")]
    if [*ranges] != [task.size_option] or len(ends) != 2 or not 1 <= ends[0] < ends[1]:
        raise BadInputError(
            f"Expected a range of sizes only as --{task.size_option} 2:6 for {task.options.model}, two whole numbers from 1 on, the "
            f"larger one last, got {' and '.join(f'--{n} {t}' for n, t in ranges.items())}."
        )
    if task.options.validation_fraction == 0.0:
        raise BadInputError(f"Expected a --validation-fraction above 0 to choose --{name} by, got 0.")
    # Sizes of rows are text, which may name several levels.
    kind = type(getattr(type(task.options), name))
    return SizeRange(
        name,
        {
            size: dataclasses.replace(task, options=dataclasses.replace(task.options, **{name: kind(size)}))  # pyright: ignore[reportArgumentType]
            for size in range(ends[0], ends[1] + 1)
        },
    )


def choose(
    found: SizeRange,
    description: Any,
    run: Any,
    learn: Callable[[AbstractTask, Key], tuple[Any, FitResult]],
    score: Callable[[AbstractTask, Any, Selected], float],
    *,
    key: Key,
) -> tuple[AbstractTask, FitResult, Choice]:
    """One fit for each task, each a stage of the run, and the best by `score`.

    Args:
        learn: gives the system of a task, and how training went.
        score: mean free energy of the validation data.

    Returns:
        The task that was chosen, and how its training went; its state is what was selected.
    """
    results: dict[int, tuple[Selected, np.ndarray]] = {}
    for size, task in found.tasks.items():

        def one(key: Key, task: AbstractTask = task) -> tuple[Selected, np.ndarray]:
            system, trained = learn(task, key)
            selected = task.select(system, trained.state)
            failed = -1 if trained.failure is None else int(trained.failure.step)
            ends = trained.step, trained.last_step, failed, trained.out_of_patience
            return selected, np.array([score(task, system, selected), *ends], np.float64)

        def like(task: AbstractTask = task) -> tuple[Selected, np.ndarray]:
            return task.start(task.build(description, key=None)), np.zeros(5)

        results[size] = run.stage(f"{found.option}-{size}", one, key=key, like=like())
        run.say(f"  {found.option} {size}: validation {results[size][1][0]:.4f} nats")
    nats = {size: float(numbers[0]) for size, (_, numbers) in results.items()}
    best = min(nats, key=lambda size: nats[size] if math.isfinite(nats[size]) else math.inf)
    selected, (_, step, last, failed, out) = results[best]
    none, record = np.zeros(0), _Failed(int(failed)) if failed >= 0 else None
    trained = FitResult(selected, int(step), int(last), none, None, none, np.asarray([nats[best]]), record, bool(out))
    steps = [int(numbers[1]) for _, numbers in results.values()]
    values = [value if math.isfinite(value) else math.nan for value in nats.values()]
    return found.tasks[best], trained, Choice(found.option, [*nats], values, steps, best)


class _Failed(NamedTuple):
    """The update at which something was not finite."""

    step: int
    numbers: bool = True
