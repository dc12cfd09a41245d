"""Policies of every engine in linear-quadratic control, against the soft Riccati solution.

x' = A x + B u, reward -(x'Qx + u'Ru), Gaussian prior over actions: value and best policy are known in closed form. The critic is exact, so
that what is measured is inference alone: the soft value that an engine's policy falls short of in states that it has not learned from.
Policies are factorised and the best one is not quite, which is all that natural gradient falls short by. Searches lower E[U] and not
its entropy, and are judged by the action they find.

Scales: `smoke` trains for some hundred updates, `small` and `paper` as below.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...agents import direct_policy, iterative_policy
from ...core import AbstractEngine
from ...distributions import Cubature, DiagonalGaussian, MonteCarlo
from ...inference import ModelWithEngine, energy_descent, infer
from ...inference.engines import MPPI, CrossEntropy, Gradient, NaturalGradient
from ...objectives import ActionProblem, SoftReturn
from ...runs import AtMost, Claim, Minutes, RunContext
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, Scalar
from ..kit import EVERYWHERE, at, mean_and_error, scales

SOURCE = "linear-quadratic control with an entropy bonus, thresholds set for this library"
MINUTES = Minutes(smoke=0.6, small=1.5, paper=6.0)
_VALUE = "soft value that the policy falls short of, over the mean size of the value"
_ACTION = "mean of the policy less the best action, root mean square, in standard deviations of the best policy"
LEARNED = ("direct", "iterative")
DESCENT = ("gradient", "natural gradient")
SEARCH = ("cross-entropy", "path integral")
CLAIMS = (
    *(
        Claim(f"linear-quadratic/{name.replace(' ', '-')}", SOURCE, f"{name}: {_VALUE}", "ratio", AtMost(0.01), scales=EVERYWHERE)
        for name in (*LEARNED, *DESCENT)
    ),
    *(
        Claim(f"linear-quadratic/{name.replace(' ', '-')}", SOURCE, f"{name}: {_ACTION}", "ratio", AtMost(0.25))
        for name in SEARCH
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    updates: int = 3_000
    """Of each engine that learns (count)."""
    width: int = 64
    """Units in each of two hidden layers (count)."""
    states: int = 200
    """Unseen states in which policies are judged (count)."""
    seeds: int = 3
    """Trainings of each engine (count)."""
    temperature: float = 0.5
    """Units of reward per nat."""
    discount: float = 0.95
    """Of the value one step later."""

    for_scale = scales(smoke=at(updates=1_000, width=32, seeds=1, states=50), paper=at(updates=20_000, width=128))


class Solution(NamedTuple):
    """V(x) = -x'Px - c, and the best policy N(-G x, M^-1)."""

    value_matrix: Float[Array, "n n"]
    offset: Scalar
    gain: Float[Array, "m n"]
    precision: Float[Array, "m m"]


@final
class QuadraticValue(eqx.Module):
    """Q(x, u) of a solution: the exact critic."""

    value_matrix: Array
    offset: Scalar
    discount: float = eqx.field(static=True)

    def __call__(self, state: Float[Array, " n"], action: Float[Array, " m"]) -> Float[Array, " 1"]:
        after = A @ state + B @ action
        later = after @ self.value_matrix @ after + self.offset
        return -(state @ COST @ state + EFFORT * action @ action + self.discount * later)[None]


# A cart pushed by one force, in steps of a fifth of a second.
A = np.array([[1.0, 0.2], [0.0, 1.0]])
B = np.array([[0.02, 0.0], [0.2, 0.1]])
COST = np.diag([1.0, 0.1])
EFFORT = 0.1
PRIOR = 1.0


