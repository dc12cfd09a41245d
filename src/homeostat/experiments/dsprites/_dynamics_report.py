"""Claims, tables and figures of the dynamics experiment."""

import jax
import jax.numpy as jnp
import numpy as np

from ...environments import Antialiased, ContinuousMotion, DSprites
from ...metrics import mean_with_error
from ...models.sequential import LinearGaussian, Periodic
from ...models.static import SpriteCoordinates, model_at
from ...runs import RunContext
from ...typing import Array, Float, Key
from ...viz import plot_forecasts, plot_frames
from ._interaction import Interaction
from ._learning import forecast
from ._sprites import CLASS_STEP, HEART, in_classes
from ._tracking import tracking_models

NAMES = ("scale", "orientation", "x", "y")

Scored = tuple[Float[Array, "candidates sequences"], Float[Array, "candidates sequences"]]
"""Mean log-likelihoods one step and several steps ahead, as `score` gives them; candidate 0 is the truth."""


def measure_losses(context: RunContext, scores: Scored, candidate: int, claims: tuple[str | None, str]) -> None:
    """The claims of one candidate: what it loses against candidate 0, with standard errors over sequences."""
    for claim, values in zip(claims, scores, strict=True):
        if claim is not None:
            value, stderr = mean_with_error(values[0] - values[candidate])
            context.measure(claim, float(value), stderr=float(stderr))


def tabulate_scores(context: RunContext, name: str, candidates: tuple[str, ...], scores: Scored, horizon: int) -> None:
    """Log-likelihoods of every candidate, and what it loses against candidate 0."""
    rows = []
    for index, candidate in enumerate(candidates):
        cells = [(jnp.mean(values[index]), *mean_with_error(values[0] - values[index])) for values in scores]
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
    value, factor, actions, latents = (leaf[heart] for leaf in test)
    length = len(value)
    seen = length // 2
    found = forecast(model, value, factor, actions, seen, key=key)
    classes = jax.jit(jax.vmap(lambda z: in_classes(SpriteCoordinates(), z)))
    scale = jnp.sqrt(jnp.diagonal(found.covariance, axis1=1, axis2=2))[:, :4] / jnp.asarray(CLASS_STEP)[None, :]
    actual = Periodic(SpriteCoordinates().periods).nearest(value, found.loc[:, :4])
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
        plot_frames({"actual": np.asarray(pictures(latents[times])), "forecast": predicted}, times=times.tolist()),
        caption="The same sequence as pictures: the world, and the model's image at the forecast mean.",
    )
