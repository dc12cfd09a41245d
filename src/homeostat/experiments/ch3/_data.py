"""The chapter's data, in three splits: learn on `train`, choose on `validation`, report on `test`.

The authors' code had no validation split and chose on the test images; here settings are chosen on rows of the official
training data that are set apart (see `homeostat.data`), and the test rows are read once, for the figures that are reported.
Without data, at scale `smoke`, small pictures of sprites and documents made of random topics stand in: they show that the code
runs, and nothing else.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...data import Splits, load_cifar10, load_mnist, load_newsgroups20, load_omniglot
from ...environments import PixelExact, SpriteGrid
from ...models.static import AbstractLikelihood, Bernoulli, ConditionalGaussian, Multinomial
from ...typing import Array, Float, Int, Key


class DataSet(enum.StrEnum):
    """Where observations come from."""

    mnist = "mnist"
    """Digits, 28 x 28, binarised anew in every batch."""
    omniglot = "omniglot"
    """Characters of many alphabets, 28 x 28, binarised anew in every batch."""
    cifar10 = "cifar10"
    """Colour photographs, 32 x 32 x 3, with uniform noise of one grey level."""
    newsgroups = "newsgroups"
    """Word counts of postings, 1,995 words; in place of RCV1."""
    sprites = "sprites"
    """Our own rendered dSprites, 16 x 16, binarised: needs no files."""
    topics = "topics"
    """Word counts drawn from random topics, 200 words: needs no files."""


@final
@dataclass(frozen=True)
class SplitData:
    """A data set as the experiments of this chapter use it: one row an observation, flat.

    Attributes:
        train: for learning, as stored (pixels uint8, counts uint16).
        validation: for every choice, and for curves during inference.
        test: for final figures alone.
        shape: of one observation as a picture; one axis for word counts.
        likelihood: p(x | features), the output density of the chapter for this data.
        prepare: `prepare(rows, key=...)` turns stored rows into observations: binarises, dequantises, or changes the type.
        features: from one observation to what a network reads.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shape: tuple[int, ...]
    likelihood: AbstractLikelihood
    prepare: Callable[..., Array]
    features: Callable[[Array], Array]

    @property
    def size(self) -> int:
        """Numbers in one observation."""
        return int(np.prod(self.shape))

    def prepared(self, rows: np.ndarray, num_rows: int, *, key: Key) -> Float[Array, "rows size"]:
        """The first `num_rows` of a split, prepared once and for all: what is compared must see the same pixels."""
        return jax.jit(self.prepare)(jnp.asarray(rows[:num_rows]), key=key)


def load_observations(dataset: DataSet) -> SplitData:
    """Load a data set; rows are in random order in each split only where their source is.

    Raises:
        BadInputError: the data is neither on this machine nor to be had.
    """
    match dataset:
        case DataSet.mnist:
            return binary_images(observed(load_mnist()))
        case DataSet.omniglot:
            return binary_images(observed(load_omniglot()))
        case DataSet.cifar10:
            return with_densities(binary_images(observed(load_cifar10())))
        case DataSet.newsgroups:
            return word_counts(observed(load_newsgroups20()))
        case DataSet.sprites:
            return binary_images(_sprites())
        case DataSet.topics:
            return word_counts(_topics())


def observed(splits: Splits) -> list[np.ndarray]:
    """Rows to learn from, to choose on and to report."""
    return [np.asarray(part.observations) for part in (splits.train, splits.validation, splits.test)]


def binary_images(parts: list[np.ndarray]) -> SplitData:
    """Grey images, binarised."""
    flat = [rows.reshape(len(rows), -1) for rows in parts]
    return SplitData(*flat, parts[0].shape[1:], Bernoulli(flat[0].shape[1:]), binarize, centred)


def with_densities(data: SplitData) -> SplitData:
    """The images with noise of one grey level and Gaussian output densities in place of binary pixels."""
    likelihood = ConditionalGaussian((data.size,), jax.nn.sigmoid)
    return replace(data, likelihood=likelihood, prepare=dequantize)


def word_counts(parts: list[np.ndarray]) -> SplitData:
    """Documents as counts of words."""
    shape = parts[0].shape[1:]
    return SplitData(*(rows.astype(np.uint16) for rows in parts), shape, Multinomial(*shape), as_counts, log_counts)


def binarize(rows: Array, *, key: Key) -> Float[Array, "rows size"]:
    """x ~ Bernoulli(grey / 255), drawn anew at every call: dynamic binarisation. Rows are unsigned integers.

    References:
        Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", 2008; Marino (thesis), Sec. 3.5.
    """
    # 16 random bits a pixel: half the cost of a real number, and white is black once in 65,536 pixels.
    thresholds = jr.bits(key, rows.shape, jnp.uint16)
    return (thresholds < rows.astype(jnp.uint16) * jnp.uint16(257)).astype(float)


def dequantize(rows: Array, *, key: Key) -> Float[Array, "rows size"]:
    """x = (pixel + u) / 256 with u ~ U(0, 1): densities of x then bound probabilities of pixels, log 256 nats a pixel apart."""
    return (rows.astype(float) + jr.uniform(key, rows.shape)) / 256.0


def as_counts(rows: Array, *, key: Key) -> Float[Array, "rows size"]:
    """Counts as real numbers."""
    return rows.astype(float)


def centred(observation: Float[Array, " size"]) -> Float[Array, " size"]:
    """x - 1/2, what the networks of the authors' code read."""
    return observation - 0.5


def log_counts(observation: Float[Array, " size"]) -> Float[Array, " size"]:
    """log(1 + x): a word that comes twenty times should not drown the others."""
    return jnp.log1p(observation)


def _sprites() -> list[np.ndarray]:
    generator, grid = np.random.default_rng(0), SpriteGrid()
    total = int(np.prod(grid.num_classes))
    index = generator.choice(total, 3_072, replace=False)
    latents = jnp.asarray(np.stack(np.unravel_index(index, grid.num_classes), axis=-1), jnp.int32)

    @jax.jit
    def pictures(latents: Int[Array, "n 5"]) -> Float[Array, "n 16 16"]:
        whole = jax.vmap(lambda one: PixelExact().render(one, grid))(latents)
        return jnp.mean(whole.reshape(-1, 16, 4, 16, 4).astype(float), axis=(2, 4))

    grey = np.concatenate([np.asarray(pictures(part)) for part in jnp.split(latents, 6)])
    pixels = np.round(255.0 * grey).astype(np.uint8)
    return np.split(pixels, (2_048, 2_560))


def _topics() -> list[np.ndarray]:
    generator, words = np.random.default_rng(0), 200
    topics = generator.dirichlet(np.full(words, 0.05), 8)
    mixtures = generator.dirichlet(np.full(len(topics), 0.3), 1_536)
    lengths = generator.integers(20, 200, len(mixtures))
    probabilities = mixtures @ topics
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    counts = np.stack([generator.multinomial(n, p) for n, p in zip(lengths, probabilities, strict=True)])
    return np.split(counts, (1_024, 1_280))
