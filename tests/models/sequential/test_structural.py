"""Structural models: each component against a dense Gaussian written out by hand, their sum against statsmodels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from homeostat.inference.filters import log_evidence
from homeostat.models.sequential import Autoregression, KnownInputs, Season, Structural, Trend, apart, side_by_side
from homeostat.results import BadInputError
from tolerances import ALGEBRA

LEVEL, SLOPE, SEASON, SHORT, REMAINDER = 0.15, 0.05, 0.1, 0.3, 0.2
TIME = np.arange(24.0)
SERIES = np.where(
    np.isin(TIME, [3, 10, 11]), np.nan, 0.1 * TIME + np.sin(2 * np.pi * TIME / 6.5) + 0.3 * np.cos(TIME**2)
)

evidence = eqx.filter_jit(lambda structural, x, u=None: log_evidence(structural.model(), x[:, None], u))


def _log(value: float) -> jax.Array:
    return jnp.log(jnp.asarray(value))


def _dense(covariance: np.ndarray, values: np.ndarray, mean: np.ndarray | float = 0.0) -> float:
    """log p of what was seen of a series with this covariance, and the remainder's noise."""
    keep, whole = ~np.isnan(values), covariance + REMAINDER**2 * np.eye(len(values))
    return scipy.stats.multivariate_normal(cov=whole[np.ix_(keep, keep)]).logpdf((values - mean)[keep])


def _walk(size: int) -> np.ndarray:
    """Rows are the steps before each time."""
    return np.tril(np.ones((size, size)), -1)


def _trend(level: float, slope: float, kept: float = 1.0, size: int = 6) -> np.ndarray:
    """Covariance of a level from N(0, 100), the slope of which starts at N(0, 1)."""
    apart = np.subtract.outer(np.arange(size), np.arange(size))
    start = _walk(size) @ kept ** np.arange(size)
    noises = _walk(size) @ np.tril(kept ** np.maximum(apart - 1.0, 0.0), -1)
    return 100.0 + level**2 * _walk(size) @ _walk(size).T + np.outer(start, start) + slope**2 * noises @ noises.T


def _season(period: float, waves: int, size: int = 6) -> np.ndarray:
    """Each wave has the covariance cos(2 pi j (t - s) / period) times the variance gathered until the earlier time."""
    apart = np.subtract.outer(np.arange(size), np.arange(size))
    gathered = 1.0 + SEASON**2 * np.minimum.outer(np.arange(size), np.arange(size))
    return sum(np.cos(2 * np.pi * j * apart / period) for j in range(1, waves + 1)) * gathered


AUTOCOVARIANCE = SHORT**2 * 0.7 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6))) / (1.0 - 0.7**2)


@pytest.mark.parametrize(
    ("component", "covariance"),
    [
        (Trend(_log(LEVEL)), 100.0 + LEVEL**2 * _walk(6) @ _walk(6).T),
        (Trend(_log(LEVEL), _log(SLOPE)), _trend(LEVEL, SLOPE)),
        (Trend(None, _log(SLOPE)), _trend(0.0, SLOPE)),
        (Trend(_log(LEVEL), _log(SLOPE), _log(4.0)), _trend(LEVEL, SLOPE, 0.8)),
        (Season(_log(SEASON), 4.6, 2), _season(4.6, 2)),
        (Season(_log(SEASON), 4.0), _season(4.0, 2)),
        (Autoregression(_log(SHORT), jnp.arctanh(jnp.asarray([0.7]))), AUTOCOVARIANCE),
        (Autoregression(_log(SHORT), jnp.arctanh(jnp.asarray([0.7, 0.0, 0.0]))), AUTOCOVARIANCE),
    ],
)
def test_a_component_has_the_covariance_of_its_equations(component, covariance):
    values = np.array([0.3, -1.2, np.nan, 2.0, 0.7, -0.4])
    found = evidence(Structural((component,), _log(REMAINDER)), jnp.asarray(values))
    assert jnp.abs(found - _dense(covariance, values)) < ALGEBRA


