"""Weightings of the two terms of a free energy, apart from the bound."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from homeostat.distributions import Cubature, DiagonalGaussian
from homeostat.objectives import (
    Annealing,
    Beta,
    DistortionConstraint,
    DualVariable,
    FreeBits,
    FreeEnergy,
    FreeEnergyTerms,
    RateConstraint,
    Unweighted,
    Weighted,
)
from homeostat.results import BadInputError
from problems import evidence, two_levels
from tolerances import ALGEBRA

TERMS = FreeEnergyTerms(jnp.asarray(10.0), jnp.array([3.0, 0.2]))


def test_beta_and_annealing_weigh_the_rate():
    assert Unweighted()(TERMS, None) == TERMS.free_energy_nats
    np.testing.assert_allclose(Beta(2.0)(TERMS, None), 10.0 + 2.0 * 3.2, rtol=ALGEBRA)
    annealing = Annealing(optax.linear_schedule(0.0, 1.0, 4))
    state, values = annealing.init(), []
    for _ in range(6):
        values.append(float(annealing(TERMS, state)))
        state = annealing.update(TERMS, state)
    np.testing.assert_allclose(values, [10.0, 10.8, 11.6, 12.4, 13.2, 13.2], rtol=ALGEBRA)


def test_free_bits_charge_a_level_only_beyond_its_allowance():
    free = FreeBits(1.0, num_levels=2, decay=0.0)
    state = free.update(TERMS, free.init())
    np.testing.assert_allclose(free(TERMS, state), 10.0 + 3.0 + 1.0, rtol=ALGEBRA)
    with pytest.raises(BadInputError, match="num_levels=1"):
        FreeBits(1.0)(TERMS, jnp.zeros(1))


@pytest.mark.parametrize(
    ("constraint", "excess"),
    [(DistortionConstraint(4.0, DualVariable(decay=0.0)), 6.0), (RateConstraint(4.0, DualVariable(decay=0.0)), -0.8)],
)
def test_a_multiplier_follows_the_excess(constraint, excess):
    """It rises while the constrained term is too large and falls while it is not, by at most `speed` an update."""
    state = constraint.update(TERMS, constraint.init())
    np.testing.assert_allclose(state.violation, excess, rtol=1e-6)
    np.testing.assert_allclose(state.log_value, 0.01 * np.clip(excess, -1.0, 1.0), rtol=1e-6)
    for _ in range(5_000):
        state = constraint.update(TERMS, state)
        if abs(float(state.log_value)) >= 10.0:
            break
    assert abs(float(state.log_value)) <= 10.0
    assert jnp.isfinite(constraint(TERMS, state))


def test_a_constraint_holds_a_term_that_answers_to_its_multiplier():
    """A toy plant D = 8 / lambda settles where D meets its target."""
    constraint = DistortionConstraint(2.0, DualVariable(speed=0.05, decay=0.5))
    state = constraint.init()
    for _ in range(400):
        distortion = 8.0 / jnp.exp(state.log_value)
        state = constraint.update(FreeEnergyTerms(distortion, jnp.zeros(1)), state)
    np.testing.assert_allclose(8.0 / jnp.exp(state.log_value), 2.0, atol=0.01)


def test_the_true_bound_stays_readable(key):
    free_energy, family = FreeEnergy(two_levels(), Cubature()), DiagonalGaussian(2)
    q, args = family(family.init()), evidence()
    weighted = Weighted(free_energy, Beta(5.0))
    terms = weighted.terms(q, args, key=key)
    np.testing.assert_allclose(terms.free_energy_nats, free_energy(q, args, key=key), rtol=ALGEBRA)
    np.testing.assert_allclose(
        weighted(q, args, key=key), terms.distortion_nats + 5.0 * jnp.sum(terms.rates_nats), rtol=ALGEBRA
    )
    assert terms.rates_nats.shape == (2,)


def test_each_term_has_its_own_curvature(key):
    """A weighting is linear where it is differentiable; nothing else tells the curvature of the parts apart."""
    free_energy, value, args = FreeEnergy(two_levels(), Cubature()), jnp.array([0.3, -0.4]), evidence()
    whole = free_energy.curvature(value, args, key=key)
    prior = -eqx.filter_jit(jax.hessian(free_energy.model.initial().log_prob))(value)
    for weighting, distortion, rate in (
        (Unweighted(), 1.0, 1.0),
        (Beta(5.0), 1.0, 5.0),
        (DistortionConstraint(4.0), 1.0, 1.0),
        (FreeBits(1.0), 1.0, 0.0),
    ):
        found = Weighted(free_energy, weighting).curvature(value, args, key=key)
        np.testing.assert_allclose(found, distortion * (whole - prior) + rate * prior, atol=ALGEBRA)
