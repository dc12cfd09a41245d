"""The task of fitting latent variable models to rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...core import AbstractLearner
from ...data import AbstractRows, ArrayRows, Message, open_rows, permutation, train_validation_split
from ...inference import fit_factor_analysis, fit_probabilistic_pca
from ...results import BadInputError
from ...train import AbstractLoader, InMemoryLoader, StreamingLoader
from ...typing import Key
from .._context import FitContext, NoRun
from .._task import AbstractTask, Schedule, Selected, Source, Trained
from ._describe import RowsDescription, describe_rows, rows_fingerprint
from ._fitted import FittedRows
from ._inference import for_device, mean_free_energy
from ._options import RowsOptions
from ._system import RowsSystem, build_rows_system, check_rows_options

_VALIDATION_ROWS = 1_024
_MAXIMIZATION_STEPS = 500


@final
@dataclass(frozen=True)
class RowsTask(AbstractTask[AbstractRows, RowsSystem]):
    """Latent variable models of rows, with any inference engine.

    Attributes:
        options: model, engine and training.
    """

    name: ClassVar[str] = "rows"
    unit: ClassVar[str] = "row"
    per: ClassVar[str] = "row"
    options: RowsOptions = RowsOptions()

    def check(self) -> None:
        check_rows_options(self.options)

    def open(self, data: Source, *, message: Message | None = None) -> AbstractRows:
        if isinstance(data, AbstractRows):
            return data
        return ArrayRows(data, "the array") if isinstance(data, np.ndarray) else open_rows(data, message=message)

    def split(self, data: AbstractRows, seed: int) -> tuple[AbstractRows, AbstractRows]:
        found = train_validation_split(data, self.options.validation_fraction, seed)
        return found.train, found.validation  # pyright: ignore[reportReturnType]

    def describe(self, data: AbstractRows, train: AbstractRows) -> RowsDescription:
        found = describe_rows(data, train, self.options)
        if len(train) < self.options.batch_size and self.options.engine != "exact":
            raise BadInputError(
                f"Expected a batch of 1 to {len(train)} rows (all training rows), got --batch-size {self.options.batch_size}: "
                f"choose a smaller one."
            )
        return found

    def fingerprint(self, data: AbstractRows) -> int:
        return rows_fingerprint(data)

    def announce(self, description: RowsDescription, train: AbstractRows, validation: AbstractRows) -> list[str]:
        shape, scaling = " x ".join(map(str, description.shape)), description.scaling
        chosen = "chosen from the data" if self.options.likelihood == "auto" else "as asked"
        scaled = ", each entry standardised by the training rows" if scaling.standardized else ""
        scaled += f", divided by {scaling.divisor:g}" if scaling.divisor != 1.0 else ""
        mebibytes = _mebibytes(description, train)
        held = "held on the device" if mebibytes <= self.options.hold_mib else "streamed"
        return [
            f"rows: {len(train)} to train on, {len(validation)} to validate on, of {shape} numbers{scaled}",
            f"likelihood: {description.likelihood}, {chosen} (--likelihood names another)",
            f"training rows are {held} ({mebibytes:.0f} MiB)",
        ]

    def build(self, description: RowsDescription, *, key: Key | None) -> RowsSystem:
        return build_rows_system(self.options, description, key=key)

    def start(self, system: RowsSystem) -> Selected:
        return Selected(system.learned, system.weighting.init())

    def learner(self, system: RowsSystem) -> AbstractLearner:
        return system.learner()

    def select(self, system: RowsSystem, state: Any) -> Selected:
        return Selected(state.learned, state.weighting)

    def loader(self, system: RowsSystem, train: AbstractRows, context: FitContext | NoRun) -> AbstractLoader:
        size, seed = self.options.batch_size, context.seed

        def prepared(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            return (for_device(system.description.prepare(chunk)) for chunk in chunks)

        if _mebibytes(system.description, train) <= self.options.hold_mib:
            data = np.concatenate([*prepared(train.chunks(4096))])
            return InMemoryLoader(data, size, lambda epoch: permutation(len(train), seed, epoch))
        return StreamingLoader(
            lambda epoch, start: prepared(train.batches(size, seed=seed, epoch=epoch, start=start)), len(train) // size
        )

    def offset_nats(self, system: RowsSystem, train: AbstractRows) -> float:
        return system.description.log_unit_nats

    def score(self, system: RowsSystem, selected: Selected, data: AbstractRows, *, key: Key) -> float:
        some = data.select(np.arange(min(len(data), _VALIDATION_ROWS)))
        return mean_free_energy(system.setup(selected), system.description, some, key=key)

    def fitted(self, system: RowsSystem, selected: Selected) -> FittedRows:
        return FittedRows(self, system, selected)

    def schedule(self) -> Schedule:
        """One step where there is a formula, few where there is expectation maximisation."""
        found = super().schedule()
        if self.options.engine != "exact":
            return found
        steps = 1 if self.options.model == "probabilistic-pca" else min(found.num_steps, _MAXIMIZATION_STEPS)
        return found._replace(num_steps=steps)

    def solve(
        self, system: RowsSystem, train: AbstractRows, context: FitContext | NoRun, *, key: Key
    ) -> Trained | None:
        """Maximum likelihood of a linear-Gaussian model, from the mean and the covariance of the rows alone."""
        if self.options.engine != "exact":
            return None
        steps = self.schedule().num_steps

        def learn(key: Key) -> Selected:
            description, dim = system.description, system.dims[0]
            equivalent = jnp.asarray(_equivalent_rows(train, description), jnp.result_type(float))
            floor = 1e-3 * float(np.sqrt(np.mean(description.scaling.scale**2)))
            if self.options.model == "probabilistic-pca":
                model = fit_probabilistic_pca(equivalent, dim, minimum_scale=floor)
            else:
                found = fit_factor_analysis(equivalent, dim, num_steps=steps, minimum_scale=floor)
                model = found.model
                for step, nats in enumerate(-np.asarray(found.log_evidence_nats)):
                    if step % max(1, steps // 100) == 0 or step == steps:
                        context.metrics(step=step, free_energy_nats=float(nats))
            return Selected(eqx.tree_at(lambda learned: learned.model, system.learned, model), system.weighting.init())

        selected = context.stage("train", learn, key=key, like=self.start(system))
        return Trained(selected, steps, steps)


def _mebibytes(description: RowsDescription, rows: AbstractRows) -> float:
    return len(rows) * description.size * 4 / 2**20


def _equivalent_rows(rows: AbstractRows, description: RowsDescription) -> np.ndarray:
    """As many rows as two for each entry, with the mean and the covariance of all.

    With R^T R the covariance times the number of rows (from QR decompositions, chunk by chunk), the rows
    mean +- sqrt(k / n) R_i have both. Rows pass through once, so they may be more than memory holds.
    """
    centre = description.scaling.loc.reshape(1, -1)
    root = np.zeros((0, description.size))
    for chunk in rows.chunks(max(1_024, description.size)):
        flat = description.prepare(chunk).reshape(len(chunk), -1).astype(np.float64) - centre
        root = np.linalg.qr(np.concatenate([root, flat]), mode="r")
    spread = np.sqrt(len(root) / len(rows)) * root
    return np.concatenate([centre + spread, centre - spread])
