"""Any environment behind Gymnasium's interfaces: one episode, a batch of episodes, pure functions."""

from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...core import AbstractEnvironment, Bounded, map_spec
from ...results import BadInputError
from ...typing import Array, Key, PyTree
from .._episodes import AutoReset, TimedState, TimeLimit, TimeStep, first_time_step, next_time_step
from ._spaces import by_name, decode_action, space_of, to_rgb, to_space, to_world

RENDER_FPS = 15
_NO_LIMIT = 2**31 - 1


class AbstractExtras(eqx.Module):
    """What Gymnasium offers besides the functions of an environment: options of `reset`, `info`, pictures."""

    render_modes: ClassVar[tuple[str, ...]] = ()

    def options(self, environment: AbstractEnvironment, options: dict[str, Any], batch: tuple[int, ...]) -> PyTree:
        """Checked options of `reset`, with the leading axes of a batch; none by default.

        Raises:
            BadInputError: an option is unknown or does not fit.
        """
        if options:
            raise BadInputError(f"Expected no reset options for {type(environment).__name__}, got {sorted(options)}.")
        return ()

    def initial(self, environment: AbstractEnvironment, options: PyTree, *, key: Key) -> PyTree:
        """First state of an episode under these options."""
        return environment.initial(key=key)

    def info(self, environment: AbstractEnvironment, state: PyTree) -> dict[str, Array]:
        """Entries of `info`."""
        return {}

    def picture(self, environment: AbstractEnvironment, state: PyTree) -> Array:
        """The scene in [0, 1], [height, width] or [height, width, 3]; called where `render_modes` has "rgb_array"."""
        raise BadInputError(f"Expected an environment with pictures, got {type(environment).__name__}.")


@final
class NoExtras(AbstractExtras):
    """No options, no info, no pictures."""


class _Carry(NamedTuple):
    """State of an episode, and the randomness of its steps to come."""

    state: PyTree
    key: Key


def _reset(
    environment: AbstractEnvironment, extras: AbstractExtras, options: PyTree, key: Key
) -> tuple[_Carry, TimeStep, dict[str, Array]]:
    start_key, observe_key, key = jr.split(key, 3)
    state = extras.initial(environment, options, key=start_key)
    return _Carry(state, key), first_time_step(environment, state, key=observe_key), extras.info(environment, state)


def _step(environment: AbstractEnvironment, carry: _Carry, action: PyTree) -> tuple[_Carry, TimeStep]:
    step_key, key = jr.split(carry.key)
    state, step = next_time_step(environment, carry.state, action, key=step_key)
    return _Carry(state, key), step


_reset_one = eqx.filter_jit(_reset)


@eqx.filter_jit
def _step_one(environment: AbstractEnvironment, extras: AbstractExtras, carry: _Carry, action: PyTree):
    carry, step = _step(environment, carry, action)
    return carry, step, extras.info(environment, carry.state)


@eqx.filter_jit
def _reset_many(environment: AbstractEnvironment, extras: AbstractExtras, options: PyTree, key: Key, count: int):
    carry, step, info = jax.vmap(lambda o, k: _reset(environment, extras, o, k))(options, jr.split(key, count))
    return carry._replace(state=TimedState(carry.state, jnp.zeros(count, jnp.int32))), step, info


@eqx.filter_jit
def _step_many(running: Any, extras: AbstractExtras, carry: _Carry, action: PyTree):
    """Steps of an `AutoReset` of a `TimeLimit` of the environment."""

    def one(carry: _Carry, action: PyTree):
        carry, step = _step(running, carry, action)
        return carry, step, extras.info(running.environment.environment, carry.state.world)

    return jax.vmap(one)(carry, action)


@eqx.filter_jit
def _pictures(environment: AbstractEnvironment, extras: AbstractExtras, states: PyTree) -> Array:
    return jax.vmap(lambda state: extras.picture(environment, state))(states)


@final
class GymnasiumEnv(gymnasium.Env):
    """An environment as a `gymnasium.Env`."""

    def __init__(
        self, environment: AbstractEnvironment, extras: AbstractExtras = NoExtras(), render_mode: str | None = None
    ):
        """Wrap an environment.

        Args:
            extras: its options, info and pictures.
            render_mode: None or one of `extras.render_modes`.
        """
        self.metadata = _metadata(extras, render_mode)
        self.environment, self.extras, self.render_mode = environment, extras, render_mode
        self.action_space = space_of(environment.action_spec)
        self.observation_space = space_of(environment.observation_spec)
        self._carry = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        checked = self.extras.options(self.environment, options or {}, ())
        self._carry, step, info = _reset_one(self.environment, self.extras, checked, draw_key(self.np_random))
        return to_space(step.observation, self.environment.observation_spec), _numpy(info)

    def step(self, action: Any):
        if self._carry is None:
            raise BadInputError("Expected reset() before the first step(), got step().")
        decoded = jax.tree.map(jnp.asarray, decode_action(action, self.action_space, self.environment.action_spec))
        self._carry, step, info = _step_one(self.environment, self.extras, self._carry, decoded)
        observation = to_space(step.observation, self.environment.observation_spec)
        return observation, float(step.reward), bool(step.terminal), bool(step.truncated), _numpy(info)

    def render(self) -> np.ndarray | None:
        """The whole scene as 8-bit colours, (height, width, 3)."""
        if self.render_mode is None:
            return None
        if self._carry is None:
            raise BadInputError("Expected reset() before render(), got render().")
        return to_rgb(eqx.filter_jit(self.extras.picture)(self.environment, self._carry.state))


