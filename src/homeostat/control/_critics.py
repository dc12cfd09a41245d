"""Critics: an ensemble of action values in one stack of networks.

    Q_i(s, a),   i = 1..N

All networks of an ensemble are evaluated together, one product for each layer: their numbers are arrays with a leading axis.
"""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..nn import MLP
from ..results import BadInputError
from ..typing import Action, Array, Float, Int, Key, Nonlinearity, PyTree


class AbstractCritics(eqx.Module):
    """Values of an action in a state, one for each critic."""

    @abc.abstractmethod
    def __call__(self, state: Float[Array, " n"], action: Action) -> Float[Array, " critics"]:
        """Q_i(s, a) for every critic, in the unit of the reward."""


@final
class ContinuousCritics(AbstractCritics):
    """Networks that read state and action beside each other.

    Attributes:
        networks: one network whose arrays have a leading axis [critics]; see `stacked`.
    """

    networks: PyTree

    def __call__(self, state: Float[Array, " n"], action: Float[Array, " actions"]) -> Float[Array, " critics"]:
        return _each(self.networks, jnp.concatenate([state, action]))[:, 0]


@final
class DiscreteCritics(AbstractCritics):
    """Networks that read the state and give a value for every alternative.

    Attributes:
        networks: as for `ContinuousCritics`, with one output for each alternative.
    """

    networks: PyTree

    def __call__(self, state: Float[Array, " n"], action: Int[Array, ""]) -> Float[Array, " critics"]:
        return _each(self.networks, state)[:, action]


def stacked(make: Callable[[Key], PyTree], num: int, *, key: Key) -> PyTree:
    """`num` independently initialised modules as one, whose arrays have a leading axis.

    Args:
        make: builds one from a key.

    Raises:
        BadInputError: `num` is not positive.
    """
    if num < 1:
        raise BadInputError(f"Expected at least one critic, got {num}.")
    return eqx.filter_vmap(make)(jr.split(key, num))


def dense_critics(
    state_size: int,
    action_size: int,
    *,
    key: Key,
    num: int = 2,
    width: int = 256,
    depth: int = 2,
    activation: Nonlinearity = jax.nn.relu,
    normalize: bool = False,
    discrete: bool = False,
) -> AbstractCritics:
    """Dense critics as in soft actor-critic: two of 2 x 256 rectifiers.

    Args:
        state_size: numbers in a state.
        action_size: numbers in an action, or alternatives where it is discrete.
        num: N.
        width: units in each hidden layer.
        depth: hidden layers.
        normalize: layer normalisation before every nonlinearity, which bounds values of unseen actions (Ball et al., 2023).
        discrete: whether an action is one of `action_size` alternatives.
    """
    inputs, outputs = (state_size, action_size) if discrete else (state_size + action_size, 1)

    def make(key: Key) -> MLP:
        return MLP(inputs, outputs, width, depth, key=key, activation=activation, normalize=normalize)

    networks = stacked(make, num, key=key)
    return DiscreteCritics(networks) if discrete else ContinuousCritics(networks)


def _each(networks: PyTree, inputs: Float[Array, " n"]) -> Float[Array, "critics outputs"]:
    return eqx.filter_vmap(lambda network: network(inputs), in_axes=(eqx.if_array(0),))(networks)
