"""The task of fitting latent variable models to rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import AbstractModel
from ...data import AbstractRows, ArrayRows, Message, open_rows, permutation
from ...flows import ConditionalFlow, NormalizingFlow
from ...inference import ModelWithEngine
from ...objectives import AbstractWeighting, Beta, DistortionConstraint, FreeBits, RateConstraint
from ...results import BadInputError
from ...train import AbstractLoader, InMemoryLoader, StreamingLoader
from ...typing import Key, PyTree
from .._numbers import kind_of_number
from .._tables import require_names, table_columns
from .._task import AbstractTask, Selected, Source, annealing, check_training, require, require_positive
from ._describe import RowsDescription, describe_rows
from ._engines import Inference, make_family, make_inference
from ._fitted import FittedRows
from ._inference import for_training, mean_free_energy
from ._maximum_likelihood import most_likely
from ._models import latent_dims, make_model
from ._options import LINEAR, OWN_POSTERIOR, WEIGHTINGS, RowsOptions
from ._requirements import missing_words
from ._system import RowsSystem

_VALIDATION_ROWS = 1_024
_MAXIMIZATION_STEPS = 500
_MOSTLY_MISSING = 0.5
"""Share of a column above which it is named."""


@final
@dataclass(frozen=True)
class RowsTask(AbstractTask[AbstractRows, RowsSystem]):
    """Latent variable models of rows, with any inference engine."""

    name: ClassVar[str] = "rows"
    unit: ClassVar[str] = "row"
    per: ClassVar[str] = "row"
    options: RowsOptions = RowsOptions()

    def check(self) -> None:
        options = self.options
        check_training(options)
        require_positive(options, "width", "iterations", "samples", "evaluation_rows")
        require(options.depth >= (options.mapping == "highway"), "--depth of 0 or more (highway: 1)", options.depth)
        require(options.units >= 0, "--units of 0 or more", options.units)
        require(options.evaluation_samples >= 2, "--evaluation-samples of at least 2", options.evaluation_samples)
        require(0.0 < options.inference_rate < math.inf, "a positive --inference-rate", options.inference_rate)
        require(options.hold_mib >= 0.0, "--hold-mib of 0 or more", options.hold_mib)
        if options.engine == "natural-gradient":
            require(
                options.inference_rate <= 1.0, "--inference-rate up to 1 for natural-gradient", options.inference_rate
            )
        latent_dims(options)
        _check_weighting(options)
        _check_engine(options)
        _check_posterior(options)

    def open(self, data: Source, *, message: Message | None = None) -> AbstractRows:
        if isinstance(data, AbstractRows):
            return data
        if isinstance(data, np.ndarray):
            return ArrayRows(data, "the array")
        rows = open_rows(data, table_columns(self.options), message=message)
        require_names(self.options, rows)
        return rows

    def describe(self, data: AbstractRows, train: AbstractRows) -> RowsDescription:
        return describe_rows(data, train, self.options)

    def announce(self, description: RowsDescription, train: AbstractRows, validation: AbstractRows) -> list[str]:
        shape, scaling = " x ".join(map(str, description.shape)), description.scaling
        scaled = ", each entry standardised by the training rows" if scaling.standardized else ""
        scaled += f", divided by {scaling.divisor:g}" if scaling.divisor != 1.0 else ""
        constants = scaling.constants(description.columns)
        left_out = [f"left out, because they never vary in the training rows: {constants}"] if constants else []
        mebibytes = _mebibytes(description, train)
        held = "held on the device" if mebibytes <= self.options.hold_mib else "streamed"
        return [
            f"rows: {len(train)} to train on, {len(validation)} to validate on, of {shape} numbers{scaled}",
            *self._missing(description, train),
            *kind_of_number(description.likelihood, self.unit, self.options.likelihood != "auto", description.numbers),
            f"training rows are {held} ({mebibytes:.0f} MiB)",
            *left_out,
        ]

    def build(self, description: RowsDescription, *, key: Key | None) -> RowsSystem:
        self.check()
        options = self.options
        known = jr.key(0) if key is None else key
        family = make_family(options, key=jr.fold_in(known, 1))

        def initial(key: Key) -> tuple[AbstractModel, Inference]:
            model_key, engine_key = jr.split(key)
            model = make_model(options, description, key=model_key)
            return model, make_inference(model, family, description, options, key=engine_key)

        # Compiled, because initialising eagerly costs seconds of dispatch.
        model, inference = eqx.filter_eval_shape(initial, known) if key is None else eqx.filter_jit(initial)(known)
        # A flow has numbers that all rows share, to learn or to start from.
        flow = inference.family if isinstance(inference.family, ConditionalFlow | NormalizingFlow) else None
        learned = ModelWithEngine(model, inference.engine, flow)
        # A posterior that cannot be taken apart along the levels has one rate for all of them.
        rates = len(latent_dims(options)) if options.posterior == "diagonal" else 1
        return RowsSystem(options, description, learned, inference, _weighting(options, rates))

    def loader(self, system: RowsSystem, train: AbstractRows, seed: int) -> AbstractLoader:
        size = min(self.options.batch_size, len(train))

        def prepared(chunks: Iterator[np.ndarray]) -> Iterator[PyTree]:
            return (for_training(system.description, chunk) for chunk in chunks)

        if _mebibytes(system.description, train) <= self.options.hold_mib:
            data = jax.tree.map(lambda *parts: np.concatenate(parts), *prepared(train.chunks(4096)))
            return InMemoryLoader(data, size, lambda epoch: permutation(len(train), seed, epoch))
        return StreamingLoader(
            lambda epoch, start: prepared(train.batches(size, seed=seed, epoch=epoch, start=start)), len(train) // size
        )

    def offset_nats(self, system: RowsSystem, train: AbstractRows) -> float:
        description = system.description
        if not description.num_missing:
            return description.log_unit_nats
        return sum(
            float(description.log_units_nats(description.known(chunk)).sum()) for chunk in train.chunks(4096)
        ) / len(train)

    def score(self, system: RowsSystem, selected: Selected, data: AbstractRows, *, key: Key) -> float:
        some = data.select(np.arange(min(len(data), _VALIDATION_ROWS)))
        return mean_free_energy(system.setup(selected), system.description, some, key=key)

    def fitted(self, system: RowsSystem, selected: Selected) -> FittedRows:
        return FittedRows(self, system, selected)

    def num_updates(self, system: RowsSystem) -> int:
        """One where there is a formula, few where there is expectation maximisation."""
        if not self.solves:
            return super().num_updates(system)
        formula = self.options.model == "probabilistic-pca" and not system.description.num_missing
        return 1 if formula else min(self.options.steps, _MAXIMIZATION_STEPS)

    def _missing(self, description: RowsDescription, train: AbstractRows) -> list[str]:
        """How much is missing, where most of it, and what networks read in its place; nothing if all numbers are there."""
        if not description.num_missing:
            return []
        found = [missing_words(description.num_missing, description.num_rows, description.shape)]
        gaps = [np.isnan(chunk).reshape(len(chunk), -1).sum(axis=0) for chunk in train.chunks(4096)]
        shares = np.sum(gaps, axis=0) / len(train)
        worst = int(np.argmax(shares))
        if shares[worst] > _MOSTLY_MISSING:
            name = train.columns[worst] if train.columns else f"{worst} (from 0)"
            found.append(f"missing most in column {name}: {100 * shares[worst]:.3g} per cent of the training rows")
        if self.options.reads_data:
            mean = ", the mean of the column," if description.likelihood == "gaussian" else ""
            found.append(f"networks read 0{mean} in place of what is missing, and which numbers these are")
        return found

    @property
    def solves(self) -> bool:
        return self.options.engine == "exact"

    def solve(self, system: RowsSystem, train: AbstractRows, record: Callable[..., None], *, key: Key) -> Selected:
        """Maximum likelihood of a linear-Gaussian model."""
        steps = self.num_updates(system)
        model, path = most_likely(self.options.model, system.description, train, system.dims[0], steps)
        for step, nats in enumerate(path):
            if step % max(1, steps // 100) == 0 or step == steps:
                record(step=step, free_energy_nats=float(nats))
        kind = jnp.result_type(float)
        model = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), kind), model)
        return Selected(eqx.tree_at(lambda learned: learned.model, system.learned, model), system.weighting.init())


def _check_weighting(options: RowsOptions) -> None:
    given = {f"--{name.replace('_', '-')}": getattr(options, name) for name in WEIGHTINGS}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise BadInputError(
            f"Expected at most one weighting, got {' and '.join(given)}: they exclude each other, choose one."
        )
    for name, value in given.items():
        inside = name in ("--distortion-constraint", "--anneal") or value >= 0
        require(math.isfinite(value) and inside, f"{name} of 0 or more", value)
    if given and options.engine in ("natural-gradient", "predictive-coding", "exact"):
        raise BadInputError(
            f"Expected no weighting with --engine {options.engine}, whose steps are made for the free energy itself, got "
            f"{next(iter(given))}: leave it out, or use another engine."
        )


def _check_posterior(options: RowsOptions) -> None:
    name = options.posterior
    if name != "diagonal" and options.engine in OWN_POSTERIOR:
        raise BadInputError(
            f"Expected no --posterior with --engine {options.engine}, which is made for one of its own, got {name}: leave it out, "
            f"or use direct, iterative, semi-amortized or gradient."
        )
    if name == "flow" and options.engine == "natural-gradient":
        raise BadInputError(
            "Expected a Gaussian for --engine natural-gradient, got --posterior flow: use diagonal or full, or --engine gradient."
        )
    if name == "flow" and sum(latent_dims(options)) < 2:
        raise BadInputError("Expected at least two latent variables for --posterior flow, got one: use diagonal.")


def _check_engine(options: RowsOptions) -> None:
    if options.engine == "exact" and options.model not in LINEAR:
        raise BadInputError(
            f"Expected {' or '.join(LINEAR)} for --engine exact, which needs a posterior in closed form, got {options.model}."
        )
    if options.engine == "predictive-coding" and options.model != "latent-gaussian":
        raise BadInputError(
            f"Expected --model latent-gaussian for --engine predictive-coding, got {options.model}: use another engine."
        )
    if options.model == "sparse-coding" and options.engine == "natural-gradient":
        raise BadInputError(
            "Expected a smooth prior for --engine natural-gradient, got sparse-coding, whose prior has a corner: use "
            "--engine gradient or an amortized engine."
        )
    if options.mapping == "convolutional" and options.model != "latent-gaussian":
        raise BadInputError(f"Expected --model latent-gaussian for --mapping convolutional, got {options.model}.")


def _weighting(options: RowsOptions, num_levels: int) -> AbstractWeighting:
    if options.beta is not None:
        return Beta(options.beta)
    if options.free_bits is not None:
        return FreeBits(options.free_bits, num_levels)
    if options.rate_constraint is not None:
        return RateConstraint(options.rate_constraint)
    if options.distortion_constraint is not None:
        return DistortionConstraint(options.distortion_constraint)
    return annealing(options)


def _mebibytes(description: RowsDescription, rows: AbstractRows) -> float:
    return len(rows) * description.size * 4 / 2**20
