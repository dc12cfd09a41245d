"""A fit to a user's own rows, as a run: it has stages and a loop like an experiment, and no claims."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractRows, open_rows, train_validation_split
from ..experiments import Experiment, Minutes
from ..results import BadInputError
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
    measure,
    summarize,
)
from ._training import HeldFeed, StreamedFeed, Trained, train_on_rows

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
    if trained.failure is None or trained.validation_nats is not None:
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
    learner = system.learner()
    feed = (HeldFeed if held else StreamedFeed)(splits.train, observations, config.batch_size, context.seed)
    validation = splits.validation.select(np.arange(min(len(splits.validation), _LOOK_ROWS)))
    look_key, train_key = jax.random.split(key)

    def validate(kept: Kept) -> float:
        return _mean_free_energy(system, kept, validation, look_key)

    def on_validation(step: int, nats: float) -> None:
        context.metrics(step=step, validation_free_energy_nats=nats)

    with context.keeper("train", config.steps) as keeper:
        return train_on_rows(
            learner,
            feed,
            keep=system.keep,
            validate=validate if len(validation) else None,
            on_validation=on_validation,
            num_steps=config.steps,
            every=config.report_every,
            validate_every=config.validate_every,
            patience=config.patience,
            key=train_key,
            keeper=keeper,
        )


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
    return Trained(kept, steps, steps, None, None, False)


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
    elif trained.patient:
        context.say(f"  training ended after {trained.last_step} updates without improvement on the validation data")
    if trained.step != trained.last_step:
        context.say(f"  the model kept is the one after {trained.step} updates, the best on the validation data")
