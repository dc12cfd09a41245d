"""Random numbers that stay the same on every machine and with every version of NumPy."""

import numpy as np

from ..results import BadInputError


def uniforms(count: int, *seed: int) -> np.ndarray:
    """`count` numbers in [0, 1) that depend on the numbers of `seed` alone.

    The first of them do not depend on `count`. Raw 64-bit outputs of a counter-based generator, the upper 53 bits as a
    fraction, as for `permutation`.

    References:
        NumPy Enhancement Proposal 19: random number generator policy.
    """
    if min(seed) < 0:
        raise BadInputError(f"Expected seeds and epochs of at least 0, got {seed}: pass whole numbers from 0 on.")
    bits = np.random.Philox(np.random.SeedSequence(seed)).random_raw(count)
    return (np.asarray(bits, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
