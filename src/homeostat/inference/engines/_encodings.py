"""What an update network reads: the estimate, the gradient, prediction errors and the data, each in a form of its own."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp

from ...distributions import split_levels
from ...objectives import Errors
from ...results import BadInputError
from ...typing import Array, Coefficient, Float, PyTree


def _no_errors() -> Errors:
    raise BadInputError("Expected feedback with prediction errors, got none: pass `errors=` to `Feedback`.")


@final
class Feedback(eqx.Module):
    """What an update network may read at one iteration.

    Attributes:
        estimate: current parameters, flat.
        gradient: gradient of the objective with respect to them, in nats per unit; no gradient flows through it.
        args: what the problem depends on.
        errors: gives the prediction errors at the estimate, computed only if an encoding asks.
    """

    estimate: Float[Array, " k"]
    gradient: Float[Array, " k"]
    args: PyTree
    errors: Callable[[], Errors] = _no_errors

    def level(self, index: int, dims: tuple[int, ...]) -> "Feedback":
        """What concerns one level: its share of every parameter, its own error and that of the level below it.

        Args:
            index: of the level, 0 for the lowest; the level below that one is the data.
            dims: variables of each level.

        Raises:
            BadInputError: the parameters are not some for each variable.
        """
        size = sum(dims)
        if self.estimate.size % size:
            raise BadInputError(
                f"Expected a factorised family, with as many parameters for each of {size} variables, got "
                f"{self.estimate.size} parameters: use `DiagonalGaussian`, or one network for all levels (`Iterative`)."
            )

        def share(flat: Array) -> Array:
            return jnp.concatenate([split_levels(row, dims)[index] for row in flat.reshape(-1, size)])

        def errors() -> Errors:
            every = self.errors()
            latent, weighted = split_levels(every.latent, dims), split_levels(every.weighted_latent, dims)
            below = (
                (every.observation, every.weighted_observation)
                if index == 0
                else (latent[index - 1], weighted[index - 1])
            )
            return Errors(below[0], latent[index], below[1], weighted[index])

        return Feedback(share(self.estimate), share(self.gradient), self.args, errors)


class AbstractEncoding(eqx.Module):
    """One input of an update network."""

    @abc.abstractmethod
    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        """The encoded vector."""


@final
class Estimate(AbstractEncoding):
    """The current parameters."""

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        return feedback.estimate


@final
class LogGradient(AbstractEncoding):
    """(log |g| / p clipped at -1, sign g or e^p g): magnitude and sign apart, for gradients of any scale.

    Attributes:
        decades: p, natural-log range below which a gradient counts as zero.

    References:
        Andrychowicz et al., "Learning to learn by gradient descent by gradient descent", NeurIPS 2016, Appendix A;
        Marino, Yue and Mandt, "Iterative amortized inference", ICML 2018, feed log |g| and sign g.
    """

    decades: Coefficient = 10.0

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        gradient = feedback.gradient
        magnitude = jnp.abs(gradient)
        large = magnitude >= jnp.exp(-self.decades)
        log = jnp.where(large, jnp.log(jnp.where(large, magnitude, 1.0)) / self.decades, -1.0)
        sign = jnp.where(large, jnp.sign(gradient), jnp.exp(self.decades) * gradient)
        return jnp.concatenate([log, sign])


@final
class InferenceGradient(AbstractEncoding):
    """The gradient as it is, in nats per unit (Eq. 3.2)."""

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        return feedback.gradient


@final
class PredictionErrors(AbstractEncoding):
    """E_q[x - mu_x] and E_q[z - mu_p]: errors without their precisions."""

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        errors = feedback.errors()
        return jnp.concatenate([errors.observation, errors.latent])


@final
class WeightedErrors(AbstractEncoding):
    """eps_x and eps_z: precision-weighted errors, from which a network may make more than a first derivative.

    References:
        Marino (thesis), Eqs. 3.5, 3.6 and 3.8.
    """

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        errors = feedback.errors()
        return jnp.concatenate([errors.weighted_observation, errors.weighted_latent])


@final
class Normalized(AbstractEncoding):
    """Layer normalisation of another encoding of one example, (v - mean v) / (std v + epsilon), part by part.

    Attributes:
        encoding: gives v.
        parts: number of equal parts that are normalised apart, such as the gradients of mu and of log sigma.
        epsilon: floor of the standard deviation, in the unit of v.

    References:
        Marino (thesis), Sec. 3.5, "Models": each input is layer-normalised by itself.
    """

    encoding: AbstractEncoding
    parts: int = eqx.field(static=True, default=1)
    epsilon: Coefficient = 1e-5

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        vector = self.encoding(feedback)
        if vector.size % self.parts:
            raise BadInputError(
                f"Expected an encoding that falls into {self.parts} equal parts, got {vector.size} numbers."
            )
        rows = vector.reshape(self.parts, -1)
        centred = rows - jnp.mean(rows, axis=1, keepdims=True)
        return (centred / (jnp.std(rows, axis=1, keepdims=True) + self.epsilon)).ravel()


@final
class Data(AbstractEncoding):
    """Features of what the problem depends on, such as the observation.

    Attributes:
        features: maps `args` to a vector; may be a network, which is then trained with the engine.
    """

    features: Callable[[PyTree], Float[Array, " n"]]

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        return self.features(feedback.args)
