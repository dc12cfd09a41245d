"""How right are the numbers: log likelihoods of homeostat beside those of scikit-learn, dynamax and closed forms, on the same data.

Run `python benchmarks/accuracy.py`; it prints the table of `docs/accuracy.md`, in nats a row or a step. Rows: four tables that come with
scikit-learn, in the units they have, of which the last fifth in a drawn order is held out; each side learns from the rest, ours as it does by default, the
peer's expectation maximisation to convergence. Sequences: models with given parameters on a walk that they made, in 32 bits here and in
64 bits there, around zero and around 1,000,000. Series: two that come with statsmodels, of which the end is held out, given all before;
left out, with a word, where statsmodels is not installed.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from dynamax.linear_gaussian_ssm import inference as peer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis

from homeostat.adapters import LatentVariableModel
from homeostat.inference import filter, maximum_likelihood
from homeostat.inference.filters import Kalman
from homeostat.models.sequential import (
    AbstractModelParameters,
    ContinuousParameters,
    LinearDynamics,
    LinearGaussian,
    Season,
    Structural,
    Trend,
)

TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer, "diabetes": load_diabetes, "digits": load_digits}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to compare."""

    latents: int = 4
    """Factors or components (count)."""
    peer_steps: int = 5_000
    """Steps of the peer's expectation maximisation, at most (count)."""


class Compared(NamedTuple):
    """One line of the table, in nats."""

    what: str
    data: str
    peer: str
    theirs: float
    ours: float


def rows(config: Config) -> Iterator[Compared]:
    """Held-out log likelihoods of linear models of tables."""
    for name, load in TABLES.items():
        data = np.asarray(load().data, np.float64)
        # A pixel that is the same in all training rows has no density on either side.
        order = np.random.default_rng(0).permutation(len(data))
        cut = len(data) - len(data) // 5
        train, test = data[order[:cut]], data[order[cut:]]
        kept = np.ptp(train, axis=0) > 0.0
        train, test = train[:, kept], test[:, kept]
        exact = {"engine": "exact", "latents": config.latents, "validation_fraction": 0.0, "random_state": 0}
        # The peer's likelihood depends on the unit in which its steps stop, so it gets the standardised columns.
        mean, scale = train.mean(axis=0), train.std(axis=0)
        factors = FactorAnalysis(config.latents, tol=1e-8, max_iter=config.peer_steps, svd_method="lapack")
        theirs = factors.fit((train - mean) / scale).score((test - mean) / scale) - np.log(scale).sum()
        ours = LatentVariableModel("factor-analysis", **exact).fit(train).score(test)
        yield Compared(f"factor analysis, {config.latents} factors", f"{name}, held out", "scikit-learn", theirs, ours)
        # scikit-learn divides the covariance by n - 1.
        stretched = train.mean(axis=0) + (train - train.mean(axis=0)) * math.sqrt((cut - 1) / cut)
        theirs = PCA(config.latents).fit(stretched).score(test)
        ours = LatentVariableModel("probabilistic-pca", **exact).fit(train).score(test)
        yield Compared(
            f"probabilistic PCA, {config.latents} components", f"{name}, held out", "scikit-learn", theirs, ours
        )


def walks() -> Iterator[Compared]:
    """Log evidence of a random walk of 1,000 steps in two coordinates."""
    generator, time = np.random.default_rng(0), 1_000
    walk = np.cumsum(0.5 * generator.normal(size=(time, 2)), axis=0) + 0.3 * generator.normal(size=(time, 2))
    for level in (0.0, 1e6):
        eye = np.eye(2)
        with jax.enable_x64(True):
            params = peer.make_lgssm_params(
                jnp.full(2, level), jnp.eye(2), jnp.eye(2), 0.25 * jnp.eye(2), jnp.eye(2), 0.09 * jnp.eye(2)
            )
            seen = (walk + level).astype(np.float32).astype(np.float64)
            theirs = float(peer.lgssm_filter(params, jnp.asarray(seen)).marginal_loglik) / time
        small = jnp.asarray(eye, jnp.float32)
        dynamics = LinearDynamics(small, None, 0.5 * small)
        model = LinearGaussian(jnp.full(2, level, jnp.float32), small, dynamics, small, 0.3 * small)
        with warnings.catch_warnings():
            # That the data have few digits there is what this line is about.
            warnings.simplefilter("ignore", UserWarning)
            found = filter(Kalman(), model, jnp.asarray(seen, jnp.float32), key=jax.random.key(0))
        where = "around 0" if level == 0.0 else f"around {level:,.0f}"
        yield Compared(
            "Kalman filter, 32 bits",
            f"random walk {where}",
            "dynamax, 64 bits",
            theirs,
            -float(found.free_energy_nats) / time,
        )


