"""A fit to a user's own rows, as a run: it has stages and a loop like an experiment, and no claims."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractRows, open_rows, permutation, train_validation_split
from ..experiments import Experiment, Minutes
from ..results import BadInputError
from ..train import FitResult, InMemoryLoader, StreamingLoader
from ..workflow import (
    Kept,
    Observations,
    RowsOptions,
    System,
    build_rows_system,
    check_rows_options,
    closed_form_steps,
    describe,
    failure_text,
    fingerprint as fingerprint_of,
    fit_closed_form,
    outline_rows_system,
)
from ._context import RunContext
from ._fit_figures import show_model, show_training
from ._fitted import (
    FIT,
    LOOK_SAMPLES,
    block_size,
    blocks,
    device_rows,
    explain,
    host_rows,
    measure,
    summarize,
)

_LOOK_ROWS = 1_024


@final
@dataclass(frozen=True)
class FitRequest:
    """What a fit was asked for.

    Attributes:
        data: the rows: a file, an array in an archive, or a folder of images.
        options: everything else.
    """

    data: str
    options: RowsOptions

    def plain(self) -> dict[str, Any]:
        """One level of names, as a run keeps it."""
        return {"data": self.data, **dataclasses.asdict(self.options)}


class Trained(NamedTuple):
    """A trained model.

    Attributes:
        kept: the best state by validation, or the last one.
        step: updates that it had seen.
        last_step: updates that were made.
        validated: whether a validation chose it.
        failure: the learner's record of what was not finite, or None.
        out_of_patience: whether training ended because nothing got better any more.
    """

    kept: Any
    step: int
    last_step: int
    validated: bool
    failure: Any
    out_of_patience: bool

    @classmethod
    def of(cls, result: FitResult, keep: Callable[[Any], Any]) -> "Trained":
        """What is kept of the state that `fit` gave."""
        validated = bool(np.isfinite(result.validation_nats).any())
        return cls(keep(result.state), result.step, result.last_step, validated, result.failure, result.out_of_patience)


class _Splits(NamedTuple):
    """Rows of a fit. There are no test rows: those come with `homeostat evaluate`."""

    everything: AbstractRows
    train: AbstractRows
    validation: AbstractRows


def fit_experiment(request: FitRequest) -> Experiment:
    """The fit in the clothes of an experiment."""
    summary = f"{request.options.model} with {request.options.engine} inference on {request.data}"
    return Experiment(FIT, summary, "", Minutes(0, 0, 0), (), RowsOptions, _run)


def _run(request: FitRequest, context: RunContext, *, key: Any) -> None:
    config = request.options
    seed = context.seed
    splits = _open(request, context, seed)
    observations: Observations = context.stage("describe", lambda key: _describe(splits, config), key=key)
    if fingerprint_of(splits.everything) != observations.fingerprint:
        raise BadInputError(
            f"Expected the rows that this run was started with in {request.data}, got others: the file has changed. Put it "
            f"back, or start a new run."
        )
    _announce(context, observations, splits, config)
    build_key, train_key, measure_key, figure_key = jax.random.split(key, 4)
    system = build_rows_system(config, observations, key=build_key)
    trained = (_closed_form if system.closed_form else _train)(system, splits, context, train_key)
    context.checkpoint("model", trained.kept)
    chosen = splits.validation if len(splits.validation) else splits.train
    some = chosen.select(np.arange(min(len(chosen), config.evaluation_rows)))
    perception = system.perception(trained.kept)
    summary = context.stage(
        "measure",
        lambda key: _measure(system, trained, some, context, key),
        key=measure_key,
    )
    failed = None if trained.failure is None else failure_text(trained.failure)
    context.conclude(
        rows_of="validation" if len(splits.validation) else "train",
        likelihood=observations.likelihood,
        training_rows=len(splits.train),
        validation_rows=len(splits.validation),
        importance_samples=config.evaluation_samples,
        best_step=trained.step,
        last_step=trained.last_step,
        failure=failed,
        **summary,
    )
    show_training(context)
    # A model that was never validated before training failed may say anything, numbers beyond a figure's axes included.
    if trained.failure is None or trained.validated:
        show_model(system, perception, trained.kept, some, context, key=figure_key)
    _close(context, trained, failed)


def _open(request: FitRequest, context: RunContext, seed: int) -> _Splits:
    rows = open_rows(request.data, message=context.say)
    config = request.options
    parts = train_validation_split(rows, config.validation_fraction, seed)
    return _Splits(rows, parts.train, parts.validation)  # pyright: ignore[reportArgumentType]


def _describe(splits: _Splits, config: RowsOptions) -> Observations:
    """All that can be refused is refused here, before anything is kept."""
    check_rows_options(config)
    found = describe(splits.everything, splits.train, config)
    if len(splits.train) < config.batch_size and config.engine != "exact":
        raise BadInputError(
            f"Expected a batch of 1 to {len(splits.train)} rows (all training rows), got --batch-size {config.batch_size}: "
            f"choose a smaller one."
        )
    # Shapes are enough to find what does not fit together.
    outline_rows_system(config, found)
    return found


def _announce(context: RunContext, observations: Observations, splits: _Splits, config: RowsOptions) -> None:
    shape = " x ".join(map(str, observations.shape))
    chosen = "chosen from the data" if config.likelihood == "auto" else "as asked"
    scaled = ", each entry standardised by the training rows" if observations.standardized else ""
    scaled += f", divided by {observations.divisor:g}" if observations.divisor != 1.0 else ""
    context.say(
        f"  rows: {len(splits.train)} to train on, {len(splits.validation)} to validate on, of {shape} numbers{scaled}"
    )
    context.say(f"  likelihood: {observations.likelihood}, {chosen} (--likelihood names another)")


def _train(system: System, splits: _Splits, context: RunContext, key: Any) -> Trained:
    config, observations = system.config, system.observations
    mebibytes = len(splits.train) * observations.size * 4 / 2**20
    held = mebibytes <= config.hold_mib
    context.say(f"  training rows are {'held on the device' if held else 'streamed'} ({mebibytes:.0f} MiB)")
    loader = (_held if held else _streamed)(splits.train, observations, config.batch_size, context.seed)
    validation = splits.validation.select(np.arange(min(len(splits.validation), _LOOK_ROWS)))

    def validate(state: Any, key: Any) -> float:
        return _mean_free_energy(system, system.keep(state), validation, key)

    result = context.fit(
        "train",
        system.learner(),
        loader,
        num_steps=config.steps,
        key=key,
        every=config.report_every,
        validate=validate if len(validation) else None,
        validate_every=config.validate_every,
        patience=config.patience,
    )
    return Trained.of(result, system.keep)


def _held(rows: AbstractRows, observations: Observations, batch_size: int, seed: int) -> InMemoryLoader:
    data = np.concatenate([host_rows(observations.prepare(chunk)) for chunk in rows.chunks(4096)])
    return InMemoryLoader(data, batch_size, lambda epoch: permutation(len(rows), seed, epoch))


def _streamed(rows: AbstractRows, observations: Observations, batch_size: int, seed: int) -> StreamingLoader:
    """The same batches in the same order."""

    def batches(epoch: int, start: int) -> Iterator[np.ndarray]:
        found = rows.batches(batch_size, seed=seed, epoch=epoch, start=start)
        return (host_rows(observations.prepare(batch)) for batch in found)

    return StreamingLoader(batches, rows.num_batches(batch_size))


def _mean_free_energy(system: System, kept: Kept, rows: AbstractRows, key: Any) -> float:
    """Of the rows, under the true bound whatever the weighting."""
    perception, observations = system.perception(kept), system.observations
    total, size = 0.0, block_size(len(rows))
    for start, count, prepared in blocks(rows, observations, size):
        found = explain(
            perception, device_rows(prepared), start + jnp.arange(size), key, observations.binarized, LOOK_SAMPLES
        )
        nats = np.asarray(found.distortion_nats + found.rate_nats, np.float64)
        total += float(nats[:count].sum())
    return total / len(rows) + observations.log_unit_nats


def _closed_form(system: System, splits: _Splits, context: RunContext, key: Any) -> Trained:
    """Maximum likelihood of a linear model, from the data's mean and covariance alone."""

    def learn(key: Any) -> Kept:
        found = fit_closed_form(system, splits.train)
        for step, nats in enumerate(found.free_energy_nats):
            if step % max(1, steps // 100) == 0 or step == steps:
                context.metrics(step=step, free_energy_nats=float(nats))
        return found.kept

    steps = closed_form_steps(system.config)
    kept = context.stage("train", learn, key=key, like=system.start())
    return Trained(kept, steps, steps, False, None, False)


def _measure(system: System, trained: Trained, rows: AbstractRows, context: RunContext, key: Any) -> dict[str, Any]:
    perception = system.perception(trained.kept)
    measured = measure(
        perception,
        system.observations,
        rows,
        num_samples=system.config.evaluation_samples,
        key=key,
        terminal=context.terminal,
    )
    return summarize(measured, system.observations, rows)


def _close(context: RunContext, trained: Trained, failed: str | None) -> None:
    if failed is not None:
        context.say(
            f"error: training stopped at {failed}. The model from before is kept (after {trained.step} updates). Expected "
            f"finite terms: lower --learning-rate, set --clip-norm, or look for extreme values in the data."
        )
    elif trained.out_of_patience:
        context.say(f"  training ended after {trained.last_step} updates without improvement on the validation data")
    if trained.step != trained.last_step:
        context.say(f"  the model kept is the one after {trained.step} updates, the best on the validation data")
