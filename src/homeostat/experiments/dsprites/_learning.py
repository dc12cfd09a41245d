"""Linear dynamics of tracked latents: how they are learned and judged, and what is reported of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...environments import Antialiased, ContinuousMotion, DSprites
from ...inference import (
    Learned,
    Parts,
    RauchTungStriebel,
    SequenceBatch,
    expectation_maximization,
    filter,
    predictive_log_likelihood,
    smooth,
    transition_moments,
)
from ...inference.filters import GaussianBelief, Kalman
from ...metrics import evaluate_sequences, mean_with_error
from ...models.sequential import BayesianLinearDynamics, LinearDynamics, LinearGaussian, Periodic
from ...models.static import SpriteCoordinates, model_at, stack_models
from ...runs import RunContext
from ...typing import Array, Float, Key
from ...viz import plot_forecasts, plot_frames
from ..kit import measure
from ._interaction import Interaction
from ._sprites import CLASS_STEP, HEART, in_classes
from ._tracking import tracking_models


def kalman() -> Kalman:
    """The exact filter for measured z, whose second coordinate is an angle."""
    return Kalman(Periodic(SpriteCoordinates().periods))


def model_of(dynamics: LinearDynamics, initial: tuple[Array, Array] | None = None) -> LinearGaussian:
    """The state space of measured z: the first four coordinates are seen, each measurement brings its own noise."""
    dim = dynamics.dim
    mean, factor = (jnp.zeros(dim), jnp.eye(dim)) if initial is None else initial
    return LinearGaussian(mean, factor, dynamics, jnp.eye(4, dim), jnp.eye(4))


def linear(model: LinearGaussian) -> LinearDynamics:
    """Its dynamics: exact EM learns no others."""
    assert isinstance(model.dynamics, LinearDynamics)
    return model.dynamics


def learn(
    context: RunContext, name: str, start: LinearGaussian, train: Interaction, parts: Parts, num_steps: int, *, key: Key
) -> Learned[LinearGaussian]:
    """Exact EM on the tracked latents with their noises, as a stage of a run."""

    def fit(key: Key) -> Learned[LinearGaussian]:
        smoother = RauchTungStriebel(kalman())
        return expectation_maximization(
            start, train.measurements, train.actions, parts=parts, smoother=smoother, num_steps=num_steps
        )

    return context.stage(name, fit, key=key, like=Learned(start, jnp.zeros(num_steps + 1)))


@eqx.filter_jit
def regress(model: LinearGaussian, train: Interaction) -> BayesianLinearDynamics:
    """Conjugate posterior of A, B and L from the expected moments of smoothed latents."""
    smoother = RauchTungStriebel(kalman())

    def moments(sequence):
        return transition_moments(smooth(smoother, model, sequence.measurements, sequence.actions), sequence.actions)

    pooled = jax.vmap(moments)(train).pool()
    prior = BayesianLinearDynamics.prior(4, 4, noise_scale=0.02)
    return prior.update_moments(pooled.without_constant(4), pooled.count)


@eqx.filter_jit
def regress_online(train: Interaction) -> BayesianLinearDynamics:
    """The same posterior from the measured values alone, one transition after the other, as if they were exact."""
    before, after = train.values[:, :-1], train.values[:, 1:]
    after = Periodic(SpriteCoordinates().periods).nearest(after, before)
    data = tuple(leaf.reshape(-1, 4) for leaf in (before, train.actions, after))
    # A transition that was not tracked becomes one of zeros, which teaches nothing about A and B.
    known = jnp.all(jnp.isfinite(data[0]) & jnp.isfinite(data[2]), axis=1, keepdims=True)
    data = tuple(jnp.where(known, leaf, 0.0) for leaf in data)
    prior = BayesianLinearDynamics.prior(4, 4, noise_scale=0.02)
    return jax.lax.scan(lambda belief, datum: (belief.update(*datum), None), prior, data)[0]


@eqx.filter_jit
def score(
    candidates: LinearGaussian, test: Interaction, horizon: int, *, key: Key
) -> tuple[Float[Array, "candidates sequences"], Float[Array, "candidates sequences"]]:
    """Mean log-likelihoods of each held-out sequence in nats, one step and `horizon` steps ahead, under stacked candidates."""

    def one(model, sequence):
        observations, actions = sequence.measurements, sequence.actions
        filtered = filter(kalman(), model, observations, actions, key=key, throw=False)
        far = predictive_log_likelihood(kalman(), model, filtered, observations, actions, horizon=horizon, key=key)
        return -jnp.mean(filtered.info.free_energy_nats[1:]), jnp.mean(far)

    return eqx.filter_vmap(lambda model: jax.vmap(lambda sequence: one(model, sequence))(test))(candidates)


@eqx.filter_jit
def forecast(model: LinearGaussian, sequence: Interaction, seen: int, *, key: Key) -> GaussianBelief:
    """Beliefs of the filter on one sequence of which it sees nothing after frame `seen`."""
    mask = jnp.arange(len(sequence.values)) <= seen
    beliefs = filter(kalman(), model, sequence.measurements, sequence.actions, key=key, mask=mask).beliefs
    assert isinstance(beliefs, GaussianBelief)  # A Kalman filter has no others.
    return beliefs


def evidence(model: LinearGaussian, data: Interaction, *, key: Key) -> float:
    """Log evidence a frame, in nats."""
    sequences = SequenceBatch(data.measurements, data.actions)
    found = evaluate_sequences(kalman(), model, sequences, key=key, batch_size=len(data.values))
    return -float(jnp.mean(found.free_energy_nats)) / data.values.shape[1]


def first_guess() -> LinearGaussian:
    """Standing still, with noise of half a class, and no idea of what actions do."""
    return model_of(LinearDynamics(jnp.eye(4), jnp.zeros((4, 4)), jnp.diag(0.5 * jnp.asarray(CLASS_STEP))))


NAMES = ("scale", "orientation", "x", "y")


def report_scores(
    context: RunContext,
    name: str,
    candidates: dict[str, LinearGaussian],
    test: Interaction,
    horizon: int,
    claims: dict[str, tuple[str | None, str]],
    *,
    key: Key,
) -> None:
    """Log-likelihoods of every candidate, and what it loses against the first, the truth, with errors over sequences.

    `claims` are those of a candidate about one step and about `horizon` steps.
    """
    scores, rows = score(stack_models(tuple(candidates.values())), test, horizon, key=key), []
    for index, candidate in enumerate(candidates):
        lost = [mean_with_error(values[0] - values[index]) for values in scores]
        for claim, estimated in zip(claims.get(candidate, ()), lost, strict=False):
            if claim is not None:
                measure(context, claim, estimated)
        cells = [(jnp.mean(values[index]), *loss) for values, loss in zip(scores, lost, strict=True)]
        rows.append((candidate, *(float(number) for cell in cells for number in cell)))
    context.table(
        f"scores-{name}",
        ("dynamics", "1 step", "lost", "standard error", f"{horizon} steps", "lost", "standard error"),
        rows, caption=f"Predictive log-likelihood of held-out tracked latents, nats per step ({name} world).",
    )  # fmt: skip


def draw_forecast(
    context: RunContext, name: str, model: LinearGaussian, test: Interaction, sigma: float, *, key: Key
) -> None:
    """One held-out sequence: the second half is forecast from the first and the actions.

    The sequence is that of a heart, whose angle has no symmetry; `sigma` is the deviation of a pixel.
    """
    heart = int(np.argmax(np.asarray(test.latents)[:, 0, 0] == HEART))
    shown = jax.tree.map(lambda leaf: leaf[heart], test)
    length = len(shown.values)
    seen = length // 2
    found = forecast(model, shown, seen, key=key)
    classes = jax.jit(jax.vmap(lambda z: in_classes(SpriteCoordinates(), z)))
    scale = jnp.sqrt(jnp.diagonal(found.covariance, axis1=1, axis2=2))[:, :4] / jnp.asarray(CLASS_STEP)[None, :]
    actual = Periodic(SpriteCoordinates().periods).nearest(shown.values, found.loc[:, :4])
    curves = (np.asarray(part) for part in (classes(actual), classes(found.loc[:, :4]), scale))
    context.figure(
        f"forecast-{name}",
        plot_forecasts(*curves, names=NAMES, unit="classes", start=seen),
        caption="A held-out sequence: filtered up to the dotted line, forecast from the actions alone after it.",
    )
    times = np.linspace(seen, length - 1, min(8, length - seen)).astype(int)
    sprite = model_at(tracking_models(sigma), HEART)
    predicted = np.asarray(jax.jit(jax.vmap(sprite.image))(found.loc[times, :4]))
    pictures = jax.jit(jax.vmap(DSprites(motion=ContinuousMotion(), renderer=Antialiased()).render))
    context.figure(
        f"frames-{name}",
        plot_frames(
            {"actual": np.asarray(pictures(shown.latents[times])), "forecast": predicted}, times=times.tolist()
        ),
        caption="The same sequence as pictures: the world, and the model's image at the forecast mean.",
    )