@final
class GymnasiumVectorEnv(VectorEnv):
    """Many episodes of an environment as a `gymnasium.vector.VectorEnv`, stepped together in one compiled program.

    An episode that ends is followed by a new one in the next step, whose action is ignored and whose reward is zero
    (`AutoresetMode.NEXT_STEP`). Observations are read-only arrays that share memory with JAX, which spares a copy of
    the images at every step: copy them before you write to them.
    """

    def __init__(
        self,
        environment: AbstractEnvironment,
        num_envs: int = 1,
        extras: AbstractExtras = NoExtras(),
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ):
        """Make a batch of environments.

        Args:
            extras: its options, info and pictures.
            render_mode: None or one of `extras.render_modes`.
            max_episode_steps: steps after which an episode is truncated; None for no limit.

        Raises:
            BadInputError: a number is out of range.
        """
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise BadInputError(f"Expected a positive whole number of environments, got {num_envs!r}.")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise BadInputError(f"Expected max_episode_steps of at least 1, or None, got {max_episode_steps!r}.")
        self.metadata = {**_metadata(extras, render_mode), "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs, self.render_mode, self.environment = num_envs, render_mode, environment
        self.extras = extras
        self._running = AutoReset(TimeLimit(environment, max_episode_steps or _NO_LIMIT))
        self.single_action_space = space_of(environment.action_spec)
        self.single_observation_space = space_of(environment.observation_spec)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._actions = map_spec(lambda spec: _repeated(spec, num_envs), environment.action_spec)
        self._carry = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin an episode everywhere; options hold for all, or have one row for each."""
        super().reset(seed=seed)
        checked = self.extras.options(self.environment, options or {}, (self.num_envs,))
        key = draw_key(self.np_random)
        self._carry, step, info = _reset_many(self.environment, self.extras, checked, key, self.num_envs)
        return to_space(step.observation, self.environment.observation_spec, copy=False), self._info(info)

    def step(self, actions: Any):
        if self._carry is None:
            raise BadInputError("Expected reset() before the first step(), got step().")
        decoded = jax.tree.map(jnp.asarray, decode_action(actions, self.action_space, self._actions))
        self._carry, step, info = _step_many(self._running, self.extras, self._carry, decoded)
        observation = to_space(step.observation, self.environment.observation_spec, copy=False)
        return observation, *(np.array(part) for part in step[1:]), self._info(info)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The whole scenes as 8-bit colours, each (height, width, 3)."""
        if self.render_mode is None:
            return None
        if self._carry is None:
            raise BadInputError("Expected reset() before render(), got render().")
        return tuple(map(to_rgb, _pictures(self.environment, self.extras, self._carry.state.world)))

    def _info(self, info: dict[str, Array]) -> dict[str, np.ndarray]:
        """Gymnasium pairs every entry with a mask that says which environments have it; here all do."""
        return _numpy(info) | {f"_{name}": np.ones(self.num_envs, bool) for name in info}


@final
class GymnasiumFuncEnv(FuncEnv):
    """An environment as a `FuncEnv` (experimental in Gymnasium): pure functions of state and key.

    Batch with `transform(jax.vmap)`, compile with `transform(jax.jit)`. Actions are members of `action_space`: whole ones are
    counted from zero.
    """

    def __init__(self, environment: AbstractEnvironment, extras: AbstractExtras = NoExtras()):
        """Wrap an environment."""
        super().__init__()
        self.environment, self.extras = environment, extras
        self.action_space = space_of(environment.action_spec)
        self.observation_space = space_of(environment.observation_spec)

    def initial(self, rng: Key, params: None = None) -> PyTree:
        return self.environment.initial(key=rng)

    def transition(self, state: PyTree, action: Any, rng: Key, params: None = None) -> PyTree:
        return self.environment.transition(state, self._decoded(action), key=rng)

    def observation(self, state: PyTree, rng: Key, params: None = None) -> PyTree:
        """Draw what is seen; a named tuple becomes a dictionary, as the space says."""
        return by_name(self.environment.observation(state, key=rng))

    def reward(self, state: PyTree, action: Any, next_state: PyTree, rng: Key, params: None = None) -> Array:
        return self.environment.reward(state, self._decoded(action), next_state)

    def terminal(self, state: PyTree, rng: Key, params: None = None) -> Array:
        return self.environment.terminal(state)

    def state_info(self, state: PyTree, params: None = None) -> dict[str, Array]:
        return self.extras.info(self.environment, state)

    def transition_info(self, state: PyTree, action: Any, next_state: PyTree, params: None = None) -> dict[str, Array]:
        return self.state_info(next_state)

    def render_init(self, params: None = None, **kwargs: Any) -> tuple[()]:
        """Rendering needs no state."""
        return ()

    def render_image(self, state: PyTree, render_state: tuple[()], params: None = None) -> tuple[tuple[()], np.ndarray]:
        """The whole scene as 8-bit colours."""
        return render_state, to_rgb(self.extras.picture(self.environment, state))

    def render_close(self, render_state: tuple[()], params: None = None) -> None:
        """Nothing to release."""

    def _decoded(self, action: Any) -> PyTree:
        return to_world(jax.tree.map(jnp.asarray, action), self.environment.action_spec)


def draw_key(generator: np.random.Generator) -> jax.Array:
    """A random key from Gymnasium's generator, so that its seeds reproduce episodes."""
    return jr.key(int(generator.integers(2**31 - 1)))


def _metadata(extras: AbstractExtras, render_mode: str | None) -> dict[str, Any]:
    modes = list(extras.render_modes)
    if render_mode is not None and render_mode not in modes:
        raise BadInputError(f"Expected render_mode None or one of {modes}, got {render_mode!r}.")
    return {"render_modes": modes, "render_fps": RENDER_FPS}


def _repeated(spec: Bounded, count: int) -> Bounded:
    return Bounded((count, *spec.shape), spec.low, spec.high, spec.whole)


def _numpy(info: dict[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in info.items()}
