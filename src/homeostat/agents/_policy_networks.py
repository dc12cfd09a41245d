"""Policy engines made of networks: one that names a policy at once, and one that improves it."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree

from ..core import AbstractFamily
from ..inference.engines import AbstractEncoding, BoundLogScale, Data, Direct, Estimate, Iterative, LogGradient
from ..nn import MLP
from ..objectives import ActionProblem
from ..typing import Array, Float, Key, Nonlinearity, PyTree

STATE_BOUND = BoundLogScale(-20.0, 2.0)
"""Of log sigma, before squashing (Haarnoja et al., 2018, code)."""


@final
class StateEncoder(eqx.Module):
    """Parameters of a policy from the state alone.

    Attributes:
        network: maps the state to parameters of the family, flat.
        bound: applied to them.
    """

    network: Callable[[PyTree], Float[Array, " k"]]
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] | None = None

    def __call__(self, problem: ActionProblem) -> Float[Array, " k"]:
        params = self.network(problem.state)
        return params if self.bound is None else self.bound(params)


def state_of(problem: ActionProblem) -> PyTree:
    """The state of a problem, for networks that read it beside the estimate."""
    return problem.state


def direct_policy(
    family: AbstractFamily,
    state_size: int,
    *,
    key: Key,
    width: int = 256,
    depth: int = 2,
    activation: Nonlinearity = jax.nn.relu,
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] | None = STATE_BOUND,
) -> Direct:
    """A network that names the policy in a state at once, as in soft actor-critic.

    Args:
        family: of policies.
        state_size: numbers in a state.
        width: units in each hidden layer.
        depth: hidden layers.
        bound: applied to the parameters; None for families other than Gaussian ones.
    """
    return Direct(StateEncoder(MLP(state_size, _size(family), width, depth, key=key, activation=activation), bound))


def iterative_policy(
    family: AbstractFamily,
    state_size: int,
    *,
    key: Key,
    width: int = 256,
    depth: int = 2,
    activation: Nonlinearity = jax.nn.relu,
    encodings: tuple[AbstractEncoding, ...] = (Estimate(), LogGradient()),
    reads_state: bool = True,
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] | None = STATE_BOUND,
) -> Iterative:
    """A network that improves the policy in a state from the energy's gradient at it, by gated updates.

    Its output starts at zero: half of the estimate is kept at first, and nothing is proposed.

    Args:
        family: of policies.
        state_size: numbers in a state.
        width: units in each hidden layer.
        depth: hidden layers.
        encodings: of estimate and gradient.
        reads_state: whether the network sees the state too, which the energy knows already.
        bound: applied to every estimate; None for families other than Gaussian ones.

    References:
        Marino (thesis), Eqs. 6.10 and 6.11; the code of Marino et al. (2020) for the start at zero.
    """
    size = _size(family)
    seen = sum(2 * size if isinstance(encoding, LogGradient) else size for encoding in encodings)
    inputs = seen + (state_size if reads_state else 0)
    network = MLP(inputs, 2 * size, width, depth, key=key, activation=activation, output_gain=0.0)
    encodings = (Data(state_of), *encodings) if reads_state else encodings
    return Iterative(network, encodings, bound=bound)


def _size(family: AbstractFamily) -> int:
    return ravel_pytree(family.init())[0].size
