"""The state of a Gymnasium environment as text: numbers of every wrapper, its random generator, and MuJoCo's whole state.

What an environment keeps elsewhere (in a simulator of its own, in objects) is not known here, so nobody is promised anything:
`is_restorable` tries it out.
"""

import json
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

_TRIED = 3
"""Steps after which a restored environment must see what it saw before."""


def snapshot(worlds: VectorEnv) -> str:
    """All numbers of a synchronous vector environment; empty for other kinds."""
    if not isinstance(worlds, SyncVectorEnv):
        return ""
    return json.dumps([_numbers(worlds), *[[_layer(layer) for layer in _layers(env)] for env in worlds.envs]])


def restore(worlds: VectorEnv, text: str) -> None:
    """Put them back."""
    assert isinstance(worlds, SyncVectorEnv)
    outside, *inside = json.loads(text)
    _put(worlds, outside)
    for env, layers in zip(worlds.envs, inside, strict=True):
        for layer, stored in zip(_layers(env), layers, strict=True):
            _put(layer, stored["numbers"])
            if stored["random"] is not None:
                layer.np_random.bit_generator.state = stored["random"]
            if stored["simulator"] is not None:
                _put_simulator(layer, np.asarray(stored["simulator"]))


def is_restorable(worlds: VectorEnv) -> bool:
    """Whether a restored environment goes on as it did; tried on this one, which takes some steps for it."""
    if not isinstance(worlds, SyncVectorEnv):
        return False
    try:
        worlds.reset(seed=0)
        worlds.action_space.seed(0)
        actions = [worlds.action_space.sample() for _ in range(_TRIED + 1)]
        worlds.step(actions[0])
        kept = snapshot(worlds)
        before = [worlds.step(action)[:4] for action in actions[1:]]
        restore(worlds, kept)
        after = [worlds.step(action)[:4] for action in actions[1:]]
    # Whatever a stranger's environment does when its numbers are put back, it cannot be relied on then.
    except Exception:
        return False
    return repr(before) == repr(after)


def _layers(env: gymnasium.Env) -> Iterator[Any]:
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        # The checker compares with objects that it has seen before, of which there are none after a restore.
        if not isinstance(layer, gymnasium.wrappers.PassiveEnvChecker):
            yield layer
        layer = layer.env
    yield layer


def _layer(layer: Any) -> dict[str, Any]:
    base = not isinstance(layer, gymnasium.Wrapper)
    return {
        "numbers": _numbers(layer),
        "random": layer.np_random.bit_generator.state if base else None,
        "simulator": _simulator(layer) if base else None,
    }


def _numbers(thing: Any) -> dict[str, Any]:
    """What stands in it under names, if it is made of numbers."""
    found = {}
    for name, value in vars(thing).items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "bif":
            found[name] = {"array": value.tolist(), "dtype": str(value.dtype)}
        elif isinstance(value, tuple) and all(isinstance(each, bool | int | float | np.number) for each in value):
            found[name] = {"tuple": [each.item() if isinstance(each, np.number) else each for each in value]}
        elif value is None or isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, np.number | np.bool_):
            found[name] = {"array": value.item(), "dtype": str(value.dtype)}
    return found


def _put(thing: Any, numbers: dict[str, Any]) -> None:
    for name, value in numbers.items():
        if isinstance(value, dict) and "array" in value:
            array, there = np.asarray(value["array"], value["dtype"]), getattr(thing, name, None)
            if isinstance(there, np.ndarray) and there.shape == array.shape and there.flags.writeable:
                # Others may look at the same memory.
                there[...] = array
                continue
            value = array if array.ndim else array[()]
        elif isinstance(value, dict):
            value = tuple(value["tuple"])
        setattr(thing, name, value)


def _simulator(base: Any) -> list[float] | None:
    if not (hasattr(base, "model") and hasattr(base, "data") and hasattr(base.data, "qpos")):
        return None
    import mujoco  # pyright: ignore[reportMissingImports]

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(base.model, kind))
    mujoco.mj_getState(base.model, base.data, state, kind)
    return state.tolist()


def _put_simulator(base: Any, state: np.ndarray) -> None:
    import mujoco  # pyright: ignore[reportMissingImports]

    mujoco.mj_setState(base.model, base.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    # Positions of bodies follow from the state; the next step computes everything else.
    mujoco.mj_forward(base.model, base.data)
