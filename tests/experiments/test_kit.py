"""The experiments' kit: claims from published figures, errors over seeds, and choice by validation."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from homeostat.experiments.kit import Published, difference, mean_and_error, only, printed, stage_name
from homeostat.runs import AtLeast, Between

TABLE = Published("Table 1", "nats", ("own", "new"), {"first": (6.92, 6.97), "second": (3.19,)})


def test_claims_are_made_from_one_table():
    lead = TABLE.lead_claim("x/lead", "lead", "first", "own", "new", least=-0.1, told="there: ")
    assert (lead.metric, lead.expected, lead.source, lead.unit) == (
        "lead (there: -0.05)",
        AtLeast(-0.1),
        "Table 1",
        "nats",
    )
    near = TABLE.figure_claim("x/own", "bound", "first", "own", within=0.5)
    assert (near.metric, near.expected, near.scales) == ("bound (6.92)", Between(6.42, 7.42), ("paper",))
    assert TABLE.row("second") == {"own": 3.19} and TABLE.row("third") == {}
    with pytest.raises(KeyError):
        TABLE.lead("second", "own", "new")


def test_errors_over_seeds():
    first, second = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0])
    assert mean_and_error(first) == pytest.approx((2.0, 1.0 / 3.0**0.5))
    assert difference(first, second) == pytest.approx((0.0, (1.0 / 3.0 + 1.0) ** 0.5))
    assert np.isnan(mean_and_error(first[:1])[1])
    assert printed((2.0, 0.5), 1) == "2.0 ± 0.5" and printed((2.0, float("nan")), 1) == "2.0"
    assert stage_name("VRNN", "AVF, 2 iterations", 0) == "VRNN-AVF-2-iterations-0"


def test_only_a_part_moves():
    params = (jnp.ones(2), {"a": jnp.ones(3)})
    optimizer = only(lambda both: both[1], optax.sgd(0.5))
    updates, _ = optimizer.update((jnp.ones(2), {"a": jnp.ones(3)}), optimizer.init(params), params)
    np.testing.assert_array_equal(updates[0], 0.0)
    np.testing.assert_array_equal(updates[1]["a"], -0.5)