def solve(temperature: float, discount: float) -> Solution:
    """The fixed point of the soft Riccati equation.

    The integral over actions of N(u; 0, 1) exp(Q(x, u) / alpha) is Gaussian, so V stays quadratic at every step.
    """
    alpha, size = temperature, B.shape[1]

    def best(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Precision of the best policy, and minus precision times mean per unit of the state."""
        precision = (2.0 / alpha) * (EFFORT * np.eye(size) + discount * B.T @ value @ B) + np.eye(size) / PRIOR**2
        return precision, (2.0 * discount / alpha) * B.T @ value @ A

    value = np.zeros((2, 2))
    for _ in range(2_000):
        precision, cross = best(value)
        value = COST + discount * A.T @ value @ A - 0.5 * alpha * cross.T @ np.linalg.solve(precision, cross)
    precision, cross = best(value)
    offset = 0.5 * alpha * np.linalg.slogdet(PRIOR**2 * precision)[1] / (1.0 - discount)
    gain = np.linalg.solve(precision, cross)
    return Solution(*(jnp.asarray(part, float) for part in (value, offset, gain, precision)))


def problem_in(state: Array, solution: Solution, config: Config) -> ActionProblem:
    """What a policy is inferred from in a state."""
    critic = QuadraticValue(solution.value_matrix, solution.offset, config.discount)
    prior = DiagonalGaussian(B.shape[1])
    return ActionProblem(state, critic, jnp.asarray(config.temperature), prior(prior.init()))


def engines(config: Config, *, key: Key) -> dict[str, tuple[AbstractEngine, int]]:
    """Every engine, with its number of steps."""
    family, sizes = DiagonalGaussian(B.shape[1]), {"width": config.width}
    direct_key, iterative_key = jr.split(key)
    return {
        "direct": (direct_policy(family, 2, key=direct_key, **sizes), 1),
        "iterative": (iterative_policy(family, 2, key=iterative_key, **sizes), 5),
        "gradient": (Gradient(optax.adam(optax.cosine_decay_schedule(0.1, 300))), 300),
        "natural gradient": (NaturalGradient(1.0), 2),
        "cross-entropy": (CrossEntropy(200, 20), 10),
        # Hotter than the energy, or the first few samples are all that counts.
        "path integral": (MPPI(400, 5.0), 15),
    }


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    solution = solve(config.temperature, config.discount)
    found: dict[str, list[float]] = {name: [] for name in (*LEARNED, *DESCENT, *SEARCH)}
    for seed in range(config.seeds):
        seed_key = jr.fold_in(key, seed)
        for name, (engine, steps) in engines(config, key=seed_key).items():
            judge = lambda key, name=name, engine=engine, steps=steps, seed=seed: _judge(  # noqa: E731
                config, context, solution, f"{name.replace(' ', '-')}-{seed}", name, engine, steps, key=key
            )
            found[name].append(float(context.stage(f"judge-{name.replace(' ', '-')}-{seed}", judge, key=seed_key)))
    rows = []
    for name, values in found.items():
        mean, error = mean_and_error(np.asarray(values))
        context.measure(f"linear-quadratic/{name.replace(' ', '-')}", mean, error)
        rows.append((name, mean, error, "value" if name in (*LEARNED, *DESCENT) else "action"))
    context.table(
        "engines", ("engine", "falls short by", "error over seeds", "of"), rows, caption=f"{_VALUE}; or {_ACTION}."
    )


def _judge(
    config: Config, context: RunContext, solution: Solution, stage: str, name: str, engine: AbstractEngine, steps: int, *,
    key: Key,
) -> Scalar:  # fmt: skip
    family, (data_key, fit_key, test_key, infer_key) = DiagonalGaussian(B.shape[1]), jr.split(key, 4)
    if name in LEARNED:
        objective = SoftReturn(MonteCarlo(4))
        energy = lambda model, state: (objective, problem_in(state, solution, config))  # noqa: E731
        rate = optax.adam(optax.cosine_decay_schedule(3e-3, config.updates, alpha=0.01))
        learner = energy_descent(energy, ModelWithEngine(None, engine), family, rate, steps, inlined=5)
        states = jr.normal(data_key, (20_000, 2))
        found = context.fit(
            stage,
            learner,
            InMemoryLoader(states, 64),
            num_steps=config.updates,
            key=fit_key,
            every=min(500, config.updates),
        )
        engine = found.state.learned.engine
    exact = SoftReturn(Cubature())

    @eqx.filter_jit
    def short(engine: AbstractEngine, state: Array, key: Key) -> tuple[Scalar, Scalar, Scalar]:
        problem = problem_in(state, solution, config)
        objective = SoftReturn(MonteCarlo(8)) if name in LEARNED else exact
        q = infer(objective, engine, family, problem, key=key, num_steps=steps, throw=False).distribution
        best = -state @ solution.value_matrix @ state - solution.offset
        value = -config.temperature * exact(q, problem, key=key)
        error = q.mean + solution.gain @ state
        return best - value, jnp.abs(best), error @ solution.precision @ error / error.size

    states = jr.normal(test_key, (config.states, 2))
    gap, size, squared = jax.vmap(lambda state, k: short(engine, state, k))(states, jr.split(infer_key, config.states))
    return jnp.sqrt(jnp.mean(squared)) if name in SEARCH else jnp.mean(gap) / jnp.mean(size)
