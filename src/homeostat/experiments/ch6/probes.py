"""Agents with every policy engine on probes: tiny worlds, each of which only one part of an agent can get wrong.

An agent learns by acting in four copies of each probe, and its values are compared with the exact ones: a constant, one that depends on
the state, one that is discounted, one that asks for an action, one that asks for an action in view of the state, and one of an endless task
whose episodes are cut.

Scales: `smoke` has the direct engine alone, for fewer updates.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...runs import AtMost, Claim, Minutes, RunContext
from ...typing import Key
from ...workflow import ControlOptions, learner_of, loader_of, num_updates, worlds_of
from ...workflow.control import POLICIES
from ..kit import at, mean_and_error, scales

SOURCE = "probes after Jones, 'Debugging reinforcement learning systems' (2021); thesis, chapter 6 for the engines"
MINUTES = Minutes(smoke=1.5, small=20.0, paper=60.0)
_ERROR = "largest error of a value over probes, relative where the value is above 1"
CLAIMS = tuple(
    Claim(
        f"probes/{name}", SOURCE, f"{name}: {_ERROR}", "unit of reward", AtMost(0.05),
        scales=("smoke", "small", "paper") if name == "direct" else ("small", "paper"),
    )
    for name in POLICIES
)  # fmt: skip

DISCOUNT = 0.9
PROBES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "constant-probe": ((0.0, 0.0, 1.0),),
    "state-probe": ((-1.0, 0.0, -1.0), (1.0, 0.0, 1.0)),
    "delay-probe": ((0.0, 0.0, DISCOUNT), (1.0, 0.0, 1.0)),
    "action-probe": ((0.0, 0.5, 0.0),),
    "aim-probe": ((-1.0, -0.5, 0.0), (1.0, 0.5, 0.0)),
    "truncation-probe": ((0.0, 0.0, 1.0 / (1.0 - DISCOUNT)),),
}
"""What is seen, what is done, and what that is worth."""


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    policies: tuple[str, ...] = POLICIES
    """Engines of policies."""
    updates: int = 1_000
    """For each probe; twice as many where a value takes long to grow (count)."""
    seeds: int = 3
    """Agents of each engine in each probe (count)."""

    for_scale = scales(smoke=at(policies=("direct",), updates=600, seeds=1))


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    rows = []
    for policy in config.policies:
        worst = []
        for seed in range(config.seeds):
            errors = {
                probe: float(
                    context.stage(
                        f"{policy}-{probe}-{seed}",
                        lambda key, policy=policy, probe=probe, seed=seed: _error(
                            config, context, policy, probe, key=key
                        ),
                        key=jr.fold_in(key, seed),
                    )
                )
                for probe in PROBES
            }
            worst.append(max(errors.values()))
            rows += [(policy, seed, probe, error) for probe, error in errors.items()]
        context.measure(f"probes/{policy}", *mean_and_error(np.asarray(worst)))
    context.table("probes", ("engine", "seed", "probe", "largest error"), rows, caption=f"{_ERROR}.")


def _error(config: Config, context: RunContext, policy: str, probe: str, *, key: Key) -> jnp.ndarray:
    updates = config.updates * (3 if probe == "truncation-probe" else 1)
    options = ControlOptions(
        env=probe, policy=policy, worlds=4, steps=400 + 4 * updates, warmup=400, updates_per_step=0.25, width=32, batch_size=64,
        learning_rate=3e-3, target_rate=0.05, discount=DISCOUNT, temperature=0.01, pessimism=0.71, iterations=_STEPS.get(policy),
    )  # fmt: skip
    worlds, (build_key, fit_key) = worlds_of(options), jr.split(key)
    learner = learner_of(options, worlds, key=build_key)
    found = context.fit(
        "learn", learner, loader_of(options, worlds, learner), num_steps=num_updates(options), key=fit_key, every=200
    )
    values = eqx.filter_jit(found.state.learned.critics)
    errors = [
        jnp.max(jnp.abs(values(jnp.array([seen]), jnp.array([action])) - worth)) / max(1.0, abs(worth))
        for seen, action, worth in PROBES[probe]
    ]
    return jnp.max(jnp.stack(errors))


_STEPS = {"iterative": 2, "semi-amortized": 4, "gradient": 20}
"""Engine steps, fewer than for larger tasks."""
