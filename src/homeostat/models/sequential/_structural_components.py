"""Components of structural time series: trends, seasons, short memory and known inputs, each a block of a state.

A component is z' = A z + B u + L eps with a share r^T z in one output. Where it starts is a wide Gaussian and not a flat one, so
that the likelihood counts from the first step. The widths are for data with a deviation of one: a level within ten deviations of
their mean, waves and changes in one step within one. All that such data can have lies well inside, and a step or two outweigh it.

References:
    Harvey, "Forecasting, structural time series models and the Kalman filter", 1989, Ch. 2 (trends and seasons);
    Barndorff-Nielsen and Schou, "On the parametrization of autoregressive models by partial autocorrelations", 1973.
"""

import abc
import math
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag, solve_triangular

from ...results import BadInputError
from ...typing import Array, Float, Scalar

LEVEL_WIDTH, CHANGE_WIDTH, WAVE_WIDTH = 10.0, 1.0, 1.0
"""Initial deviations: of a level; of a slope, or of what inputs before the first step did; of each coordinate of a wave."""

SHORT_PERIOD, FEW_HARMONICS = 12.0, 3
"""Unless told otherwise, seasons of up to twelve steps have all waves, and longer ones, such as the weeks of a year, the slowest
three."""

LEAST_SCALE = 1e-6
"""Least deviation of the noise of a component, where it moves no more."""


class Block(NamedTuple):
    """A component as a part of a state: A, B, L, the initial factor, and r."""

    matrix: Float[Array, "k k"]
    control: Float[Array, "k a"]
    scale_tril: Float[Array, "k k"]
    initial_scale_tril: Float[Array, "k k"]
    row: Float[Array, " k"]


class Quantity(NamedTuple):
    """A number of interest that a state holds.

    Attributes:
        name: such as "level", or "season of 12 steps".
        row: r, by which a state is multiplied for it, [k].
        adds: whether it is a summand of the output; a slope is not, it enters the next level.
    """

    name: str
    row: np.ndarray
    adds: bool = True


class LearnedNumber(NamedTuple):
    """A learned number of a component.

    Attributes:
        name: what it is.
        value: a number, or an array.
        in_output_unit: whether it is counted in the unit of the output; otherwise it has none, or one of its own.
    """

    name: str
    value: Array
    in_output_unit: bool = True


class AbstractComponent(eqx.Module):
    """A summand of an output; its leaves are unconstrained parameters, the deviation of a noise by its logarithm."""

    @abc.abstractmethod
    def block(self) -> Block:
        """Its part of the state."""

    @abc.abstractmethod
    def quantities(self) -> tuple[Quantity, ...]:
        """What can be read from its part of the state."""

    @abc.abstractmethod
    def estimates(self, block: Block) -> tuple[LearnedNumber, ...]:
        """What was learned of it, from its part of a model."""

    def lowest(self) -> "AbstractComponent":
        """Lower bounds of the parameters; by default that of logarithms of deviations."""
        return jax.tree.map(lambda leaf: np.full(np.shape(leaf), math.log(LEAST_SCALE)), self)


