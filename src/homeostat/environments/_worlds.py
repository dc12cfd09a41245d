"""Several worlds stepped together, whatever they are made of: what a learning agent acts in.

An episode that ends is followed by a new one in the next step, whose action is ignored and whose reward is zero, as with
`AutoReset` and Gymnasium's `AutoresetMode.NEXT_STEP`: so the last observation of an episode is seen, too.
"""

import abc
from typing import Generic, TypeVar, final

import equinox as eqx
import jax
import jax.random as jr

from ..core import AbstractEnvironment, Bounded
from ..results import BadInputError
from ..typing import Action, Key, Observation, PyTree
from ._episodes import AutoReset, TimeStep, next_time_step

WorldsState = TypeVar("WorldsState")


class AbstractWorlds(eqx.Module, Generic[WorldsState]):
    """Worlds of one kind, with a leading axis [worlds] on everything; steps may be taken inside `jit` and `scan`.

    Attributes:
        restorable: whether `restored` gives worlds that go on within their episodes; otherwise they begin new ones.
    """

    num_worlds: eqx.AbstractVar[int]
    restorable: eqx.AbstractVar[bool]

    @property
    @abc.abstractmethod
    def action_spec(self) -> PyTree[Bounded]:
        """What one action looks like."""

    @property
    @abc.abstractmethod
    def observation_spec(self) -> PyTree[Bounded]:
        """What one observation looks like."""

    @abc.abstractmethod
    def init(self, *, key: Key) -> tuple[WorldsState, Observation]:
        """Begin an episode everywhere: state and observations."""

    @abc.abstractmethod
    def step(self, state: WorldsState, actions: Action, *, key: Key) -> tuple[WorldsState, TimeStep]:
        """Act everywhere."""

    def stored(self, state: WorldsState) -> PyTree:
        """What a checkpoint holds; the state, unless the worlds live elsewhere."""
        return state

    def restored(self, initial: WorldsState, stored: PyTree) -> WorldsState:
        """The state again, from a new one and from what a checkpoint held."""
        return stored


@final
class FunctionalWorlds(AbstractWorlds[PyTree]):
    """Copies of an environment of this library, mapped over.

    Attributes:
        environment: one world; its episodes end with its task, or with a `TimeLimit` around it.
    """

    environment: AbstractEnvironment
    num_worlds: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_worlds < 1:
            raise BadInputError(f"Expected at least one world, got num_worlds={self.num_worlds}.")
        if self.environment.resets:
            raise BadInputError("Expected an environment that does not begin again by itself, got an `AutoReset`.")

    @property
    def restorable(self):
        return True

    @property
    def action_spec(self):
        return self.environment.action_spec

    @property
    def observation_spec(self):
        return self.environment.observation_spec

    def init(self, *, key):
        state_key, observe_key = jr.split(key)
        states = jax.vmap(lambda k: self.environment.initial(key=k))(jr.split(state_key, self.num_worlds))
        keys = jr.split(observe_key, self.num_worlds)
        return states, jax.vmap(lambda s, k: self.environment.observation(s, key=k))(states, keys)

    def step(self, state, actions, *, key):
        running = AutoReset(self.environment)
        keys = jr.split(key, self.num_worlds)
        return jax.vmap(lambda s, a, k: next_time_step(running, s, a, key=k))(state, actions, keys)
