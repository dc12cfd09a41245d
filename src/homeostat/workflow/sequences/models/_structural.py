"""Structural time series: a trend, seasons and short memory for each column, at the maximum of the likelihood."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ....data import AbstractSequences
from ....inference import ModelWithFilter, RauchTungStriebel, SequenceBatch, filter, maximum_likelihood
from ....inference.filters import Filtered, Kalman
from ....models.sequential import (
    AbstractComponent,
    Autoregression,
    KnownInputs,
    LinearGaussian,
    Quantity,
    Season,
    Structural,
    Trend,
    apart,
    side_by_side,
)
from ....results import BadInputError
from ....runs import RunContext
from ....typing import Array, Float, Key
from ....viz import BeliefBand, plot_posterior_bands
from .._axes import entry_name, first_sequence, time_axis
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._likelihood import MOST_STEPS, AbstractSolvedModel, lengths_of, seen_values
from ._named import SequencesSystem

_SHARES = {"level": 0.5, "slope": 0.1, "season": 0.1, "autoregression": 0.5, "remainder": 0.5}
"""Deviations of the noises at the start, in those of the changes from one step to the next."""
_LEAST_CHANGE = 1e-3
_MOST_COLUMNS = 3
_MOST_STEPS_SHOWN = 5_000


@final
class StructuralModel(AbstractSolvedModel):
    """`structural`."""

    name: ClassVar[str] = "structural"

    def check(self, options: SequencesOptions) -> None:
        super().check(options)
        if options.harmonics < 0 or options.autoregression < 0:
            raise BadInputError(
                f"Expected --harmonics and --autoregression of 0 or more, got {options.harmonics} and {options.autoregression}."
            )
        _structural(options, 0, 1.0)

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        # Some covariances of every step, for the gradient; one column after the other.
        return 8 * padded_steps * _structural(options, description.action_dim, 1.0).model().dim ** 2

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        column = _structural(options, description.action_dim, 1.0).model()
        return ModelWithFilter(side_by_side([column] * math.prod(description.event_shape)), Kalman())

    def solve(
        self, system: SequencesSystem, batch: SequenceBatch, record: Callable[[int, float], None], *, key: Key
    ) -> LinearGaussian:
        values, models, paths = seen_values(batch), [], []
        for column in range(values.shape[2]):
            own = values[:, :, column : column + 1]
            found = maximum_likelihood(
                _structural(system.options, system.description.action_dim, _change(own)),
                own,
                None if batch.actions is None else jnp.asarray(batch.actions),
                lengths=lengths_of(batch),
                num_steps=min(system.options.steps, MOST_STEPS),
            )
            models.append(found.parameters.model())
            paths.append(found.log_evidence_nats)
        longest = max(map(len, paths))
        for step, nats in enumerate(sum(np.pad(path, (0, longest - len(path)), "edge") for path in paths)):
            record(step, float(nats))
        return side_by_side(models)

    def beliefs(self, learned: ModelWithFilter[Any], found: Filtered, batch: SequenceBatch) -> dict[str, Array]:
        """The state after each step; and what adds up to each entry given all steps, with deviations."""
        smoothed = RauchTungStriebel()(learned.model, found, batch.actions).beliefs
        return {
            **super().beliefs(learned, found, batch),
            "smoothed": smoothed.loc,
            "smoothed_scale": smoothed.scale_tril,
        }

    def restored(
        self, options: SequencesOptions, description: SequencesDescription, arrays: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What adds up to the output, and slopes, given all steps: by names, with deviations, [time, entries]."""
        arrays = dict(arrays)
        loc, scale = arrays.pop("smoothed"), arrays.pop("smoothed_scale")
        for quantity in _structural(options, description.action_dim, 1.0).quantities():
            mean, deviation = _read(quantity, description, loc, scale)
            name = quantity.name.removesuffix(" steps").replace(" ", "_")
            spread = partial(description.scaling.spread, fill=np.nan)
            arrays |= {name: spread(mean), f"{name}_deviation": spread(deviation)}
        return arrays

    def summary(self, system: SequencesSystem) -> dict[str, Any]:
        """Deviations of all noises in the unit of the data, and what else was learned of the components, by columns."""
        description, structural = system.description, _structural(system.options, system.description.action_dim, 1.0)
        assert isinstance(system.learned.model, LinearGaussian)
        seen = np.flatnonzero(description.scaling.varies).tolist()
        return {
            "components": {
                entry_name(description, entry): {
                    number.name: (
                        np.asarray(number.value, np.float64) * (unit if number.in_output_unit else 1.0)
                    ).tolist()
                    for number in structural.estimates(model)
                }
                for entry, unit, model in zip(seen, description.scaling.unit, apart(system.learned.model), strict=True)
            }
        }

    def report(self, system: SequencesSystem, sequences: AbstractSequences, context: RunContext, *, key: Key) -> None:
        """What adds up to the first columns of the first sequence."""
        description = system.description
        padded = first_sequence(sequences, 0, min(int(sequences.lengths[0]), _MOST_STEPS_SHOWN))
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), description.batch(padded))
        loc, scale = _smoothed(system.learned, batch)
        time, label = time_axis(padded, 0, description, sequences)
        structural = _structural(system.options, description.action_dim, 1.0)
        parts = {
            quantity.name: (quantity.adds, *_read(quantity, description, loc, scale))
            for quantity in structural.quantities()
        }
        seen = np.where(padded.observed[0], padded.values[0].astype(np.float64), np.nan).reshape(len(time), -1)
        entries = np.flatnonzero(description.scaling.varies).tolist()
        for column, entry in enumerate(entries[:_MOST_COLUMNS]):
            means = [mean[:, column] for _, mean, _ in parts.values()]
            spreads = [spread[:, column] for _, _, spread in parts.values()]
            rest = seen[:, entry] - sum(mean[:, column] for adds, mean, _ in parts.values() if adds)
            band = BeliefBand("given all steps", np.stack([*means, rest], 1), np.stack([*spreads, 0.0 * rest], 1))
            axes = {"time": time, "label": label, "unit": "unit of the data"}
            figure = plot_posterior_bands([band], names=[*parts, "remainder"], **axes)
            name = entry_name(description, entry)
            context.figure(
                "components" if not column else f"components-{column + 1}",
                figure,
                caption=f"What adds up to {name} in sequence {sequences.labels[0]!r}, given all its steps, with bands of two standard "
                "deviations, and what remains; a slope is the change of the level in a step.",
            )