@final
class Trend(AbstractComponent):
    """A level with or without a slope: mu' = mu + beta + s_mu eps,  beta' = phi beta + s_beta eps.

    Attributes:
        log_level_scale: log s_mu; None for a level that moves by its slope only.
        log_slope_scale: log s_beta; None for a level without a slope, a random walk.
        damping: phi = 1 / (1 + exp(-damping)), the part of the slope that remains after a step; None for phi = 1.
    """

    log_level_scale: Scalar | None = None
    log_slope_scale: Scalar | None = None
    damping: Scalar | None = None

    def __check_init__(self):
        if self.log_level_scale is None and self.log_slope_scale is None:
            raise BadInputError("Expected a level or a slope that moves: pass log_level_scale or log_slope_scale.")
        if self.log_slope_scale is None and self.damping is not None:
            raise BadInputError("Expected a slope where there is damping: pass log_slope_scale.")

    def block(self) -> Block:
        dtype = jnp.result_type(float)
        level = jnp.zeros((), dtype) if self.log_level_scale is None else jnp.exp(self.log_level_scale)
        if self.log_slope_scale is None:
            eye = jnp.eye(1, dtype=dtype)
            return Block(eye, eye[:, :0], level * eye, LEVEL_WIDTH * eye, eye[0])
        kept = jnp.ones((), dtype) if self.damping is None else jax.nn.sigmoid(self.damping)
        matrix = jnp.asarray([[1.0, 1.0], [0.0, 0.0]], dtype).at[1, 1].set(kept)
        noise = jnp.diag(jnp.stack([level, jnp.exp(self.log_slope_scale)]))
        initial = jnp.diag(jnp.asarray([LEVEL_WIDTH, CHANGE_WIDTH], dtype))
        return Block(matrix, matrix[:, :0], noise, initial, jnp.asarray([1.0, 0.0], dtype))

    def quantities(self) -> tuple[Quantity, ...]:
        if self.log_slope_scale is None:
            return (Quantity("level", np.ones(1)),)
        return Quantity("level", np.eye(2)[0]), Quantity("slope", np.eye(2)[1], adds=False)

    def estimates(self, block: Block) -> tuple[LearnedNumber, ...]:
        found, noise = [], jnp.diagonal(block.scale_tril)
        if self.log_level_scale is not None:
            found.append(LearnedNumber("noise of the level", noise[0]))
        if self.log_slope_scale is not None:
            found.append(LearnedNumber("noise of the slope", noise[1]))
        if self.damping is not None:
            found.append(LearnedNumber("slope kept after a step", block.matrix[1, 1], in_output_unit=False))
        return tuple(found)

    def lowest(self) -> "Trend":
        least, free = np.asarray(math.log(LEAST_SCALE)), np.asarray(-np.inf)
        leaves = (self.log_level_scale, self.log_slope_scale, self.damping)
        return Trend(*(None if leaf is None else low for leaf, low in zip(leaves, (least, least, free), strict=True)))


@final
class Season(AbstractComponent):
    """A sum of waves of periods s, s / 2, ..., s / h, whose sizes and phases drift: each is turned by 2 pi j / s in a step.

    The period is any real number above two steps. A wave of two steps has one coordinate, all others have two.

    Attributes:
        log_scale: logarithm of the deviation of the noise that every coordinate gets in a step.
        period: s, in steps.
        num_harmonics: h; by default all that fit in up to `SHORT_PERIOD` steps, and beyond that `FEW_HARMONICS`.
    """

    log_scale: Scalar
    period: float = eqx.field(static=True)
    num_harmonics: int = eqx.field(static=True)

    def __init__(self, log_scale: Array, period: float, num_harmonics: int | None = None):
        """Missing waves are chosen by the period.

        Raises:
            BadInputError: a period below two steps, or more waves than fit into it.
        """
        if not math.isfinite(period) or period < 2.0:
            raise BadInputError(f"Expected a period of at least 2 steps, got {period:g}.")
        most = math.floor(period / 2.0)
        self.log_scale, self.period = log_scale, float(period)
        usual = most if period <= SHORT_PERIOD else FEW_HARMONICS
        self.num_harmonics = usual if num_harmonics is None else num_harmonics
        if not 1 <= self.num_harmonics <= most:
            raise BadInputError(f"Expected 1 to {most} waves in a period of {period:g} steps, got {num_harmonics}.")

    def block(self) -> Block:
        turns = []
        for wave in range(1, self.num_harmonics + 1):
            angle = 2.0 * math.pi * wave / self.period
            cosine, sine = math.cos(angle), math.sin(angle)
            turns.append(np.array([[-1.0]]) if 2 * wave == self.period else np.array([[cosine, sine], [-sine, cosine]]))
        dtype = jnp.result_type(float)
        matrix = jnp.asarray(block_diag(*turns), dtype)
        eye = jnp.eye(len(matrix), dtype=dtype)
        return Block(
            matrix, eye[:, :0], jnp.exp(self.log_scale) * eye, WAVE_WIDTH * eye, jnp.asarray(self._row(), dtype)
        )

    def quantities(self) -> tuple[Quantity, ...]:
        return (Quantity(self.name, self._row()),)

    def estimates(self, block: Block) -> tuple[LearnedNumber, ...]:
        return (LearnedNumber(f"noise of the {self.name}", block.scale_tril[0, 0]),)

    @property
    def name(self) -> str:
        """Such as "season of 12 steps"."""
        return f"season of {self.period:g} steps"

    def _row(self) -> np.ndarray:
        pairs = np.tile([1.0, 0.0], self.num_harmonics)
        return pairs[:-1] if 2 * self.num_harmonics == self.period else pairs


