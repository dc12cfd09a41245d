"""Active units on models whose dead units are known, and rates that add up to those of the levels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.core import AbstractModel
from homeostat.distributions import (
    AbstractLevel,
    DiagonalGaussian,
    DiagonalGaussianParams,
    FullGaussian,
    Hierarchical,
    Ladder,
    MonteCarlo,
)
from homeostat.metrics import encode, representation
from homeostat.metrics._representation import Codes
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS


class Level(AbstractLevel):
    """Mean linear in the context; the value is passed on."""

    weights: jax.Array
    dim: int = eqx.field(static=True)

    def conditional(self, context):
        return dist.Normal(self.weights @ context, jnp.full(self.dim, 0.5)).to_event(1)

    def descend(self, context, value):
        return value


class Deep(AbstractModel):
    """Two levels: three units above, of which the data see none directly, and two below."""

    def initial(self):
        weights = jnp.asarray([[1.0, 0.5, 0.0], [0.0, -1.0, 0.0]])
        return Hierarchical([Level(weights, 2), Level(jnp.zeros((3, 0)), 3)])

    def emission(self, state):
        return dist.Normal(state[:2], 0.3).to_event(1)


class Partial(AbstractModel):
    """x sees the first and the third of four units only."""

    def initial(self):
        return dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1)

    def emission(self, state):
        return dist.Normal(state[jnp.asarray([0, 2])], 0.5).to_event(1)


def test_dead_units_are_found(key):
    # The exact posterior of N(0, 1) seen with noise 0.5: precision 1 + 4, mean 4 x / 5; the prior where nothing is seen.
    observations = np.sqrt(1.25) * jr.normal(key, (4_000, 2))
    loc = jnp.zeros((4_000, 4)).at[:, jnp.asarray([0, 2])].set(0.8 * observations)
    log_scale = jnp.broadcast_to(-0.5 * jnp.log(jnp.asarray([5.0, 1.0, 5.0, 1.0])), (4_000, 4))
    codes = encode(Partial(), DiagonalGaussian(4), DiagonalGaussianParams(loc, log_scale), key=key)
    np.testing.assert_allclose(codes.means, loc, atol=ALGEBRA)
    found = representation(codes, dims=(3, 1))
    assert found.active.tolist() == [True, False, True, False]
    # Cov_x of the mean is 0.64 * 1.25 = 0.8, and the rate is the information log(5) / 2.
    error = np.sqrt(2.0 / 4_000)
    np.testing.assert_allclose(found.variance[::2], 0.8, rtol=MONTE_CARLO_STANDARD_ERRORS * error)
    np.testing.assert_allclose(found.rate_nats[::2], 0.5 * np.log(5.0), rtol=MONTE_CARLO_STANDARD_ERRORS * error)
    np.testing.assert_allclose(found.rate_nats[1::2], 0.0, atol=ALGEBRA)
    assert found.levels.num_active.tolist() == [2, 0] and found.levels.num_units.tolist() == [3, 1]
    np.testing.assert_allclose(found.levels.rate_nats[0], found.rate_nats[:3].sum(), atol=ALGEBRA)
    np.testing.assert_allclose(found.levels.active_rate_nats, found.levels.rate_nats, atol=ALGEBRA)


def test_rates_of_units_add_up_to_those_of_levels(key):
    model, family = Deep(), DiagonalGaussian(5)
    loc_key, draw_key, level_key = jr.split(key, 3)
    params = DiagonalGaussianParams(jr.normal(loc_key, (3, 5)), jnp.full((3, 5), -0.5))
    codes = encode(model, family, params, key=draw_key, num_samples=4_000, batch_size=2)
    energy = FreeEnergy(model, MonteCarlo(4_000))
    rates = eqx.filter_jit(
        jax.vmap(lambda p: energy.terms(family(p), Evidence(jnp.zeros(2)), key=level_key).rates_nats)
    )(params)
    lower, upper = codes.rates_nats[:, :2].sum(axis=1), codes.rates_nats[:, 2:].sum(axis=1)
    # The top level's prior does not depend on draws; the lower one's mean does, with a variance below 2 a unit.
    np.testing.assert_allclose(upper, rates[:, 1], atol=ALGEBRA)
    scale = 2.0 * np.sqrt(2.0 * 2.0 * (1.0 + np.asarray(rates[:, 0])))
    assert np.all(np.abs(lower - rates[:, 0]) < MONTE_CARLO_STANDARD_ERRORS * np.sqrt(2.0 / 4_000) * scale)


def test_noise_of_estimated_means_is_taken_off(key):
    # A ladder without messages is the prior itself: no unit depends on the data, however few draws its mean is from.
    model = Deep()
    ladder = Ladder(model.initial().levels)
    silent = DiagonalGaussianParams(jnp.zeros((800, 5)), jnp.full((800, 5), 20.0))
    found = representation(encode(model, ladder, silent, key=key, num_samples=8, batch_size=100), dims=(2, 3))
    assert not found.active.any()
    np.testing.assert_allclose(found.rate_nats, 0.0, atol=1e-6)


def test_bad_input_is_refused(key):
    codes = Codes(jnp.zeros((3, 4)), jnp.zeros((3, 4)), jnp.zeros((3, 4)))
    with pytest.raises(BadInputError, match="add up to 4 units"):
        representation(codes, dims=(2, 1))
    with pytest.raises(BadInputError, match="at least two rows"):
        representation(jax.tree.map(lambda leaf: leaf[:1], codes))
    family = FullGaussian(4)
    params = jax.tree.map(lambda leaf: leaf[None], family.init())
    with pytest.raises(BadInputError, match="independent normals"):
        encode(Partial(), family, params, key=key)