@eqx.filter_jit
def _smoothed(learned: ModelWithFilter[Any], batch: SequenceBatch) -> tuple[Array, Array]:
    found = filter(
        learned.filter,
        learned.model,
        batch.observations,
        batch.actions,
        key=jax.random.key(0),
        mask=batch.mask,
        throw=False,
    )
    beliefs = RauchTungStriebel()(learned.model, found, batch.actions).beliefs
    return beliefs.loc, beliefs.scale_tril


def _read(
    quantity: Quantity, description: SequencesDescription, loc: Array | np.ndarray, scale_tril: Array | np.ndarray
) -> tuple[Float[np.ndarray, "... m"], Float[np.ndarray, "... m"]]:
    """Mean and deviation of a quantity of each entry in the unit of the data; a level counts from zero."""
    unit, size = description.scaling.unit, description.scaling.size
    rows = np.kron(np.eye(size), quantity.row)
    mean = np.asarray(loc, np.float64) @ rows.T * unit
    deviation = np.linalg.norm(rows @ np.asarray(scale_tril, np.float64), axis=-1) * unit
    if quantity.name == "level":
        mean = mean + description.scaling.divisor * description.scaling.keep(description.scaling.loc)
    return mean, deviation


def _structural(options: SequencesOptions, action_dim: int, change: float) -> Structural:
    """Parameters where the search starts, for data whose changes in a step have this deviation.

    Raises:
        BadInputError: a season that cannot be.
    """

    def log_scale(name: str) -> Array:
        return jnp.asarray(math.log(_SHARES[name] * change), jnp.result_type(float))

    level = None if options.trend == "smooth" else log_scale("level")
    slope = None if options.trend == "level" else log_scale("slope")
    parts: list[AbstractComponent] = [Trend(level, slope, jnp.asarray(2.0) if options.trend == "damped" else None)]
    parts += [Season(log_scale("season"), period, options.harmonics or None) for period in _periods(options.season)]
    if options.autoregression:
        partial = jnp.zeros(options.autoregression).at[0].set(0.5)
        parts.append(Autoregression(log_scale("autoregression"), partial))
    if action_dim:
        parts.append(KnownInputs(jnp.zeros(action_dim)))
    return Structural(tuple(parts), log_scale("remainder"))


def _periods(season: str) -> list[float]:
    try:
        return [float(period) for period in season.split(",") if period.strip()]
    except ValueError:
        raise BadInputError(f"Expected periods in steps as --season, such as 12 or 7,365.25, got {season}.") from None


def _change(values: Float[np.ndarray, "sequences time 1"]) -> float:
    """Root mean square of the changes from a step to the next, where both were seen."""
    changes = np.diff(values, axis=1)
    known = changes[np.isfinite(changes)]
    return max(float(np.sqrt(np.mean(known**2))) if known.size else 1.0, _LEAST_CHANGE)
