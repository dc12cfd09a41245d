"""Claims, tables and curves of the perception experiment: amortization gaps, and steps to the optimum."""

import jax
import jax.numpy as jnp
import numpy as np

from ...metrics import Estimated, amortization_gap, bootstrap, share_closed, steps_to
from ...runs import RunContext
from ...typing import Array, Float, Key
from ...viz import plot_energies, plot_gaps
from ._perception_measures import SLOW_MOMENTUM, SLOW_RATE


def report_gaps(context: RunContext, energies: dict[str, Float[Array, " n"]], *, key: Key) -> None:
    """Measure the share of the encoder's gap that is closed, and tabulate all gaps."""
    names = {
        "encoder": "encoder (direct)",
        "iterative": "encoder, then iterative amortized",
        "iterative_feedforward": "feedforward start, then iterative amortized",
        "natural": "feedforward start, then natural gradient",
        "natural_encoder": "encoder, then natural gradient",
        "natural_full": "encoder, then natural gradient, full covariance",
    }
    gaps = {name: amortization_gap(energies[name], energies["adam"], key=key) for name in names}
    closed = {name: share_closed(gaps["encoder"].nats, gap.nats, key=key) for name, gap in gaps.items()}
    context.measure("perception/gap-closed", *floats(closed["iterative"]))
    rows = [
        (names[name], _printed(gap.mean_nats), _printed(gap.median_nats), float(np.quantile(gap.nats, 0.9)),
         _printed(closed[name]))
        for name, gap in gaps.items()
    ]  # fmt: skip
    context.table(
        "gaps",
        ("engine", "mean gap (nats)", "median gap (nats)", "90 % quantile (nats)", "share of the encoder's closed"),
        rows,
        caption=f"Amortization gaps on {len(energies['adam'])} held-out images against the best of all long Adam runs with a "
        "diagonal covariance. A full covariance may go below that reference (negative gaps).",
    )
    context.figure(
        "gaps",
        plot_gaps({names[name]: np.asarray(gap.nats) for name, gap in gaps.items()}),
        caption="Amortization gap of every image, by engine, in nats; gaps below 0.01 nats (negative ones too) are in the "
        "leftmost bin. The black line is the median.",
    )


def report_speed(
    context: RunContext, settings: Float[Array, "4"], paths: dict[str, Float[Array, "n steps"]], *, key: Key
) -> None:
    """Measure the ratio of steps, and tabulate them."""
    alpha, beta, adam, descent = (float(value) for value in settings)
    names = {
        "momentum": f"natural gradient, alpha = {alpha:g}, beta = {beta:g}",
        "no_momentum": f"natural gradient, alpha = {alpha:g}, beta = 0",
        "newton": "natural gradient, alpha = 1, beta = 0",
        "slow_momentum": f"natural gradient, alpha = {SLOW_RATE:g}, beta = {SLOW_MOMENTUM:g}",
        "slow": f"natural gradient, alpha = {SLOW_RATE:g}, beta = 0",
        "adam": f"Adam, rate {adam:g}",
        "descent": f"gradient descent, rate {descent:g}",
    }
    clean = {name: jnp.where(jnp.isnan(paths[name]), jnp.inf, paths[name]) for name in names}
    best = jnp.min(jnp.stack([jnp.min(path, axis=1) for path in clean.values()]), axis=0)
    passages = {name: steps_to(path, best + 1.0) for name, path in clean.items()}

    def against(name):
        # From the second energy on: an image that starts within a nat counts as one step for both.
        steps = jax.tree.map(lambda count: jnp.maximum(count, 1.0), (passages["momentum"].steps, passages[name].steps))
        return bootstrap(lambda pair: jnp.median(pair[0]) / jnp.median(pair[1]), steps, key=key)

    rows = [
        (names[name], _printed(bootstrap(jnp.median, passage.steps, key=key)), float(passage.reached.mean()),
         _printed(against(name)))
        for name, passage in passages.items()
    ]  # fmt: skip
    context.measure("perception/steps-ratio", *floats(against("adam")))
    context.table(
        "steps",
        ("engine", "median steps to 1 nat", "share that arrived", "natural gradient with momentum / this"),
        rows,
        caption=f"Steps from the same feedforward start to within 1 nat of the least energy that any engine found, "
        f"{len(best)} held-out images, diagonal covariance, the same cubature points for all; runs that did not arrive "
        "count with their length. Settings were chosen on training images.",
    )
    context.figure(
        "speed",
        plot_energies({names[name]: np.asarray(path - best[:, None]) for name, path in clean.items()}),
        caption="Free energy above the least one that any engine found, from the same feedforward start: median and middle "
        "half of the held-out images (floor 0.001 nats).",
    )


def floats(estimated: Estimated) -> tuple[float, float]:
    """Value and standard error as Python numbers."""
    return float(estimated.value), float(estimated.stderr)


def _printed(estimated: Estimated) -> str:
    return f"{float(estimated.value):.3g} ± {float(estimated.stderr):.1g}"
