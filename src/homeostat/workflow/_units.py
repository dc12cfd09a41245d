"""Units in which a model sees numbers, and the way back to those of the data."""

from typing import NamedTuple

import numpy as np


class Scaling(NamedTuple):
    """An affine map of every entry: x' = (x / divisor - loc) / scale, or x / divisor alone.

    Attributes:
        divisor: what numbers are divided by.
        loc: mean of the training data after division, a number or one for each entry.
        scale: their standard deviation; 1 where they do not vary.
        standardized: whether the model sees (x / divisor - loc) / scale.
    """

    divisor: float
    loc: np.ndarray
    scale: np.ndarray
    standardized: bool

    @property
    def unit(self) -> np.ndarray:
        """dx / dx' of each entry."""
        return self.divisor * (self.scale if self.standardized else np.ones_like(self.scale))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers as the model sees them, in the type they have or, standardised, in 64 bits.

        Numbers that vary little around a large one (times, pressures) would lose their digits in 32 bits.
        """
        if self.standardized:
            return (values.astype(np.float64) / self.divisor - self.loc) / self.scale
        return values if self.divisor == 1.0 else values / values.dtype.type(self.divisor)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit of the stored numbers."""
        if self.standardized:
            values = values.astype(np.float64) * self.scale + self.loc
        return values * values.dtype.type(self.divisor)