def series() -> Iterator[Compared]:
    """Held-out log likelihoods of one step ahead, and the error of a forecast, of models at the maximum of their likelihood."""
    try:
        import statsmodels.api
    except ImportError as error:
        print(f"series are left out, because statsmodels cannot be imported: {error}")
        return
    api: Any = statsmodels.api
    carbon, cut, ahead = np.asarray(api.datasets.co2.load_pandas().data["co2"], np.float64), 1_800, 104
    year = 365.25 / 7.0
    seasons = [{"period": year, "harmonics": 3}]
    peer_fit: Any = api.tsa.UnobservedComponents(carbon[:cut], "lltrend", freq_seasonal=seasons).fit(disp=0)
    start = jnp.asarray(-4.0)
    structural = Structural((Trend(start, start - 2.0), Season(start - 2.0, year)), start)
    nats, forecast = _learned(structural, carbon, cut, ahead)
    theirs = float(
        np.nanmean(
            np.where(np.isnan(carbon[cut:]), np.nan, peer_fit.append(carbon[cut:]).llf_obs[-len(carbon[cut:]) :])
        )
    )
    yield Compared("trend and yearly season", "CO2 weekly, last 484 steps", "statsmodels", theirs, nats)
    errors = [
        math.sqrt(np.nanmean((found - carbon[cut : cut + ahead]) ** 2))
        for found in (peer_fit.forecast(ahead), forecast)
    ]
    yield Compared(
        "the same, error of 104 steps ahead (ppm, negative)", "CO2 weekly", "statsmodels", -errors[0], -errors[1]
    )
    spots, cut = np.asarray(api.datasets.sunspots.load_pandas().data["SUNACTIVITY"], np.float64), 247
    arma: Any = api.tsa.SARIMAX(spots[:cut], order=(4, 0, 3), trend="c").fit(disp=0, maxiter=500)
    theirs = float(arma.append(spots[cut:]).llf_obs[-len(spots[cut:]) :].mean())
    nats, _ = _learned(ContinuousParameters.start(3, 1, duration=1.0, key=jax.random.key(0)), spots, cut, 1)
    yield Compared("ARMA(4, 3); 3 states in continuous time", "sunspots, last 62 years", "statsmodels", theirs, nats)


def _learned(start: AbstractModelParameters, values: np.ndarray, cut: int, ahead: int) -> tuple[float, np.ndarray]:
    """Mean log p of the steps that are held out, one step ahead, and the forecast from where they begin."""
    mean, scale = np.nanmean(values[:cut]), np.nanstd(values[:cut])
    standard = ((values - mean) / scale)[:, None]
    model = maximum_likelihood(start, standard[None, :cut], num_steps=500).parameters.model()
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), model)
        found = filter(Kalman(), model, jnp.asarray(standard), key=jax.random.key(0))
        held = np.asarray(found.info.free_energy_nats)[cut:][~np.isnan(values[cut:])]
        state, forecast = jax.vmap(lambda belief: belief.mean)(found.beliefs)[cut - 1], []
        for _ in range(ahead):
            state = model.dynamics.mean(state)
            forecast.append(float((model.emission_matrix @ state + model.emission_offset)[0]))
    return float(-held.mean() - np.log(scale)), mean + scale * np.asarray(forecast)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    lines = ["| model | data | peer | peer's nats | ours | difference |", "|---|---|---|---:|---:|---:|"]
    for found in [*rows(config), *walks(), *series()]:
        cells = (
            found.what,
            found.data,
            found.peer,
            f"{found.theirs:.4f}",
            f"{found.ours:.4f}",
            f"{found.ours - found.theirs:+.4f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
