"""Iterations of inference: the bound when AVF is trained with 1, 2, 4 and 8 of them, and what each one adds.

Fig. 4.4, a VRNN on speech, validation clips. (a) A model is trained for each number of iterations, with equal numbers
of updates. (b) For the model with the most, the free energy of every step is measured at the prior estimate and after
each iteration, the past being what the whole of inference made of it.

Recordings, sizes and training are those of `speech`, which also says where they differ from the authors'.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference import ModelWithFilter, SequenceBatch, filter, length_mask
from ...inference.filters import MixtureBelief, StepContext
from ...metrics import estimates
from ...models.sequential import Conditioned
from ...objectives import Evidence, FreeEnergy
from ...results import BadInputError
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ...viz import plot_iterations
from ..kit import EVERYWHERE, ClipNats, Method, compare, difference, mean_and_error, measure, printed
from .speech import Config as SpeechConfig, load, prepare

SOURCE = "Marino (thesis), Fig. 4.4"
MINUTES = Minutes(smoke=0.25, small=30.0, paper=20000.0)
CLAIMS = (
    Claim("iterations/more", "Marino (thesis), Fig. 4.4a",
          "bound of the model trained with 1 iteration minus that with the most, per step of validation clips", "nats",
          AtLeast(0.0)),
    Claim("iterations/improves", "Marino (thesis), Fig. 4.4b",
          "least improvement that an iteration adds to the bound over the iteration before", "%", AtLeast(0.0)),
    Claim("iterations/diminishing", "Marino (thesis), Fig. 4.4b",
          "improvement of the last half of the iterations over that of the first half", "ratio", AtMost(1.0)),
    Claim("iterations/all", "Marino (thesis), Fig. 4.4b",
          "improvement of the bound by all iterations over the prior estimate", "%", AtLeast(0.0),
          scales=EVERYWHERE),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    speech: SpeechConfig = SpeechConfig()
    """Recordings, VRNN and training; its iterations do not count."""
    numbers: tuple[int, ...] = (1, 2, 4, 8)
    """Iterations of inference with which models are trained, rising (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        return cls(SpeechConfig.for_scale(scale), (1, 2) if scale == "smoke" else (1, 2, 4, 8))


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    of, methods = prepare(replace(config.speech, iterations=config.numbers), "VRNN", load(config.speech.data))
    clips = of.batch(of.data.validation)

    def score(method: Method, learned: ModelWithFilter, *, key: Key) -> tuple[Array, Array]:
        """Free energy per scored step of validation clips: of filtering, and at the prior estimate and after each iteration."""
        bound_key, path_key = jr.split(key)
        return eqx.filter_jit(ClipNats(clips))(learned, key=bound_key), energy_path(learned, clips, key=path_key)

    num_seeds = config.speech.reporting.num_seeds
    found = compare(context, of.name, methods[1:], of.data.train, score, num_seeds=num_seeds, key=key).results
    bounds = [result.scores[0] for result in found]
    measure(context, "iterations/more", difference(bounds[0], bounds[-1]))
    path = np.mean(found[-1].scores[1], axis=0)
    gains = improvement(path)
    steps = np.diff(gains)
    half = (len(steps) + 1) // 2
    context.measure("iterations/improves", float(steps.min()))
    context.measure("iterations/diminishing", float(steps[half:].sum() / steps[:half].sum()))
    context.measure("iterations/all", float(gains[-1]))

    caption = f"{of.name}, {of.data.name}, {len(of.data.validation.lengths)} validation clips"
    context.table(
        "training", ("iterations in training", "nats per step"),
        [(number, printed(each, 2)) for number, each in zip(config.numbers, bounds, strict=True)],
        caption=f"Negative bound against iterations of training: {caption}.",
    )  # fmt: skip
    context.table(
        "iterations", ("iteration", "nats per step", "improvement over the prior estimate, %"),
        [(index, float(nats), float(gain)) for index, (nats, gain) in enumerate(zip(path, gains, strict=True))],
        caption=f"The model trained with {config.numbers[-1]} iterations: {caption}.",
    )  # fmt: skip
    figure = plot_iterations(config.numbers, *np.transpose([mean_and_error(each) for each in bounds]), gains)
    context.figure("iterations", figure, caption=f"Fig. 4.4: {caption}. Left, bars of two standard errors over seeds.")


def improvement(path_nats: Float[np.ndarray, " moments"]) -> Float[np.ndarray, " moments"]:
    """100 (F_0 - F_k) / |F_0|, in percent."""
    return 100.0 * (path_nats[0] - path_nats) / np.abs(path_nats[0])


@eqx.filter_jit
def energy_path(
    learned: ModelWithFilter, clips: SequenceBatch, *, key: Key, batch_size: int = 32
) -> Float[Array, " moments"]:
    """Mean free energy per scored step before the first engine step and after each, with one sample of the past.

    Inference sees other random numbers than the measurement, which has the same at every moment.

    Raises:
        BadInputError: the clips are not those of a `ConditionedOnFirst` model.
    """
    method, model = learned.filter, learned.model
    if clips.lengths is None or clips.mask is None:
        raise BadInputError(
            "Expected clips with lengths and a mask that hides the first step: make them with `condition_on_first`."
        )

    def step(belief: MixtureBelief, observation: Array, step_key: Key) -> Float[Array, " moments"]:
        carry = jax.tree.map(lambda leaf: leaf[0], belief.past.carry)
        infer_key, measure_key = jr.split(step_key)
        static = Conditioned(model, carry)
        evidence = Evidence(observation, static.initial(), StepContext(carry, None))
        family = method.family.given(evidence.prior)
        path = estimates(
            static, method.engine, family, evidence, num_steps=method.num_steps, key=infer_key,
            expectation=method.expectation, start=method.start(static, family, key=infer_key),
        )  # fmt: skip
        measured = FreeEnergy(static, method.expectation)
        return jax.lax.map(lambda params: measured(family(params), evidence, key=measure_key), path)

    def one(inputs: tuple) -> Float[Array, " moments"]:
        values, actions, mask, length, one_key = inputs
        filter_key, path_key = jr.split(one_key)
        found = filter(method, model, values, actions, key=filter_key, mask=mask, throw=False)
        keys = jr.split(path_key, values.shape[0])
        energies = jax.lax.map(lambda args: step(*args), (found.predictions, values, keys))
        place = jnp.arange(values.shape[0])
        scored = (place > 0) & (place < length)
        return jnp.sum(jnp.where(scored[:, None], energies, 0.0), axis=0)

    values, lengths = clips.observations, clips.lengths
    within = length_mask(lengths, values.shape[1])
    mask = clips.mask & within.reshape(within.shape + (1,) * (values.ndim - 2))
    inputs = (values, clips.actions, mask, lengths, jr.split(key, values.shape[0]))
    totals = jax.lax.map(one, inputs, batch_size=min(batch_size, values.shape[0]))
    return jnp.sum(totals, axis=0) / jnp.sum(lengths - 1)
