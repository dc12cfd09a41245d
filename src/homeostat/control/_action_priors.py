"""Priors over actions, from which a policy is a posterior: what is done before any value is known."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree

from ..core import AbstractFamily, Bounded
from ..distributions import Categorical, SquashedGaussian
from ..results import BadInputError
from ..typing import Array, Distribution, Float, PyTree


class AbstractActionPrior(eqx.Module):
    """p(a | s)."""

    @abc.abstractmethod
    def __call__(self, state: PyTree) -> Distribution:
        """The prior in a state."""


@final
class UniformPrior(AbstractActionPrior):
    """Uniform over a box, or over alternatives.

    Attributes:
        spec: of actions.
    """

    spec: Bounded

    def __check_init__(self):
        _ = num_alternatives(self.spec) if self.spec.whole else _ends(self.spec)

    def __call__(self, state: PyTree) -> Distribution:
        if self.spec.whole:
            return dist.CategoricalLogits(jnp.zeros(num_alternatives(self.spec)), validate_args=False)
        low, high = _ends(self.spec)
        return dist.Uniform(jnp.asarray(low), jnp.asarray(high), validate_args=False).to_event(1)


@final
class FixedPrior(AbstractActionPrior):
    """One member of a family in every state, such as a Gaussian; nothing of it is learned.

    Attributes:
        family: of priors.
        params: of the member, flat, in the order of the family's own.
    """

    family: AbstractFamily
    params: tuple[float, ...] = eqx.field(static=True)

    def __check_init__(self):
        size = _flat(self.family)[0].size
        if len(self.params) != size:
            raise BadInputError(f"Expected {size} parameters of {type(self.family).__name__}, got {len(self.params)}.")

    def __call__(self, state: PyTree) -> Distribution:
        return self.family(_flat(self.family)[1](jnp.asarray(self.params, float)))


@final
class LearnedPrior(AbstractActionPrior):
    """A network's, learned with the policy: it is drawn to what policies do, so that the divergence charges surprise alone.

    Attributes:
        network: maps a state to parameters of the family, flat.
        family: of priors.

    References:
        Marino (thesis), Sec. 6.2, "p_theta(a | s)".
    """

    network: Callable[[PyTree], Float[Array, " k"]]
    family: AbstractFamily

    def __call__(self, state: PyTree) -> Distribution:
        initial, unravel = _flat(self.family)
        output = self.network(state)
        if output.shape != initial.shape:
            raise BadInputError(
                f"Expected a network with {initial.size} outputs for {type(self.family).__name__}, got shape {output.shape}."
            )
        return self.family(unravel(output))


def policy_family(spec: Bounded) -> SquashedGaussian | Categorical:
    """The usual family of policies for a spec: squashed Gaussians in its box, or one choice.

    Raises:
        BadInputError: there is no end to the actions, or they are several choices.
    """
    if spec.whole:
        return Categorical(num_alternatives(spec))
    low, high = _ends(spec)
    return SquashedGaussian(low.size, low.tolist(), high.tolist())


def num_alternatives(spec: Bounded) -> int:
    """How many actions there are to choose from, counted from `spec.low`.

    Raises:
        BadInputError: the action is not one whole number between bounds.
    """
    if not spec.whole or spec.shape or not np.all(np.isfinite([spec.low, spec.high])):
        raise BadInputError(
            f"Expected one choice among numbered alternatives, or a box of real numbers, got actions of shape {spec.shape} of "
            f"{'whole' if spec.whole else 'real'} numbers in [{spec.low}, {spec.high}]: number the combinations, or wrap the "
            f"environment."
        )
    return int(spec.high) - int(spec.low) + 1


def _ends(spec: Bounded) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.broadcast_to(np.asarray(end, np.float32), spec.shape).ravel() for end in (spec.low, spec.high))
    if not np.all(np.isfinite(low) & np.isfinite(high)):
        raise BadInputError(
            f"Expected actions between finite bounds, got [{spec.low}, {spec.high}]: rescale them, for instance by "
            f"gymnasium.wrappers.RescaleAction."
        )
    return low, high


def _flat(family: AbstractFamily) -> tuple[Array, Callable[[Array], PyTree]]:
    return ravel_pytree(family.init())
