"""Returns of agents in words and numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import bootstrap, trim_mean

from ...agents import Played
from ...train import plain


class ReturnsSummary(NamedTuple):
    """What agents earned in whole episodes.

    Attributes:
        mean_return: over agents and episodes, without discount.
        stderr_return: over agents; over episodes where there is one agent; NaN where there is one episode.
        interquartile_mean: without the upper and the lower quarter of all episodes.
        interval: of it, 95 % by the bootstrap over episodes.
        mean_steps: length of an episode.
        episodes: of all agents.
        agents: how many.
    """

    mean_return: float
    stderr_return: float
    interquartile_mean: float
    interval: tuple[float, float]
    mean_steps: float
    episodes: int
    agents: int

    def plain(self) -> dict[str, Any]:
        """For a file; what is not known is None."""
        return plain(self._asdict())

    def words(self) -> list[tuple[str, str]]:
        """For reading."""
        low, high = self.interval
        error = f" ± {self.stderr_return:.1f}" if np.isfinite(self.stderr_return) else ""
        over = "agents" if self.agents > 1 else "episodes"
        return [
            (f"mean return, with its error over {over}", f"{self.mean_return:.1f}{error}"),
            ("interquartile mean, with its 95 % interval", f"{self.interquartile_mean:.1f} ({low:.1f} to {high:.1f})"),
            ("steps in an episode", f"{self.mean_steps:.1f}"),
            ("episodes, of agents", f"{self.episodes}, {self.agents}"),
        ]


def returns_summary(played: Sequence[Played]) -> ReturnsSummary:
    """Means over the episodes of some agents, with their errors.

    References:
        Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021, for the interquartile
        mean.
    """
    returns = np.concatenate([each.returns for each in played])
    means = np.asarray([each.returns.mean() for each in played])
    values = means if means.size > 1 else returns
    error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    middle = float(trim_mean(returns, 0.25))
    interval = (middle, middle)
    if np.ptp(returns) > 0.0:
        statistic = lambda values, axis: trim_mean(values, 0.25, axis=axis)  # noqa: E731
        rng = np.random.default_rng(0)
        found = bootstrap((returns,), statistic, method="percentile", rng=rng, n_resamples=2_000).confidence_interval
        interval = (float(found.low), float(found.high))
    steps = float(np.concatenate([each.steps for each in played]).mean())
    return ReturnsSummary(float(returns.mean()), float(error), middle, interval, steps, returns.size, len(played))
