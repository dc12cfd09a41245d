"""Semi-amortized against iterative inference: scores over seeds, claims, tables and figures."""

from typing import NamedTuple

import numpy as np

from ... import viz
from ...runs import RunContext
from ...typing import Array, Float
from ..kit import mean_and_error, printed
from ._common import InferenceMethod
from ._data import DataSet


class MethodScores(NamedTuple):
    """One method over seeds.

    Attributes:
        test: bound on the test rows before inference and after each step, in nats, mean over rows.
        steps: updates done at the end of each segment of training.
        training: bound on training batches, mean over each segment.
    """

    test: Float[Array, "seeds moments"]
    steps: Float[Array, " segments"]
    training: Float[Array, "seeds segments"]


class MethodsCompared(NamedTuple):
    """What is reported about one data set.

    Attributes:
        chosen: the methods.
        scores: of each, by name.
        seconds: of one training update of each; decoder passes where updates were not timed.
        rates: step sizes of refinement, Krishnan's and Kim's.
    """

    chosen: tuple[InferenceMethod, ...]
    scores: dict[str, MethodScores]
    seconds: Float[np.ndarray, " methods"]
    rates: tuple[float, float]

    def ends(self) -> dict[str, Float[np.ndarray, " seeds"]]:
        """Test bound after as many steps as in training."""
        return {one.name: np.asarray(self.scores[one.name].test)[:, one.num_steps] for one in self.chosen}

    def horizon(self) -> float:
        """The time at which the shortest training of the refining methods ends."""
        times = [
            s * float(self.scores[one.name].steps[-1])
            for s, one in zip(self.seconds, self.chosen, strict=True)
            if one.num_steps > 1
        ]
        return min(times)

    def training_at(self, times: Float[np.ndarray, " times"]) -> dict[str, Float[np.ndarray, "seeds times"]]:
        """Training curves at given times, interpolated."""
        return {
            one.name: np.stack(
                [
                    np.interp(times, s * np.asarray(self.scores[one.name].steps), np.asarray(curve))
                    for curve in self.scores[one.name].training
                ]
            )
            for s, one in zip(self.seconds, self.chosen, strict=True)
        }


def report(
    context: RunContext, dataset: DataSet, found: MethodsCompared, *, asserted: bool, timed: bool, caption: str
) -> None:
    """Measure the claims and tabulate."""
    ends, horizon = found.ends(), found.horizon()
    at_time = {name: values[:, 0] for name, values in found.training_at(np.asarray([horizon])).items()}
    krishnan, kim = "semi-amortized (Krishnan et al.)", "semi-amortized (Kim et al.)"
    if asserted:
        context.measure("semi_amortized/direct", *mean_and_error(ends["iterative"] - ends["direct"]))
        context.measure("semi_amortized/krishnan", *mean_and_error(ends["iterative"] - ends[krishnan]))
    if asserted and kim in ends:
        better = max((krishnan, kim), key=lambda name: at_time[name].mean())
        context.measure("semi_amortized/kim", *mean_and_error(ends["iterative"] - ends[kim]))
        context.measure("semi_amortized/equal-time", *mean_and_error(at_time["iterative"] - at_time[better]))
    context.table(
        f"{dataset}-methods",
        ("method", "steps", "decoder passes in an update", "milliseconds an update", "test bound (nats)",
         "iterative minus this (nats)", "training bound at equal time (nats)"),
        [
            (one.name, one.num_steps, one.passes, f"{1e3 * float(s):.2f}" if timed else "not timed",
             printed(mean_and_error(ends[one.name]), 2), printed(mean_and_error(ends["iterative"] - ends[one.name]), 2),
             printed(mean_and_error(at_time[one.name]), 2))
            for s, one in zip(found.seconds, found.chosen, strict=True)
        ],
        caption=f"{dataset}: {caption} Equal time is {horizon:.3g} {'s' if timed else 'decoder passes'} of "
        f"training. Step sizes of refinement, chosen on training rows: {found.rates[0]:g} (Krishnan et al.), "
        f"{found.rates[1]:g} (Kim et al.).",
    )  # fmt: skip


def draw(
    context: RunContext,
    dataset: DataSet,
    found: MethodsCompared,
    *,
    timed: bool,
    num_iterations: int,
    test_steps: int,
) -> None:
    """Bounds against the time of training, and against steps in testing."""
    first = max(s * float(found.scores[one.name].steps[0]) for s, one in zip(found.seconds, found.chosen, strict=True))
    scale = 1e3 if timed else 1.0
    times = np.unique(np.round(scale * np.geomspace(min(first, found.horizon()), found.horizon(), 8)).astype(int))
    context.figure(
        f"{dataset}-training",
        viz.plot_bound_by_setting(
            [int(time) for time in times],
            [_curve(name, values) for name, values in found.training_at(times / scale).items()],
            xlabel="milliseconds of training" if timed else "decoder passes in training",
            ylabel="bound on log p(x) of training batches, nats",
        ),
        caption="Bound on training batches against the time of training (without compilation), until the shortest training "
        "of a refining method ends; one that ended before keeps its last value. Bars: two standard errors over seeds.",
    )
    settings = [moment for moment in (1, 2, 3, 4, 5, 8, 12, 16) if moment <= test_steps]
    context.figure(
        f"{dataset}-steps",
        viz.plot_bound_by_setting(
            settings,
            [
                _curve(one.name, np.asarray(found.scores[one.name].test)[:, settings])
                for one in found.chosen
                if one.num_steps > 1
            ],
            xlabel="steps in testing",
            reference=_curve("direct", np.asarray(found.scores["direct"].test)[:, 1:]),
        ),
        caption=f"Test bound against the number of steps in testing; trained with {num_iterations} (iterative and "
        f"Krishnan et al.) and {1 + num_iterations // 2} (Kim et al.), the encoder counted as the first. Bars: two "
        "standard errors over seeds.",
    )


def _curve(name: str, values: Float[np.ndarray, "seeds settings"]) -> viz.SettingCurve:
    """Mean and standard error over seeds; the error is drawn as zero where there is one seed only."""
    num = len(values)
    error = values.std(axis=0, ddof=1) / num**0.5 if num > 1 else np.zeros(values.shape[1])
    return viz.SettingCurve(name, values.mean(axis=0), error)
