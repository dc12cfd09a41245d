"""The verdict of a calibration, on a two-level model whose posterior a full covariance holds and independent normals do not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.core import AbstractModel
from homeostat.distributions import AbstractLevel, DiagonalGaussian, FullGaussian, Hierarchical
from homeostat.inference.engines import NaturalGradient
from homeostat.metrics import Calibration, calibrate
from homeostat.metrics._calibrate import report_calibration
from homeostat.results import BadInputError
from tolerances import MONTE_CARLO_STANDARD_ERRORS


class Level(AbstractLevel):
    """Mean linear in the context; the value is passed on."""

    weights: jax.Array
    dim: int = eqx.field(static=True)

    def conditional(self, context):
        return dist.Normal(self.weights @ context, jnp.full(self.dim, 0.5)).to_event(1)

    def descend(self, context, value):
        return value


class Chain(AbstractModel):
    """z2 ~ N(0, 1/4), z1 ~ N(2 z2, 1/4), x ~ N(z1, 1/4)."""

    def initial(self):
        return Hierarchical([Level(jnp.full((1, 1), 2.0), 1), Level(jnp.zeros((1, 0)), 1)])

    def emission(self, state):
        return dist.Normal(state[:1], 0.5).to_event(1)


def run(family, key):
    return calibrate(
        Chain(),
        NaturalGradient(rate=1.0),
        family,
        key=key,
        num_simulations=800,
        num_steps=8,
        num_draws=63,
        names=("z1", "z2"),
        batch_size=100,
    )


def test_a_fitting_posterior_of_a_hierarchy_is_calibrated(key):
    found = run(FullGaussian(2), key)
    assert found.calibrated and found.verdict.startswith("No miscalibration found")
    assert found.num_failed == 0 and found.reliable == 1.0
    error = MONTE_CARLO_STANDARD_ERRORS * found.coverage_stderr[:, None] + 1.0 / 64
    assert np.all(np.abs(found.coverage - found.levels[:, None]) < error)
    assert np.all(np.abs([found.shift, found.width]) < MONTE_CARLO_STANDARD_ERRORS)


def test_independent_normals_are_too_narrow_there(key):
    found = run(DiagonalGaussian(2), key)
    assert not found.calibrated and found.rejected.all()
    assert np.all(found.width > MONTE_CARLO_STANDARD_ERRORS)
    assert np.all(found.coverage < found.levels[:, None])
    text = str(found)
    assert "Not calibrated: 2 of 2 quantities" in text and "z2 is too narrow" in text and "z1 is too narrow" in text
    assert len(text.splitlines()) == 6


def made_up(ranks, failed=False):
    simulations = ranks.shape[0]
    return Calibration(ranks, ranks / 63.0, jnp.full(simulations, 0.1), jnp.full(simulations, failed), 63)


def test_directions_are_told_apart(key):
    uniform = jr.uniform(key, (2_000, 1))
    for change, said in (
        (lambda u: u**1.3, "lies too high"),
        (lambda u: 1.0 - u**1.3, "lies too low"),
        (lambda u: 0.5 + 0.7 * (u - 0.5), "is too wide"),
        (lambda u: jnp.clip(0.5 + 1.4 * (u - 0.5), 0.0, 1.0), "is too narrow"),
    ):
        ranks = jnp.round(change(uniform) * 63).astype(int)
        found = report_calibration(made_up(ranks), key=key)
        assert said in found.verdict and found.names == ("z[0]",)
        # Weights that change nothing repair nothing.
        assert "does not repair" in found.verdict


def test_failures_break_calibration(key):
    ranks = jr.randint(key, (640, 1), 0, 64)
    sound = report_calibration(made_up(ranks), key=key)
    broken = report_calibration(made_up(ranks, failed=True), key=key)
    assert sound.calibrated and not broken.calibrated
    assert "640 of 640 inferences ended non-finite" in broken.verdict


def test_bad_input_is_refused(key):
    with pytest.raises(BadInputError, match="at least 80 simulations"):
        calibrate(Chain(), NaturalGradient(), FullGaussian(2), key=key, num_simulations=50)
    with pytest.raises(BadInputError, match="one for each quantity"):
        report_calibration(made_up(jr.randint(key, (640, 1), 0, 64)), key=key, names=("a", "b"))
