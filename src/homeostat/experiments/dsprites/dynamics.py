"""Learn latent dynamics from images of a sprite under random actions, and predict as well as the true dynamics do.

Three worlds are explored and tracked frame by frame: real-valued moves with process noise (where the true predictive density
is proper), whole moves on the lattice without noise, and sprites with velocity. Angles are measured within one turn and
unwrapped by the filters. `paper` is the same at larger size; the slides give no numbers.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ...environments import AbstractSpriteWorld, Antialiased, ContinuousMotion, DSprites, SecondOrderMotion
from ...environments.wrappers import PixelNoise
from ...inference import Parts
from ...models.sequential import LinearDynamics, in_displacement_coordinates
from ...models.static import SpriteCoordinates
from ...runs import AtLeast, AtMost, Between, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ...viz import plot_evidence, plot_matrices
from ._interaction import (
    LATTICE_EXPLORATION,
    Interaction,
    Reversal,
    Spring,
    explore,
    true_first_order,
    true_second_order,
)
from ._learning import (
    draw_forecast,
    evidence,
    first_guess,
    forecast,
    learn,
    linear,
    model_of,
    regress,
    regress_online,
    report_scores,
)
from ._sprites import CLASS_STEP, class_errors, in_classes
from ._tracking import LATTICE_SIGMA, tracking_models

SOURCE = "slides 'Inference and learning in an interactive dSprite environment', representing latent state dynamics"
MINUTES = Minutes(smoke=0.3, small=2.0, paper=10.0)
_STEP = "one-step log-likelihood lost against the true dynamics, held-out sequences"
_TEN = "ten-step log-likelihood lost against the true dynamics, held-out sequences"
CLAIMS = (
    Claim("dynamics/one-step", SOURCE, f"{_STEP} (EM)", "nats per step", Between(-0.1, 0.1)),
    Claim("dynamics/ten-step", SOURCE, f"{_TEN} (EM)", "nats per step", Between(-0.1, 0.1)),
    Claim("dynamics/one-step-bayes", SOURCE, f"{_STEP} (Bayesian regression)", "nats per step", Between(-0.1, 0.1)),
    Claim("dynamics/ten-step-bayes", SOURCE, f"{_TEN} (Bayesian regression)", "nats per step", Between(-0.1, 0.1)),
    Claim("dynamics/one-step", SOURCE, f"{_STEP} (EM)", "nats per step", AtMost(0.5), scales=("smoke",)),
    Claim("dynamics/ten-step", SOURCE, f"{_TEN} (EM)", "nats per step", AtMost(2.0), scales=("smoke",)),
    Claim("dynamics/lattice", SOURCE, "ten-step forecasts on the lattice that name the right class of every factor",
          "fraction", AtLeast(0.98)),
    Claim("dynamics/second-order", SOURCE, "relative error of A and of B (the larger), learned from positions alone",
          "ratio", AtMost(0.05)),
    Claim("dynamics/second-order-ten-step", SOURCE, f"{_TEN} (second order)", "nats per step", Between(-0.1, 0.1)),
)  # fmt: skip

GAIN = ((0.6, 0.0, 0.0, 0.0), (0.0, 1.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.3), (0.0, 0.0, -0.3, 1.0))
"""B of the continuous world in classes a unit of action; the two position actions are turned against the axes."""
NOISE = ((0.1, 0.0, 0.0, 0.0), (0.0, 0.2, 0.0, 0.0), (0.0, 0.0, 0.2, 0.0), (0.0, 0.0, 0.1, 0.2))
"""L of the continuous world in classes."""
ACCELERATION, JITTER, DAMPING = 0.25, 0.02, 0.1
"""B and L of the world with velocity, diagonal, in classes, and the share of velocity lost a step."""
PIXEL_NOISE = 0.15
"""Standard deviation of the noise on the images of both, which is also the models' sigma."""


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    num_train: int = 120
    """Sequences to learn from, in each world (count)."""
    num_held_out: int = 48
    """Sequences to test on (count)."""
    length: int = 40
    """Frames in a sequence (count)."""
    em_steps: int = 30
    """EM steps for the dynamics without velocity (count)."""
    second_order_steps: int = 100
    """EM steps for the dynamics with velocity, which is never observed (count)."""
    horizon: int = 10
    """Steps of the long forecasts (count)."""
    lattice: bool = True
    """Whether to explore the lattice."""
    second_order: bool = True
    """Whether to explore the world with velocity."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(num_train=15, num_held_out=9, length=20, em_steps=10, lattice=False, second_order=False)
        return cls(num_train=240, num_held_out=240, length=60, second_order_steps=300) if scale == "paper" else cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    noisy = lambda motion: PixelNoise(DSprites(motion=motion, renderer=Antialiased()), PIXEL_NOISE)  # noqa: E731
    continuous = noisy(ContinuousMotion(np.asarray(GAIN), np.asarray(NOISE)))
    train, test = _explore(config, context, "continuous", continuous, Reversal((1.0, 0.0, 2.0, 2.0)), PIXEL_NOISE, key)
    true = true_first_order(jnp.asarray(GAIN), jnp.asarray(NOISE))
    fit = learn(context, "learn", first_guess(), train, Parts(), config.em_steps, key=key)
    found, bayes, online = linear(fit.model), regress(fit.model, train), regress_online(train)
    candidates = {"true": true, "EM": found, "Bayesian": bayes.expected(), "Bayesian, online": online.expected()}
    claims = {
        "EM": ("dynamics/one-step", "dynamics/ten-step"),
        "Bayesian": ("dynamics/one-step-bayes", "dynamics/ten-step-bayes"),
    }
    models = {of: model_of(each) for of, each in candidates.items()}
    report_scores(context, "continuous", models, test, config.horizon, claims, key=key)
    gains = jax.vmap(bayes.information_gain)(train.values[0, :-1], train.actions[0])
    context.note("information", f"After {config.num_train * (config.length - 1)} transitions, one more is expected to teach "
                 f"{float(jnp.mean(gains)):.4f} nats about A, B and L.")  # fmt: skip
    paths = {"continuous": fit.log_evidence_nats / train.values[..., 0].size}
    levels = {"continuous": evidence(model_of(true), train, key=key)}
    draw_forecast(context, "continuous", fit.model, test, PIXEL_NOISE, key=key)
    matrices = {
        "A": (np.asarray(true.matrix), np.asarray(found.matrix)),
        "B (classes)": tuple(np.asarray(d.control) / np.asarray(CLASS_STEP)[:, None] for d in (true, found)),
    }
    context.figure(
        "matrices", plot_matrices(matrices), caption="True and learned matrices of the continuous world."
    )  # fmt: skip
    if config.lattice:
        _lattice(config, context, key)
    if config.second_order:
        world = noisy(SecondOrderMotion(ACCELERATION * np.eye(4), JITTER * np.eye(4), DAMPING))
        path, level = _second_order(config, context, world, key)
        paths["with velocity"], levels["with velocity"] = path, level
    context.figure(
        "evidence", plot_evidence(jax.tree.map(np.asarray, paths), reference=levels),
        caption="Evidence over EM iterations on the training sequences; the true dynamics' evidence is dashed.",
    )  # fmt: skip


def _lattice(config: Config, context: RunContext, key: Key) -> None:
    """Whole moves without noise: the true density is no density, so forecasts are judged by the class they name."""
    train, test = _explore(config, context, "lattice", DSprites(), LATTICE_EXPLORATION, LATTICE_SIGMA, key)
    model = learn(context, "learn-lattice", first_guess(), train, Parts(), config.em_steps, key=key).model
    seen = config.length - 1 - config.horizon
    predicted = jax.vmap(lambda sequence: forecast(model, sequence, seen, key=key).loc[-1])(test)
    classes = jax.vmap(lambda z: in_classes(SpriteCoordinates(), z))(predicted)
    error = np.abs(class_errors(classes, test.latents[:, -1]))
    right = np.all(error < 0.5, axis=1)
    context.measure("dynamics/lattice", right.mean(), stderr=right.std() / right.size**0.5)
    control = np.asarray(linear(model).control) / np.asarray(CLASS_STEP)[:, None]
    context.note(
        "lattice",
        f"On the lattice, the learned B differs from one class an action by at most "
        f"{np.abs(control - np.eye(4)).max():.4f} classes; the largest error of a forecast {config.horizon} steps ahead "
        f"is {error.max():.3f} classes.",
    )


def _second_order(
    config: Config, context: RunContext, world: AbstractSpriteWorld, key: Key
) -> tuple[Float[Array, " steps"], float]:
    """Sprites with velocity, of which only positions are seen; returns the evidence path and the true model's evidence."""
    train, test = _explore(config, context, "velocity", world, Spring(), PIXEL_NOISE, key)
    step, eye, zero = jnp.asarray(CLASS_STEP), jnp.eye(4), jnp.zeros((4, 4))
    guess = LinearDynamics(
        jnp.block([[eye, eye], [zero, 0.5 * eye]]), jnp.zeros((8, 4)), jnp.diag(0.3 * jnp.concatenate([step, step]))
    )
    initial = (jnp.zeros(8), jnp.diag(jnp.concatenate([jnp.ones(4), 0.3 * step])))
    parts, steps = Parts(initial=True), config.second_order_steps
    fit = learn(context, "learn-velocity", model_of(guess, initial), train, parts, steps, key=key)
    # The world starts at rest, which its model may know; 1e-3 classes a step stand for it.
    rest = (jnp.zeros(8), jnp.diag(jnp.concatenate([jnp.ones(4), 1e-3 * step])))
    true = model_of(true_second_order(ACCELERATION * eye, JITTER * eye, DAMPING), rest)
    learned, truth = (linear(in_displacement_coordinates(model)) for model in (fit.model, true))
    # In classes, so that a factor's unit does not decide how much its errors count.
    units = jnp.concatenate([step, step])
    a, b = ((d.matrix * units[None, :] / units[:, None], d.control / units[:, None]) for d in (learned, truth))
    errors = [float(jnp.linalg.norm(x - y) / jnp.linalg.norm(y)) for x, y in zip(a, b, strict=True)]
    context.measure("dynamics/second-order", max(errors))
    models, claims = {"true": true, "EM": fit.model}, {"EM": (None, "dynamics/second-order-ten-step")}
    report_scores(context, "velocity", models, test, config.horizon, claims, key=key)
    context.note(
        "velocity", f"Relative errors of the learned second-order system: A {errors[0]:.4f}, B {errors[1]:.4f}."
    )
    context.figure(
        "matrices-velocity", plot_matrices({"A (classes)": (b[0], a[0]), "B (classes)": (b[1], a[1])}),
        caption="The world with velocity, in coordinates in which the hidden half is the expected displacement of one step.",
    )  # fmt: skip
    draw_forecast(context, "velocity", fit.model, test, PIXEL_NOISE, key=key)
    return fit.log_evidence_nats / train.values[..., 0].size, evidence(true, train, key=key)


def _explore(
    config: Config,
    context: RunContext,
    name: str,
    world: AbstractSpriteWorld,
    exploration: Reversal | Spring,
    sigma: float,
    key: Key,
) -> tuple[Interaction, Interaction]:
    """Sequences to learn from, and others to test on."""
    num, length = config.num_train, config.length
    total = num + config.num_held_out
    build = partial(explore, world, exploration, tracking_models(sigma), num_sequences=total, length=length)
    data = jax.tree.map(jnp.asarray, context.stage(f"explore-{name}", build, key=key))
    return jax.tree.map(lambda leaf: leaf[:num], data), jax.tree.map(lambda leaf: leaf[num:], data)
