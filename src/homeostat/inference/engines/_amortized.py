"""Amortized engines: a network maps what a problem depends on to parameters, at once or by learned updates."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ...core import AbstractEngine, AbstractFamily, AbstractObjective, StepInfo
from ...results import BadInputError
from ...typing import Array, Coefficient, Float, Key, Params, PyTree, Scalar


@final
class Direct(AbstractEngine[Params, None]):
    """lambda = encoder(args): one feedforward pass, whatever the current estimate is.

    Attributes:
        encoder: maps `args` to a flat vector of parameters (or to the parameters themselves).

    References:
        Marino (thesis), Eq. 2.28.
    """

    encoder: Callable[[PyTree], PyTree]

    def init(self, objective: AbstractObjective, family: AbstractFamily[Params], params: Params, args: PyTree) -> None:
        return None

    def step(
        self,
        objective: AbstractObjective,
        family: AbstractFamily[Params],
        params: Params,
        args: PyTree,
        state: None,
        *,
        key: Key,
    ) -> tuple[Params, None, StepInfo]:
        energy = objective(family(params), args, key=key)
        output = self.encoder(args)
        if eqx.is_array(output):
            flat, unravel = ravel_pytree(params)
            if output.shape != flat.shape:
                raise BadInputError(
                    f"Expected an encoder with {flat.size} outputs for {type(family).__name__}, got shape {output.shape}."
                )
            output = unravel(output.astype(flat.dtype))
        return output, None, StepInfo(energy)


@final
class Feedback(eqx.Module):
    """What an update network may read at one iteration.

    Attributes:
        estimate: current parameters, flat.
        gradient: gradient of the objective with respect to them, in nats per unit; no gradient flows through it.
        args: what the problem depends on.
    """

    estimate: Float[Array, " k"]
    gradient: Float[Array, " k"]
    args: PyTree


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
class NormalizedGradient(AbstractEncoding):
    """Layer-normalised gradient, (g - mean g) / (std g + epsilon), of one example.

    Attributes:
        epsilon: floor of the standard deviation, in nats per unit.

    References:
        Marino (thesis), Sec. 3.5, "Models": each input is layer-normalised by itself.
    """

    epsilon: Coefficient = 1e-5

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        gradient = feedback.gradient
        return (gradient - jnp.mean(gradient)) / (jnp.std(gradient) + self.epsilon)


@final
class Data(AbstractEncoding):
    """Features of what the problem depends on, such as the observation.

    Attributes:
        features: maps `args` to a vector; may be a network, which is then trained with the engine.
    """

    features: Callable[[PyTree], Float[Array, " n"]]

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        return self.features(feedback.args)


class AbstractUpdateRule(eqx.Module):
    """How network outputs change the estimate."""

    @abc.abstractmethod
    def outputs(self, size: int) -> int:
        """Number of network outputs for `size` parameters."""

    @abc.abstractmethod
    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        """The new estimate."""


@final
class Gated(AbstractUpdateRule):
    """lambda <- g lambda + (1 - g) proposal, g = sigmoid(gate): the highway update of Eq. 3.12.

    Attributes:
        gate_bias: added to the gate's input; positive values start near the identity.

    References:
        Marino (thesis), Eq. 3.12.
    """

    gate_bias: Coefficient = 0.0

    def outputs(self, size: int) -> int:
        return 2 * size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        proposal, gate = jnp.split(output, 2)
        gate = jax.nn.sigmoid(gate + self.gate_bias)
        return gate * feedback.estimate + (1.0 - gate) * proposal


@final
class Residual(AbstractUpdateRule):
    """lambda <- lambda + scale * output.

    Attributes:
        scale: multiplies the output, in the parameters' unit.
    """

    scale: Coefficient = 1.0

    def outputs(self, size: int) -> int:
        return size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        return feedback.estimate + self.scale * output


@final
class LearnedSGD(AbstractUpdateRule):
    """lambda <- lambda - sigmoid(rate) g + offset, a learned step size for the raw gradient.

    References:
        Marino, Cvitkovic and Yue, "A general method for amortizing variational filtering", NeurIPS 2018 (code).
    """

    def outputs(self, size: int) -> int:
        return 2 * size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        offset, rate = jnp.split(output, 2)
        return feedback.estimate - jax.nn.sigmoid(rate) * feedback.gradient + offset


@final
class Iterative(AbstractEngine[Params, None]):
    """lambda_{k+1} = update(lambda_k, network(encodings of grad F, lambda_k, x)): iterative amortized inference.

    Estimate and gradient enter as constants, so that no gradient flows between iterations, unless `detach` is the identity.

    Attributes:
        network: maps the concatenated encodings to `update.outputs(number of parameters)` values.
        encodings: inputs of the network.
        update: how its output changes the estimate.
        detach: applied to the estimate before it is used; `jax.lax.stop_gradient` (default) trains every iteration by
            itself, the identity trains the unrolled chain.

    References:
        Marino, Yue and Mandt, "Iterative amortized inference", ICML 2018; Marino (thesis), Eqs. 3.1, 3.2 and 3.12.
    """

    network: Callable[[Float[Array, " n"]], Float[Array, " m"]]
    encodings: tuple[AbstractEncoding, ...] = (Estimate(), LogGradient())
    update: AbstractUpdateRule = Gated()
    detach: Callable[[Array], Array] = eqx.field(static=True, default=jax.lax.stop_gradient)

    def init(self, objective: AbstractObjective, family: AbstractFamily[Params], params: Params, args: PyTree) -> None:
        return None

    def step(
        self,
        objective: AbstractObjective,
        family: AbstractFamily[Params],
        params: Params,
        args: PyTree,
        state: None,
        *,
        key: Key,
    ) -> tuple[Params, None, StepInfo]:
        flat, unravel = ravel_pytree(params)
        flat = self.detach(flat)

        def energy(vector: Float[Array, " k"]) -> Scalar:
            return objective(family(unravel(vector)), args, key=key)

        value, gradient = jax.value_and_grad(energy)(flat)
        feedback = Feedback(flat, jax.lax.stop_gradient(gradient), args)
        inputs = jnp.concatenate([encoding(feedback) for encoding in self.encodings])
        output = self.network(inputs)
        expected = self.update.outputs(flat.size)
        if output.shape != (expected,):
            raise BadInputError(
                f"Expected a network with {expected} outputs for {type(self.update).__name__} on {flat.size} parameters, "
                f"got shape {output.shape}."
            )
        return unravel(self.update(feedback, output).astype(flat.dtype)), None, StepInfo(value)
