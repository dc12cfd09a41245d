"""Semi-amortized inference (an encoder's estimate, refined by gradient descent) against iterative inference: methods, report."""

from functools import partial
from typing import NamedTuple

import numpy as np
import optax

from ... import viz
from ...core import AbstractEngine, AbstractFamily
from ...distributions import AbstractExpectation
from ...inference import AllIterations, FirstIteration, LastIteration
from ...inference.engines import Chain, Estimate, Gradient, InferenceGradient, Normalized, StopGradient
from ...runs import RunContext
from ...typing import Array, Float, Key
from ..kit import Result, measure, printed, setting_curve
from ._data import DataSet
from ._methods import InferenceMethod
from ._networks import Networks, data_encoding

KRISHNAN, KIM = "semi-amortized (Krishnan et al.)", "semi-amortized (Kim et al.)"


def unrolled(estimate: Array) -> Array:
    """The identity: gradients flow from iteration to iteration (`Iterative.detach`)."""
    return estimate


def refining_methods(
    networks: Networks, expectation: AbstractExpectation, num_iterations: int, rates: tuple[float, float]
) -> tuple[InferenceMethod, ...]:
    """Iterative inference, learned in both ways, and two kinds of semi-amortized inference, at equal decoder passes.

    With `num_iterations` K, iterative inference makes K + 1 passes in an update. Refinement takes K - 1 steps of the first of
    `rates` for learning in the manner of Krishnan et al., and K // 2 of the second for that of Kim et al.

    References:
        Krishnan, Liang and Hoffman, "On the challenges of learning with inference networks on sparse, high-dimensional data",
        AISTATS 2018: the encoder learns from its own estimate, the model from the refined one. Kim et al., "Semi-amortized
        variational autoencoders", ICML 2018: both learn through the refinement.
    """
    encodings = (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2), data_encoding(networks.data))
    # Made once: a rebuilt optimizer would be another structure for checkpoints.
    plain, through = map(optax.sgd, rates)

    def semi(gradient: AbstractEngine, *, family: AbstractFamily, key: Key) -> Chain:
        return Chain((networks.direct(family=family, key=key), gradient), (1,))

    def method(name, engine, num_steps, passes, engine_weights=AllIterations()):
        return InferenceMethod(name, networks, engine, num_steps, expectation, None, engine_weights, passes)

    steps_through, iterative = num_iterations // 2, partial(networks.iterative, encodings)
    krishnan, kim = partial(semi, StopGradient(Gradient(plain))), partial(semi, Gradient(through))
    return (
        method("iterative", iterative, num_iterations, num_iterations + 1),
        method("iterative, unrolled", partial(iterative, detach=unrolled), num_iterations, 2 * num_iterations),
        method(KRISHNAN, krishnan, num_iterations, num_iterations + 1, FirstIteration()),
        method(KIM, kim, 1 + steps_through, 3 * steps_through + 1, LastIteration()),
    )


class MethodScores(NamedTuple):
    """One method over seeds, scored by mean bounds of test rows before inference and after each step.

    `seconds` are those of one training update, or decoder passes where updates were not timed.
    """

    method: InferenceMethod
    seconds: float
    result: Result

    @property
    def times(self) -> Float[np.ndarray, " segments"]:
        """Seconds of training at the end of each segment."""
        return self.seconds * np.asarray(self.result.trained[0].steps)

    @property
    def end(self) -> Float[np.ndarray, " seeds"]:
        """Test bound after as many steps as in training."""
        return self.result.scores[:, self.method.num_steps]

    def training_at(self, times: Float[np.ndarray, " times"]) -> Float[np.ndarray, "seeds times"]:
        """Bounds of training batches at given times, interpolated between segments."""
        return np.stack([np.interp(times, self.times, -one.free_energy_nats) for one in self.result.trained])


def report(
    context: RunContext, dataset: DataSet, found: dict[str, MethodScores], rates: tuple[float, float], *,
    asserted: bool, timed: bool, caption: str, num_iterations: int, test_steps: int,
) -> None:  # fmt: skip
    """Measure the claims, tabulate, and draw bounds against the time of training and against steps in testing.

    `rates` are step sizes of refinement, Krishnan's and Kim's.
    """
    # The time at which the shortest training of the refining methods ends.
    horizon = min(float(one.times[-1]) for one in found.values() if one.method.num_steps > 1)
    at_time = {name: one.training_at(np.asarray([horizon]))[:, 0] for name, one in found.items()}
    behind = {name: found["iterative"].end - one.end for name, one in found.items()}
    if asserted:
        measure(context, "semi_amortized/direct", behind["direct"])
        measure(context, "semi_amortized/krishnan", behind[KRISHNAN])
    if asserted and KIM in found:
        better = max((KRISHNAN, KIM), key=lambda name: at_time[name].mean())
        measure(context, "semi_amortized/kim", behind[KIM])
        measure(context, "semi_amortized/equal-time", at_time["iterative"] - at_time[better])
    context.table(
        f"{dataset}-methods",
        ("method", "steps", "decoder passes in an update", "milliseconds an update", "test bound (nats)",
         "iterative minus this (nats)", "training bound at equal time (nats)"),
        [
            (name, one.method.num_steps, one.method.passes, f"{1e3 * one.seconds:.2f}" if timed else "not timed",
             printed(one.end, 2), printed(behind[name], 2), printed(at_time[name], 2))
            for name, one in found.items()
        ],
        caption=f"{dataset}: {caption} Equal time is {horizon:.3g} {'s' if timed else 'decoder passes'} of "
        f"training. Step sizes of refinement, chosen on training rows: {rates[0]:g} (Krishnan et al.), "
        f"{rates[1]:g} (Kim et al.).",
    )  # fmt: skip
    scale = 1e3 if timed else 1.0
    first = max(one.times[0] for one in found.values())
    times = np.unique(np.round(scale * np.geomspace(min(first, horizon), horizon, 8)).astype(int))
    context.figure(
        f"{dataset}-training",
        viz.plot_bound_by_setting(
            times.tolist(), [setting_curve(name, one.training_at(times / scale)) for name, one in found.items()],
            xlabel="milliseconds of training" if timed else "decoder passes in training",
            ylabel="bound on log p(x) of training batches, nats",
        ),
        caption="Bound on training batches against the time of training (without compilation), until the shortest training "
        "of a refining method ends; one that ended before keeps its last value. Bars: two standard errors over seeds.",
    )  # fmt: skip
    settings = [moment for moment in (1, 2, 3, 4, 5, 8, 12, 16) if moment <= test_steps]
    context.figure(
        f"{dataset}-steps",
        viz.plot_bound_by_setting(
            settings, [setting_curve(name, one.result.scores[:, settings]) for name, one in found.items() if one.method.num_steps > 1],
            xlabel="steps in testing", reference=setting_curve("direct", found["direct"].result.scores[:, 1:]),
        ),
        caption=f"Test bound against the number of steps in testing; trained with {num_iterations} (iterative and "
        f"Krishnan et al.) and {1 + num_iterations // 2} (Kim et al.), the encoder counted as the first. Bars: two "
        "standard errors over seeds.",
    )  # fmt: skip
