"""Gymnasium's environments as worlds that compiled code steps: the environment on the host, called back at every step."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from jax.experimental import io_callback

from ...core import Bounded
from ...results import BadInputError
from ...typing import Array, Int, Key, PyTree
from .._episodes import TimeStep
from .._worlds import AbstractWorlds
from ._snapshot import is_restorable, restore, snapshot
from ._spaces import spec_of


class HostState(NamedTuple):
    """What of worlds on the host is known inside compiled code.

    Attributes:
        steps: steps taken; a step that depends on it cannot come before the one that gave it.
    """

    steps: Int[Array, ""]


class HostSnapshot(NamedTuple):
    """What a checkpoint holds of worlds on the host.

    Attributes:
        steps: taken.
        numbers: state of the environments as text; empty where they cannot be restored.
    """

    steps: Int[Array, ""]
    numbers: str


class _Host:
    """Worlds on the host, known to compiled code by their identity."""

    def __init__(self, worlds: VectorEnv):
        self.worlds = worlds

    def reset(self, seed: Any) -> Any:
        observation, _ = self.worlds.reset(seed=int(seed))
        return self._seen(observation)

    def step(self, steps: Any, actions: Any) -> Any:
        observation, reward, terminal, truncated, _ = self.worlds.step(np.asarray(actions))
        ends = np.asarray(terminal, bool), np.asarray(truncated, bool)
        return np.asarray(steps) + np.int32(1), self._seen(observation), np.asarray(reward, np.float32), *ends

    def _seen(self, observation: Any) -> Any:
        return jax.tree.map(_small, observation)


@final
class GymnasiumWorlds(AbstractWorlds[HostState]):
    """A vector environment of Gymnasium.

    Numbers of 64 bits come in 32. An episode's last observation is seen, and the next step begins another one.

    Attributes:
        restorable: whether a resumed run goes on within its episodes; otherwise it begins new ones.
    """

    host: _Host = eqx.field(static=True)
    num_worlds: int = eqx.field(static=True)
    restorable: bool = eqx.field(static=True)

    def __init__(self, worlds: VectorEnv):
        """Wrap a vector environment; `gymnasium_worlds` makes one.

        Raises:
            BadInputError: it begins new episodes within the last step, so that the last observation is lost.
        """
        mode = worlds.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode != AutoresetMode.NEXT_STEP:
            raise BadInputError(f"Expected a vector environment with AutoresetMode.NEXT_STEP, got {mode}.")
        self.host, self.num_worlds, self.restorable = _Host(worlds), worlds.num_envs, is_restorable(worlds)
        # What cannot be acted in or seen is said now.
        _ = self.action_spec, self.observation_spec

    @property
    def action_spec(self) -> PyTree[Bounded]:
        return spec_of(self.host.worlds.single_action_space)

    @property
    def observation_spec(self) -> PyTree[Bounded]:
        return spec_of(self.host.worlds.single_observation_space)

    def init(self, *, key: Key) -> tuple[HostState, PyTree]:
        seed = jr.randint(key, (), 0, 2**31 - 1, jnp.int32)
        observation = io_callback(self.host.reset, self._observed(), seed, ordered=True)
        return HostState(jnp.zeros((), jnp.int32)), observation

    def step(self, state: HostState, actions: PyTree, *, key: Key) -> tuple[HostState, TimeStep]:
        numbers = (jax.ShapeDtypeStruct((self.num_worlds,), kind) for kind in (np.float32, bool, bool))
        shapes = (jax.ShapeDtypeStruct((), np.int32), self._observed(), *numbers)
        steps, *found = io_callback(self.host.step, shapes, state.steps, actions, ordered=True)
        return HostState(steps), TimeStep(*found)

    def stored(self, state: HostState) -> HostSnapshot:
        """Steps, and the numbers of the environments where they can be put back."""
        return HostSnapshot(state.steps, snapshot(self.host.worlds) if self.restorable else "")

    def restored(self, initial: HostState, stored: HostSnapshot) -> HostState:
        if stored.numbers:
            restore(self.host.worlds, stored.numbers)
        else:
            self.host.reset(stored.steps)
        return HostState(stored.steps)

    def _observed(self) -> PyTree:
        def shape(space: gymnasium.Space, spec: Bounded) -> Any:
            example = _small(np.zeros((), space.dtype))
            return jax.ShapeDtypeStruct((self.num_worlds, *spec.shape), example.dtype)

        return _with_spaces(shape, self.host.worlds.single_observation_space, self.observation_spec)


def gymnasium_worlds(
    make: str | Callable[[], gymnasium.Env] | gymnasium.Env, num_worlds: int = 1, **options: Any
) -> GymnasiumWorlds:
    """Worlds of a Gymnasium environment.

    Args:
        make: its id, a function that makes it, or one that is there (for one world).
        num_worlds: how many.
        options: of `gymnasium.make`, with an id.

    Raises:
        BadInputError: no environment has this id, or one environment is asked to be several.
    """
    if isinstance(make, gymnasium.Env):
        if num_worlds != 1:
            raise BadInputError(
                f"Expected a function that makes environments for {num_worlds} worlds, got one of them."
            )
        return GymnasiumWorlds(SyncVectorEnv([lambda: make]))
    maker = (lambda: make_gymnasium(make, **options)) if isinstance(make, str) else make
    return GymnasiumWorlds(SyncVectorEnv([maker] * num_worlds))


def make_gymnasium(name: str, **options: Any) -> gymnasium.Env:
    """`gymnasium.make`, with an error that names what is near.

    Raises:
        BadInputError: no environment has this id, or a package that it needs is not there.
    """
    import difflib

    try:
        return gymnasium.make(name, **{"disable_env_checker": True, **options})
    except gymnasium.error.DependencyNotInstalled as error:
        raise BadInputError(f"Expected the packages that {name} needs, got: {error}") from error
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.Error) as error:
        near = difflib.get_close_matches(name, list(gymnasium.registry), n=3, cutoff=0.4)
        hint = f" Near it: {', '.join(near)}." if near else ""
        raise BadInputError(f"Expected the id of a Gymnasium environment, got {name!r} ({error}).{hint}") from error


def _small(values: Any) -> np.ndarray:
    """In at most 32 bits, as JAX has it by default."""
    array = np.asarray(values)
    smaller = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}
    return array.astype(smaller.get(array.dtype, array.dtype))


def _with_spaces(function: Callable[..., Any], space: gymnasium.Space, spec: PyTree[Bounded]) -> PyTree:
    if isinstance(spec, Bounded):
        return function(space, spec)
    inner: Any = space
    if isinstance(spec, dict):
        return {name: _with_spaces(function, inner.spaces[name], part) for name, part in spec.items()}
    parts: Sequence[Any] = inner.spaces
    return tuple(_with_spaces(function, one, part) for one, part in zip(parts, spec, strict=True))
