"""Claims, tables and figures about numbers of iterations and of samples."""

from collections.abc import Sequence

import numpy as np

from ...runs import RunContext
from ...typing import Float
from ...viz import SettingCurve, plot_bound_by_setting
from ..kit import mean_and_error, printed
from ._trials import Inputs, TrialBounds


def measure_difference(context: RunContext, claim: str, differences: Float[np.ndarray, " rows"]) -> None:
    """Measure a claim by paired differences over images."""
    value, error = mean_and_error(differences)
    context.measure(f"iterations/{claim}", value, stderr=error)


def measure_iterations(context: RunContext, grid: dict[Inputs, list[TrialBounds]], direct: TrialBounds) -> None:
    """Claims about (a)."""
    for inputs, found in grid.items():
        measure_difference(
            context, f"more-{inputs.value.replace('_', '-')}", found[-1].bound_nats - found[0].bound_nats
        )
    if Inputs.errors in grid and Inputs.gradients in grid:
        early = grid[Inputs.errors][0].bound_nats - grid[Inputs.gradients][0].bound_nats
        measure_difference(context, "errors-early", early)
    leads = [found[-1].bound_nats - direct.bound_nats for found in grid.values()]
    measure_difference(context, "against-direct", min(leads, key=np.mean))


def measure_samples(context: RunContext, sampled: list[TrialBounds], same: list[TrialBounds]) -> None:
    """Claims about (b)."""
    measure_difference(context, "samples", sampled[-1].bound_nats - sampled[0].bound_nats)
    measure_difference(context, "samples-direct-one", sampled[-1].bound_nats - same[0].bound_nats)
    leads = [a.bound_nats - b.bound_nats for a, b in zip(sampled, same, strict=True)]
    measure_difference(context, "samples-direct-same", leads[-1])
    measure_difference(context, "samples-widen", leads[-1] - leads[0])


def _curve(name: str, found: list[TrialBounds], reference: TrialBounds) -> SettingCurve:
    """Mean bounds, with standard errors of the difference from the reference: what all images share is of no interest."""
    errors = [mean_and_error(one.bound_nats - reference.bound_nats)[1] for one in found]
    return SettingCurve(name, np.array([one.bound_nats.mean() for one in found]), np.array(errors))


def show_iterations(
    numbers: Sequence[int],
    num_rows: int,
    context: RunContext,
    grid: dict[Inputs, list[TrialBounds]],
    direct: TrialBounds,
) -> None:
    """Table and figure of (a)."""
    rows = [("direct", direct.weights, *[printed(mean_and_error(direct.bound_nats), 2)] * len(numbers))]
    rows += [
        (inputs.title, found[0].weights, *(printed(mean_and_error(one.bound_nats), 2) for one in found))
        for inputs, found in grid.items()
    ]
    columns = ("inputs", "weights of the inference network", *(f"{n} iterations" for n in numbers))
    caption = f"Bound on log p(x) of {num_rows} validation images with one sample, nats; standard errors over images."
    context.table("iterations", columns, rows, caption=caption)
    context.figure(
        "iterations",
        plot_bound_by_setting(
            numbers, [_curve(inputs.title, found, direct) for inputs, found in grid.items()],
            xlabel="iterations of inference in training", reference=_curve("direct", [direct], direct),
        ),
        caption=f"(a) {caption} Bars are two standard errors of the difference from direct inference.",
    )  # fmt: skip


def show_samples(
    numbers: Sequence[int],
    iterations: int,
    num_rows: int,
    context: RunContext,
    sampled: list[TrialBounds],
    same: list[TrialBounds],
) -> None:
    """Table and figure of (b)."""
    kinds = {f"iterative, {iterations} iterations": sampled, "direct, as many": same}
    rows = [(name, *(printed(mean_and_error(one.bound_nats), 2) for one in found)) for name, found in kinds.items()]
    columns = ("inference", *(f"{n} samples" for n in numbers))
    caption = (
        f"Bound on log p(x) of {num_rows} validation images, nats, for models trained with several samples; "
        "standard errors over images."
    )
    context.table("samples", columns, rows, caption=caption)
    context.figure(
        "samples",
        plot_bound_by_setting(
            numbers, [_curve(name, found, same[0]) for name, found in kinds.items()],
            xlabel="samples of q in training", reference=_curve("direct, one sample", same[:1], same[0]),
        ),
        caption=f"(b) {caption} Bars are two standard errors of the difference from direct inference with "
        "one sample.",
    )  # fmt: skip
