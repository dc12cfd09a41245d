"""Table and picture of comparisons between filters, and what stored numbers become."""

from collections.abc import Sequence

import jax.numpy as jnp

from ...runs import RunContext
from ...typing import Array, Float
from ..kit import Column, Comparison, Published, Result, draw, nats_per_step, nats_per_step_of_sequences, tabulate


def report(
    context: RunContext,
    found: Sequence[Comparison],
    *,
    unit: str,
    caption: str,
    digits: int = 2,
    per: float = 1.0,
    published: Published | None = None,
) -> None:
    """The table of all comparisons, and the same as a picture.

    Args:
        context: of the run.
        found: what came out.
        unit: of the figures.
        caption: what they are.
        digits: after the decimal point.
        per: what free energies per step are divided by, such as the entries of a frame.
        published: figures of the source.
    """

    def validation(result: Result):
        return result.scores.validation_nats / per

    columns = (
        Column("weights", lambda result: result.weights),
        Column(f"{unit}, all steps alike", lambda result: nats_per_step(result) / per, digits),
        Column(f"{unit}, all sequences alike", lambda result: nats_per_step_of_sequences(result) / per, digits),
        Column(f"{unit}, validation clips", validation, digits),
    )
    tabulate(context, found, columns, heads=("model and data", "filter"), caption=caption, published=published)
    figures = {"": lambda result: nats_per_step(result) / per}
    draw(context, found, figures, unit=unit, digits=digits, caption=caption, published=published)


def as_real(values: Array) -> Float[Array, "..."]:
    """The numbers as they are."""
    return values.astype(jnp.result_type(float))


def as_grey(values: Array) -> Float[Array, "..."]:
    """k / 256, for bytes k."""
    return values.astype(jnp.result_type(float)) / 256.0