def _sum_of_all() -> Structural:
    # Partial autocorrelations of x_t = 0.5 x_{t-1} + 0.2 x_{t-2} + noise: 0.5 / (1 - 0.2) and 0.2.
    short = Autoregression(_log(SHORT), jnp.arctanh(jnp.asarray([0.625, 0.2])))
    return Structural((Trend(_log(LEVEL), _log(SLOPE)), Season(_log(SEASON), 6.5, 2), short), _log(REMAINDER))


STATSMODELS = -23.61757630416824
"""`UnobservedComponents` (statsmodels 0.15.0) with level="lltrend", a freq_seasonal of 6.5 with 2 harmonics and autoregressive=2:
`loglike` for the variances above, from N(0, diag(100, 1, 1, 1, 1, 1)) and the stationary law of the autoregression on."""


def test_the_sum_of_components_has_the_likelihood_of_statsmodels():
    assert jnp.abs(evidence(_sum_of_all(), jnp.asarray(SERIES)) - STATSMODELS) < ALGEBRA


def test_known_inputs_act_like_a_regression():
    values, inputs = np.array([0.3, -1.2, np.nan, 2.0, 0.7, -0.4]), np.linspace(-1.0, 1.0, 10).reshape(5, 2)
    structural = Structural((Trend(_log(LEVEL)), KnownInputs(jnp.asarray([0.5, -2.0]))), _log(REMAINDER))
    # What acted before the first step is not known.
    covariance = 100.0 + LEVEL**2 * _walk(6) @ _walk(6).T + np.diag([1.0, 0, 0, 0, 0, 0])
    expected = _dense(covariance, values, np.concatenate([[0.0], inputs @ [0.5, -2.0]]))
    assert jnp.abs(evidence(structural, jnp.asarray(values), jnp.asarray(inputs)) - expected) < ALGEBRA


def test_outputs_side_by_side_share_nothing():
    models = [_sum_of_all().model(), Structural((Trend(_log(LEVEL)),), _log(REMAINDER)).model()]
    values = np.stack([SERIES, np.roll(SERIES, 5)], axis=1)
    again = apart(side_by_side(models[:1] * 2))[1]
    assert eqx.tree_equal(again, models[0])
    together = eqx.filter_jit(log_evidence)(side_by_side(models), jnp.asarray(values))
    alone = sum(eqx.filter_jit(log_evidence)(m, jnp.asarray(values[:, i, None])) for i, m in enumerate(models))
    assert jnp.abs(together - alone) < ALGEBRA


def test_parts_are_read_from_a_state():
    structural = _sum_of_all()
    quantities = structural.quantities()
    assert [(each.name, each.adds) for each in quantities] == [
        ("level", True),
        ("slope", False),
        ("season of 6.5 steps", True),
        ("autoregression", True),
    ]
    assert (sum(each.row for each in quantities if each.adds) == structural.model().emission_matrix[0]).all()
    learned = {number.name: np.asarray(number.value) for number in structural.estimates(structural.model())}
    assert np.abs(learned["coefficients of the autoregression"] - [0.5, 0.2]).max() < ALGEBRA
    assert np.abs(learned["noise of the remainder"] - REMAINDER) < ALGEBRA


def test_impossible_components_are_refused():
    with pytest.raises(BadInputError, match="a level or a slope"):
        Trend()
    with pytest.raises(BadInputError, match="a slope where there is damping"):
        Trend(_log(LEVEL), None, _log(4.0))
    with pytest.raises(BadInputError, match="period of at least 2"):
        Season(_log(SEASON), 1.5)
    with pytest.raises(BadInputError, match="1 to 3 waves"):
        Season(_log(SEASON), 7.0, 4)
    with pytest.raises(BadInputError, match="at least one component"):
        Structural((), _log(REMAINDER))
    with pytest.raises(BadInputError, match="at least one model"):
        side_by_side([])
