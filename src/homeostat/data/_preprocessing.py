"""Grey values made binary or continuous, by a NumPy generator that the caller seeds."""

import abc
from dataclasses import dataclass
from typing import final

import numpy as np

from ..results import BadInputError


def binarize(grey: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
    """One draw of black and white pixels whose probabilities are the grey values: x ~ Bernoulli(grey).

    "Dynamic" binarisation draws anew in every epoch.

    Args:
        grey: uint8 in 0..255, or real numbers in [0, 1].

    Returns:
        uint8 zeros and ones of the same shape.

    References:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks.
    """
    if grey.dtype == np.uint8:
        # 255 equally likely thresholds 0..254: white stays white, black stays black, without a real number.
        return (generator.integers(0, 255, grey.shape, dtype=np.uint8) < grey).astype(np.uint8)
    if grey.dtype.kind != "f" or not bool(np.all((grey >= 0) & (grey <= 1))):
        raise BadInputError(
            f"Expected grey values as uint8 in 0..255 or as real numbers from 0 to 1, got {grey.dtype} with values "
            f"outside: scale them."
        )
    return (generator.random(grey.shape, dtype=np.float32) < grey).astype(np.uint8)


class AbstractDequantization(abc.ABC):
    """Noise that turns whole pixel values into real ones, so that a density can be fitted."""

    @abc.abstractmethod
    def __call__(self, pixels: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
        """Real values of 32 bits of the same shape."""


@final
@dataclass(frozen=True)
class UniformDequantization(AbstractDequantization):
    """x = (pixel + u) / 256 with u ~ U(0, 1), in [0, 1).

    The log-density of x, integrated over u, bounds the log-probability of the pixel: log P(pixel) >= E log p(x) - log
    256 per dimension.

    References:
        Uria, Murray and Larochelle (2013), RNADE, Section 5.1; Theis, van den Oord and Bethge (2016), A note on the
        evaluation of generative models, Section 3.1.
    """

    def __call__(self, pixels: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
        noise = generator.random(pixels.shape, dtype=np.float32)
        # 255 + the largest float32 below 1 rounds to 256: keep the interval half open.
        return np.minimum((pixels + noise) / np.float32(256), np.nextafter(np.float32(1), np.float32(0)))


@final
@dataclass(frozen=True)
class ClippedDequantization(AbstractDequantization):
    """x = clip(pixel + u, 0, 255) / 255 with u ~ U(-1/2, 1/2): what the authors' code does for CIFAR-10.

    Clipping piles half of the noise of black and of white pixels up on 0 and 1, so no density exists there, and the
    bound on the log-probability does not hold; it is here to compare with published figures only.

    References:
        Marino, Yue and Mandt (2018), Iterative amortized inference; the CIFAR-10 preparation of their published code.
    """

    def __call__(self, pixels: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
        noise = generator.random(pixels.shape, dtype=np.float32) - np.float32(0.5)
        return np.clip(pixels + noise, np.float32(0), np.float32(255)) / np.float32(255)


_UNIFORM = UniformDequantization()


def dequantize(
    pixels: np.ndarray, *, generator: np.random.Generator, method: AbstractDequantization = _UNIFORM
) -> np.ndarray:
    """Pixels of 8 bits with noise, as real numbers from 0 to 1.

    Returns:
        float32 of the same shape.
    """
    if pixels.dtype != np.uint8:
        raise BadInputError(f"Expected pixels of 8 bits (uint8), got {pixels.dtype}: pass the data as loaded.")
    return method(pixels, generator=generator)
