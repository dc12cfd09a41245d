"""Amortized engines: a network maps what a problem depends on to parameters, at once or by learned updates."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ...core import AbstractEngine, AbstractObjective, StepInfo, check_differentiable
from ...nn import AbstractRecurrent
from ...objectives import AbstractPredictive, Errors
from ...results import BadInputError
from ...typing import Any, Array, Distribution, Float, Key, Params, PyTree, Scalar
from ._encodings import AbstractEncoding, Estimate, Feedback, LogGradient
from ._updates import AbstractUpdateRule, Gated


@final
class Direct(AbstractEngine[Params, None]):
    """lambda = encoder(args): one feedforward pass, whatever the current estimate is.

    Attributes:
        encoder: maps `args` to a flat vector of parameters (or to the parameters themselves).

    References:
        Marino (thesis), Eq. 2.28.
    """

    encoder: Callable[[PyTree], PyTree]

    def init(self, objective, family, params, args):
        return None

    def step(self, objective, family, params, args, state, *, key):
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


class AbstractFeedbackEngine(AbstractEngine[Params, PyTree]):
    """An engine that learns to turn errors and gradients at the estimate into the next estimate.

    One gradient serves twice: as the input of an iteration and, by `StepInfo.gradient`, as the training signal of the one before.
    """

    detach: eqx.AbstractVar[Callable[[Array], Array]]

    @abc.abstractmethod
    def start(self) -> PyTree:
        """State before the first proposal."""

    @abc.abstractmethod
    def propose(self, feedback: Feedback, state: PyTree) -> tuple[Float[Array, " k"], PyTree]:
        """The next estimate, flat, and the next state."""

    def init(self, objective, family, params, args):
        check_differentiable(objective, family)
        return self.start()

    def step(self, objective, family, params, args, state, *, key):
        flat, unravel = ravel_pytree(params)
        estimate = self.detach(flat)

        def energy(vector: Float[Array, " k"]) -> Scalar:
            return objective(family(unravel(vector)), args, key=key)

        value, gradient = jax.value_and_grad(energy)(estimate)
        feedback = feedback_at(objective, family(unravel(estimate)), estimate, gradient, args, key=key)
        proposal, state = self.propose(feedback, state)
        return unravel(proposal.astype(flat.dtype)), state, StepInfo(value, unravel(jax.lax.stop_gradient(gradient)))


def feedback_at(
    objective: AbstractObjective,
    distribution: Distribution,
    estimate: Float[Array, " k"],
    gradient: Float[Array, " k"],
    args: PyTree,
    *,
    key: Key,
) -> Feedback:
    """Feedback at an estimate; neither the gradient nor the errors pass gradients on."""

    def errors() -> Errors:
        if not isinstance(objective, AbstractPredictive):
            raise BadInputError(
                f"Expected an energy with prediction errors, such as `FreeEnergy`, got {type(objective).__name__}: use an engine "
                f"that reads gradients instead."
            )
        return jax.lax.stop_gradient(objective.errors(distribution, args, key=key))

    return Feedback(estimate, jax.lax.stop_gradient(gradient), args, errors)


@final
class Iterative(AbstractFeedbackEngine[Params]):
    """lambda_{k+1} = update(lambda_k, network(encodings of grad F, lambda_k, errors, x)): iterative amortized inference.

    Estimate, gradient and errors enter as constants, so that no gradient flows between iterations, unless `detach` is the
    identity.

    Attributes:
        network: maps the concatenated encodings to `update.outputs(number of parameters)` values; may be an
            `nn.AbstractRecurrent`, which then remembers earlier iterations.
        encodings: inputs of the network.
        update: how its output changes the estimate.
        detach: applied to the estimate before it is used; `jax.lax.stop_gradient` (default) trains every iteration by
            itself, the identity trains the unrolled chain.
        bound: applied to the new estimate, such as `BoundLogScale()`, which keeps an untrained network from infinite variances.

    References:
        Marino, Yue and Mandt, "Iterative amortized inference", ICML 2018; Marino (thesis), Eqs. 3.1, 3.2, 3.8 and 3.12.
    """

    network: Callable[..., Any]
    encodings: tuple[AbstractEncoding, ...] = (Estimate(), LogGradient())
    update: AbstractUpdateRule = Gated()
    detach: Callable[[Array], Array] = eqx.field(static=True, default=jax.lax.stop_gradient)
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] | None = None

    def start(self) -> PyTree:
        return self.network.init() if isinstance(self.network, AbstractRecurrent) else None

    def propose(self, feedback: Feedback, state: PyTree) -> tuple[Float[Array, " k"], PyTree]:
        inputs = jnp.concatenate([encoding(feedback) for encoding in self.encodings])
        if isinstance(self.network, AbstractRecurrent):
            output, state = self.network(inputs, state)
        else:
            output = self.network(inputs)
        expected = self.update.outputs(feedback.estimate.size)
        if output.shape != (expected,):
            raise BadInputError(
                f"Expected a network with {expected} outputs for {type(self.update).__name__} on {feedback.estimate.size} "
                f"parameters, got shape {output.shape}."
            )
        proposal = self.update(feedback, output)
        return (proposal if self.bound is None else self.bound(proposal)), state


@final
class LevelwiseIterative(AbstractFeedbackEngine[Params]):
    """Iterative amortized inference with a network for each level of a hierarchy, all updated from one gradient.

    Every level reads its own estimate, gradient and error, and the error of the level below: bottom-up and top-down at once.

    Attributes:
        levels: an engine for each level, the lowest first.
        dims: variables of each level.
        detach: as for `Iterative`; that of the levels is not used.

    References:
        Marino (thesis), Eq. 3.7 and Fig. 3.4.
    """

    levels: tuple[Iterative, ...]
    dims: tuple[int, ...] = eqx.field(static=True)
    detach: Callable[[Array], Array] = eqx.field(static=True, default=jax.lax.stop_gradient)

    def __check_init__(self):
        if len(self.levels) != len(self.dims):
            raise BadInputError(f"Expected one engine for each of {len(self.dims)} levels, got {len(self.levels)}.")

    def start(self) -> PyTree:
        return tuple(level.start() for level in self.levels)

    def propose(self, feedback: Feedback, state: PyTree) -> tuple[Float[Array, " k"], PyTree]:
        proposals, states = [], []
        for index, (level, before) in enumerate(zip(self.levels, state, strict=True)):
            proposal, after = level.propose(feedback.level(index, self.dims), before)
            proposals.append(proposal.reshape(-1, self.dims[index]))
            states.append(after)
        return jnp.concatenate(proposals, axis=1).ravel(), tuple(states)
