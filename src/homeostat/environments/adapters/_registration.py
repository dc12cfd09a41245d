"""Registers `homeostat/DSprites-v0` with Gymnasium. Nothing heavy is imported until an environment is made."""

import gymnasium

ENV_ID = "homeostat/DSprites-v0"

MAX_EPISODE_STEPS = 200
"""More than twice the longest shortest path when factors move one at a time (5 + 20 + 31 + 31 = 87 steps)."""


def register() -> None:
    """Make the environment known to `gymnasium.make` and `gymnasium.make_vec`; calling it again changes nothing."""
    if ENV_ID in gymnasium.registry:
        return
    gymnasium.register(
        id=ENV_ID,
        entry_point="homeostat.environments.adapters:sprites_env",
        vector_entry_point="homeostat.environments.adapters:sprites_vector_env",
        max_episode_steps=MAX_EPISODE_STEPS,
    )
