"""Options of an agent that learns by acting: light, so that help and listing come at once."""

from dataclasses import dataclass, replace
from typing import Any, Literal, final

POLICIES = ("direct", "iterative", "semi-amortized", "gradient", "cross-entropy", "path-integral")
PRESETS: dict[str, dict[str, Any]] = {
    "pendulum": {"steps": 10_000, "warmup": 1_000, "learning_rate": 1e-3},
    "Pendulum-v1": {"steps": 10_000, "warmup": 1_000, "learning_rate": 1e-3},
    "CartPole-v1": {"steps": 20_000, "warmup": 1_000, "learning_rate": 1e-3},
    "InvertedPendulum-v5": {"steps": 20_000, "warmup": 1_000},
    "InvertedDoublePendulum-v5": {"steps": 50_000},
}
"""What differs from the defaults where a task is learned sooner."""


@final
@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """How an agent learns."""

    env: str = ""
    """The id of a Gymnasium environment, or one of this library: pendulum, or a probe such as aim-probe."""
    policy: Literal["direct", "iterative", "semi-amortized", "gradient", "cross-entropy", "path-integral"] = "direct"
    """How a policy is found in a state: by a network at once (soft actor-critic), by one that improves it, by the first and then by
    gradients, or by a search that learns nothing."""
    steps: int = 100_000
    """Steps in the environment, the warm-up included (count)."""
    seeds: int = 1
    """Agents, one after another, that differ in their seed (count)."""
    worlds: int = 1
    """Environments that are stepped together (count)."""
    iterations: int | None = None
    """Engine steps for each state; by default 1 for direct, 5 for iterative, 11 for semi-amortized, 50 for gradient, 3 otherwise (count)."""
    pessimism: float | None = None
    """Deviations over critics that a value counts less than their mean; by default 0.71, the lesser of two, and 2.5 for iterative."""
    acting_pessimism: float | None = None
    """The same for the values that a policy is inferred from; by default that of --pessimism."""
    critics: int = 2
    """Critics (count)."""
    width: int = 256
    """Units in each hidden layer of every network (count)."""
    depth: int = 2
    """Hidden layers of every network (count)."""
    layer_norm: bool = False
    """Normalise the layers of the critics."""
    action_samples: int = 1
    """Actions for each expectation under a policy (count)."""
    returns: Literal["n-step", "retrace"] = "n-step"
    """What actions were worth: rewards of some steps and the value after them, or those corrected for what the policy would do."""
    return_steps: int = 1
    """Longest return (steps)."""
    discount: float = 0.99
    """Of a reward one step later."""
    target_rate: float = 0.005
    """Share of the critics that enters their targets at every update."""
    temperature: float | None = None
    """Units of reward per nat of divergence from the prior; by default adapted to --target-divergence."""
    target_divergence: float | None = None
    """Divergence of policies from a uniform one (nats); by default that of soft actor-critic, 1.69 for each number of an action."""
    learning_rate: float = 3e-4
    """Of all networks, by Adam."""
    batch_size: int = 256
    """Pieces of experience in an update (count)."""
    updates_per_step: float = 1.0
    """Updates for each step in the environment."""
    warmup: int = 5_000
    """Steps by uniform actions before learning (count)."""
    replay: int = 1_000_000
    """Steps that are remembered; no more than --steps (count)."""
    evaluate_every: int = 5_000
    """Steps between evaluations without exploration; the best agent is kept (count)."""
    episodes: int = 10
    """Episodes of each of them, and of the last one, which begins anew (count)."""


def preset(env: str) -> ControlOptions:
    """The defaults for an environment."""
    return replace(ControlOptions(), **PRESETS.get(env, {}))
