"""Orders of rows and random numbers that stay the same on every machine and with every version of NumPy.

Both are made of raw 64-bit outputs of a counter-based generator: unlike the methods of `numpy.random.Generator`, whose algorithms may
change between versions, raw outputs are promised to stay.

References:
    NumPy Enhancement Proposal 19: random number generator policy.
"""

import numpy as np

from ..results import BadInputError


def permutation(num_rows: int, *seed: int) -> np.ndarray:
    """A permutation of 0..num_rows-1 that depends on `num_rows` and the numbers of `seed` alone."""
    return np.argsort(_raw(num_rows, seed), kind="stable")


def uniforms(count: int, *seed: int) -> np.ndarray:
    """`count` numbers in [0, 1) that depend on the numbers of `seed` alone; the first of them do not depend on `count`."""
    # The upper 53 bits as a fraction.
    return (_raw(count, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _raw(count: int, seed: tuple[int, ...]) -> np.ndarray:
    if min(seed) < 0:
        raise BadInputError(f"Expected seeds and epochs of at least 0, got {seed}: pass whole numbers from 0 on.")
    return np.asarray(np.random.Philox(np.random.SeedSequence(seed)).random_raw(count), np.uint64)