@final
class Autoregression(AbstractComponent):
    """A stationary remainder x_t = a_1 x_{t-1} + ... + a_p x_{t-p} + s eps, from its stationary distribution on.

    Attributes:
        log_scale: log s.
        partial: inverse hyperbolic tangents of the partial autocorrelations, [p], p >= 1: any numbers are a stationary process.
    """

    log_scale: Scalar
    partial: Float[Array, " p"]

    def block(self) -> Block:
        partial = jnp.tanh(self.partial)
        order, dtype = partial.shape[0], partial.dtype
        # Coefficients of the best predictions from 0, ..., p past values, by Durbin and Levinson.
        found = [jnp.zeros(0, dtype)]
        for value in partial:
            found.append(jnp.concatenate([found[-1] - value * found[-1][::-1], value[None]]))
        scale = jnp.exp(self.log_scale)
        matrix = jnp.concatenate([found[-1][None, :], jnp.eye(order - 1, order, dtype=dtype)])
        # Coordinates are x_t, x_{t-1}, ..., whose joint law is the same in either direction of time: each is predicted from
        # those before it with deviations s / sqrt(prod (1 - r_k^2)) over the orders that are not used yet.
        rows = [jnp.pad(found[index][::-1], (0, order - index)) for index in range(order)]
        remaining = jnp.cumprod((1.0 - partial**2)[::-1])[::-1]
        predict = jnp.eye(order, dtype=dtype) - jnp.stack(rows)
        initial = solve_triangular(predict, jnp.diag(scale / jnp.sqrt(remaining)), lower=True)
        eye = jnp.eye(order, dtype=dtype)
        return Block(matrix, eye[:, :0], scale * jnp.outer(eye[0], eye[0]), initial, eye[0])

    def quantities(self) -> tuple[Quantity, ...]:
        return (Quantity("autoregression", np.eye(self.partial.shape[0])[0]),)

    def estimates(self, block: Block) -> tuple[LearnedNumber, ...]:
        return (
            LearnedNumber("noise of the autoregression", block.scale_tril[0, 0]),
            LearnedNumber("coefficients of the autoregression", block.matrix[0], in_output_unit=False),
        )

    def lowest(self) -> "Autoregression":
        return Autoregression(np.asarray(math.log(LEAST_SCALE)), np.full(self.partial.shape, -np.inf))


@final
class KnownInputs(AbstractComponent):
    """The effect b^T u of what is known, at the step after it acts: a coordinate that remembers nothing.

    What inputs before the first step did is not known, so that the first value is as wide as data vary.

    Attributes:
        effects: b, change of the output for a unit of each input, [a].
    """

    effects: Float[Array, " a"]

    def block(self) -> Block:
        one = jnp.ones((1, 1), self.effects.dtype)
        # The least noise, because smoothers divide by the covariance of what is predicted.
        return Block(0.0 * one, self.effects[None, :], LEAST_SCALE * one, CHANGE_WIDTH * one, one[0])

    def quantities(self) -> tuple[Quantity, ...]:
        return (Quantity("known inputs", np.ones(1)),)

    def estimates(self, block: Block) -> tuple[LearnedNumber, ...]:
        # Of each input, in its unit: `emission_matrix @ control` has them for all outputs.
        return ()

    def lowest(self) -> "KnownInputs":
        return KnownInputs(np.full(self.effects.shape, -np.inf))
