"""The scan helper: weak types, other precisions, carries with modules, and what a body may not change."""

from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat._scan import scan
from homeostat.nn import MLP
from homeostat.results import BadInputError


class Pair(NamedTuple):
    number: object
    other: object


def test_a_start_of_another_type_is_cast():
    start = Pair(jnp.zeros((), jnp.float32), jnp.asarray(1))
    end, path = scan(lambda c, x: (Pair(c.number + x, c.other * 2.0), c.number), start, jnp.arange(3.0))
    assert end.number.dtype == end.other.dtype == jnp.result_type(float)
    np.testing.assert_array_equal(path, [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(end.other, 8.0)
    assert not end.number.weak_type


def test_a_carry_may_hold_modules_and_keys(key):
    network = MLP(2, 2, 3, 1, key=key)
    (_, value, last), _ = scan(
        lambda c, _: ((c[0], c[0](c[1]), jr.split(c[2], 1)[0]), None), (network, jnp.ones(2), key), length=2
    )
    np.testing.assert_allclose(value, network(network(jnp.ones(2))))
    assert last.dtype == key.dtype


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda c, _: (c[None], None), r"of shape \(\) became  of shape \(1,\)"),
        (lambda c, _: ((c, c), None), "keep its structure"),
    ],
)
def test_what_changed_is_said(body, message):
    with pytest.raises(BadInputError, match=message):
        scan(body, jnp.zeros(()), length=2)
