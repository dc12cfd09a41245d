"""Fit a linear map by Adam, in a stage, with minibatches."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.figure
import optax

from homeostat.core import AbstractLearner
from homeostat.runs import AtLeast, AtMost, Claim, Minutes, RunContext
from homeostat.train import FullBatch, InMemoryLoader
from homeostat.typing import Array, Float, Key

from ._data import Data, Spec, build

SOURCE = "the tests of the command line"
MINUTES = Minutes(smoke=0.05, small=0.1, paper=1.0)
CLAIMS = (
    Claim("descent/error", SOURCE, "mean squared error of the fitted map", "squared units", AtMost(0.5)),
    Claim("descent/error", SOURCE, "mean squared error", "squared units", AtMost(50.0), scales=("smoke",)),
    Claim("descent/steps", SOURCE, "updates made", "count", AtLeast(1.0), scales=("smoke", "small", "paper")),
)


@dataclass(frozen=True)
class Config:
    """Options of the descent."""

    num_steps: int = 400
    """Updates (count)."""
    rate: float = 1e-2
    """Learning rate of Adam (dimensionless)."""
    every: int = 10
    """Updates in a compiled segment (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        return cls(num_steps=60) if scale == "smoke" else cls()


class Metrics(NamedTuple):
    error: Float[Array, ""]


class State(NamedTuple):
    model: eqx.nn.Linear
    optimiser: optax.OptState


class Fitted(NamedTuple):
    state: State
    history: Metrics


class Learner(AbstractLearner):
    rate: float

    def init(self, *, key: Key) -> State:
        model = eqx.nn.Linear(3, 1, key=key)
        return State(model, optax.adam(self.rate).init(eqx.filter(model, eqx.is_array)))

    def update(self, state: State, batch: Data, *, key: Key) -> tuple[State, Metrics]:
        noisy = batch.inputs + 0.01 * jax.random.normal(key, batch.inputs.shape)
        loss, slope = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(noisy)[:, 0] - batch.outputs) ** 2))(
            state.model
        )
        change, optimiser = optax.adam(self.rate).update(slope, state.optimiser)
        return State(eqx.apply_updates(state.model, change), optimiser), Metrics(loss)


class Walk(AbstractLearner):
    """A random walk in the form of a learner without data."""

    def init(self, *, key: Key) -> Array:
        return jnp.zeros(())

    def update(self, state: Array, batch: None, *, key: Key) -> tuple[Array, Metrics]:
        state = 0.9 * state + jax.random.normal(key)
        return state, Metrics(state**2)


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Fit, then iterate a map outside any stage, then draw."""
    spec = Spec(rows=100)
    data = context.shared("data", lambda key: build(spec, key), spec=spec)
    learner = Learner(config.rate)

    def fit(key: Key) -> Fitted:
        result = context.fit(
            "adam", learner, InMemoryLoader(data, 16), num_steps=config.num_steps, key=key, every=config.every
        )
        return Fitted(result.state, result.history)

    history = jax.ShapeDtypeStruct((-(-config.num_steps // config.every),), data.outputs.dtype)
    like = Fitted(eqx.filter_eval_shape(learner.init, key=key), Metrics(history))
    fitted = context.stage("fit", fit, key=key, like=like)

    walked = context.fit("walk", Walk(), FullBatch(), num_steps=config.num_steps, key=key, every=config.every)
    error = jnp.mean((jax.vmap(fitted.state.model)(data.inputs)[:, 0] - data.outputs) ** 2)
    context.metrics(step=config.num_steps, final_error=error, where=walked.state)
    figure = matplotlib.figure.Figure(figsize=(5, 3))
    figure.subplots().plot(fitted.history.error)
    context.figure("error", figure, caption="Error <against> the segment.")
    context.animation("walk", jnp.zeros((3, 8, 8)).at[1].set(1.0), caption="A blink.")
    context.table("numbers", ("what", "value"), [("error", float(error))], caption="The error.")
    context.note("remark", "Nothing & more.")
    context.measure("descent/error", error, stderr=jnp.std(fitted.history.error))
    context.measure("descent/steps", config.num_steps)
