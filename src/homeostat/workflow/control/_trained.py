"""A trained agent: what it does, how well, and where it is kept."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...agents import Played, SoftActorCritic, flat_state, play, to_action
from ...environments import AbstractWorlds
from ...results import CheckpointError
from ...runs import read_request
from ...train import load_checkpoint, save_checkpoint
from ...typing import Key, PyTree
from ._options import ControlOptions
from ._system import learner_of, worlds_of

NAME = "agent.npz"
IDENTITY = "agents 1"
"""Format of the file."""


@final
class TrainedAgent:
    """Agents that have learned one task, one for each seed.

    Attributes:
        options: how they learned.
        learner: what makes agents of states.
        states: of training, one for each seed.
    """

    def __init__(self, options: ControlOptions, learner: SoftActorCritic, states: list[PyTree]):
        self.options, self.learner, self.states = options, learner, states
        self._memory: PyTree = None
        self._worlds: AbstractWorlds | None = None

    def predict(self, observation: Any, *, key: Key | None = None, number: int = 0) -> np.ndarray:
        """The action in one observation, as the environment takes it.

        Args:
            observation: a member of the environment's observation space.
            key: draws the action from the policy, and whatever else inference draws; its centre without one.
            number: of the agent, where there are several.
        """
        explore = key is not None
        agent, worlds = self.learner.agent(self.states[number], explore=explore), self._some_worlds()
        seen = jax.tree.map(jnp.asarray, observation)
        key = jax.random.key(0) if key is None else key
        return np.asarray(_act(agent, flat_state(worlds.observation_spec, seen), worlds.action_spec, key))

    def evaluate(self, num_episodes: int, *, key: Key, number: int = 0, explore: bool = False) -> Played:
        """Whole episodes in new worlds.

        Args:
            num_episodes: how many.
            key: of worlds and agent.
            number: of the agent, where there are several.
            explore: draw actions instead of taking the centre of the policy.
        """
        worlds = worlds_of(self.options, min(num_episodes, 10))
        return play(worlds, self.learner.agent(self.states[number], explore=explore), num_episodes, key=key)

    def save(self, folder: Path | str) -> None:
        """Keep the agents in a folder, in one file."""
        save_checkpoint(Path(folder) / NAME, (asdict(self.options), self.states), identity=IDENTITY)

    def _some_worlds(self) -> AbstractWorlds:
        if self._worlds is None:
            self._worlds = worlds_of(self.options, 1)
        return self._worlds


def load_agent(folder: Path | str) -> TrainedAgent:
    """Agents that were kept in a folder, such as that of a run of `homeostat train`.

    Raises:
        CheckpointError: there are none, or another version wrote them.
    """
    folder = Path(folder)
    config = read_request(folder).config if (folder / "config.json").is_file() else None
    if config is None:
        raise CheckpointError(f"Expected the folder of a run of `homeostat train`, got {folder}: check the path.")
    options = options_of(config, folder)
    learner = learner_of(options, worlds_of(options, 1), key=jax.random.key(0))
    one = lambda: learner.init(key=jax.random.key(0))  # noqa: E731
    like = asdict(options), [eqx.filter_eval_shape(one)] * options.seeds
    _, states = load_checkpoint(folder / NAME, like=like, identity=IDENTITY)
    return TrainedAgent(options, learner, states)


def options_of(config: dict[str, Any], folder: Path) -> ControlOptions:
    """The options of a run.

    Raises:
        CheckpointError: another version of the code wrote them.
    """
    try:
        return ControlOptions(**{name: value for name, value in config.items() if name != "task"})
    except TypeError as error:
        raise CheckpointError(
            f"Expected the options of a training in {folder}, got others: another version of homeostat started it. Use that version, "
            f"or start a new run."
        ) from error


@eqx.filter_jit
def _act(agent: Any, state: Any, spec: Any, key: Key) -> Any:
    decision, _ = agent.act(agent.init(key=key), state, key=key)
    return to_action(spec, decision.action)
