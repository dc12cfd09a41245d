"""What can go wrong: traced outcomes (`RESULTS`) and the exceptions a caller may catch.

A static mistake (a wrong shape, an unknown name) raises `BadInputError` at once. A mistake that only shows in traced
values travels as a `RESULTS` member next to the answer and raises by default; `throw=False` hands it to the caller.
"""

import equinox.internal as eqxi


class RESULTS(eqxi.Enumeration):
    """Outcome of a traced computation. Its values are the sentences a user reads."""

    successful = ""
    nonfinite_energy = (
        "The energy became NaN or infinite during inference. Expected a finite energy at every step: check the data for values "
        "that are not finite or that the model cannot emit, lower the step size, or start from other parameters."
    )
    unbounded_evidence = (
        "The log evidence or a learned parameter became NaN or infinite during expectation maximisation. Expected data that "
        "determine all that is learned: leave out a part of which they say nothing (an action that never varies), and give a prior "
        "to one that explains copies of one value (`baum_welch`)."
    )
    degenerate_weights = (
        "No particle can explain an observation: all weights are zero. Expected at least one particle with a positive likelihood: "
        "check the observation and the noise of the model, use more particles, or proposals that see the observation "
        "(`GuidedParticle`)."
    )
    singular_prediction = (
        "A smoothed belief became NaN or infinite. Expected predictions that are uncertain in every direction: dynamics that lose "
        "a direction (a singular A) need process noise in it, and explosive ones shorter sequences or 64-bit numbers."
    )
    singular_noise = (
        "A path drawn backwards took a step to which the model gives no finite density, so that the draws say nothing. Expected "
        "process noise in every direction of the state: with singular noise go back along the genealogy "
        "(backward=cuthbertlib.smc.smoothing.tracing.simulate), or use `RauchTungStriebel`."
    )


class HomeostatError(Exception):
    """Root of every exception that this library raises on purpose."""


class BadInputError(HomeostatError, ValueError):
    """The caller passed something unusable; the message says what was expected, what came and what to do."""


class CheckpointError(HomeostatError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class RunExistsError(BadInputError):
    """A run folder already holds a run; runs never overwrite one another."""
