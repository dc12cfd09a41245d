"""Orders of rows that stay the same on every machine and with every version of NumPy."""

import numpy as np

from ..results import BadInputError


def permutation(num_rows: int, *seed: int) -> np.ndarray:
    """A permutation of 0..num_rows-1 that depends on `num_rows` and the numbers of `seed` alone.

    It sorts raw 64-bit outputs of a counter-based generator: unlike the methods of `numpy.random.Generator`, whose
    algorithms may change between versions, raw outputs are promised to stay.

    References:
        NumPy Enhancement Proposal 19: random number generator policy.
    """
    if min(seed) < 0:
        raise BadInputError(f"Expected seeds and epochs of at least 0, got {seed}: pass whole numbers from 0 on.")
    bits = np.random.Philox(np.random.SeedSequence(seed)).random_raw(num_rows)
    return np.argsort(bits, kind="stable")
