"""A joint of heads is the product of their densities; a missing head says nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from homeostat.core import AbstractMarkovModel
from homeostat.distributions import Cubature, FullGaussian, Joint, Masked, complete, partial_log_prob
from homeostat.inference import filter
from homeostat.inference.engines import NaturalGradient
from homeostat.inference.filters import Kalman, VariationalFilter
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.objectives import Evidence, FreeEnergy
from tolerances import ALGEBRA, AUTODIFF

HEADS = {"image": dist.Normal(jnp.arange(6.0).reshape(2, 3), 0.5).to_event(2), "end": dist.Bernoulli(probs=0.3)}
DYNAMICS = LinearDynamics(0.9 * jnp.eye(2), None, 0.3 * jnp.eye(2))


class TwoHeads(AbstractMarkovModel):
    """The state of a linear-Gaussian model, its coordinates seen apart."""

    def initial(self):
        return dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.eye(2))

    def transition(self, state, action):
        return DYNAMICS(state, action)

    def emission(self, state):
        return Joint({"a": dist.Normal(state[:1], 0.5).to_event(1), "b": dist.Normal(state.sum(), 0.4)})


def flat():
    """The same model with both heads in one vector."""
    noise = jnp.diag(jnp.array([0.5, 0.4]))
    return LinearGaussian(jnp.zeros(2), jnp.eye(2), DYNAMICS, jnp.array([[1.0, 0.0], [1.0, 1.0]]), noise)


def test_densities_multiply_and_samples_are_trees(key):
    joint = Joint(HEADS)
    value = jax.jit(joint.sample)(key)
    assert value["image"].shape == (2, 3)
    total = HEADS["image"].log_prob(value["image"]) + HEADS["end"].log_prob(value["end"])
    np.testing.assert_allclose(eqx.filter_jit(lambda j, v: j.log_prob(v))(joint, value), total, atol=ALGEBRA)
    np.testing.assert_allclose(joint.mean["image"], HEADS["image"].mean, atol=ALGEBRA)
    np.testing.assert_allclose(joint.entropy(), sum(jnp.sum(h.entropy()) for h in HEADS.values()), atol=ALGEBRA)


def test_missing_entries_of_one_head_are_integrated_out(key):
    joint = Joint(HEADS)
    value = {"image": jnp.ones((2, 3)), "end": jnp.ones((), int)}
    observed = {"image": jnp.zeros((2, 3), bool).at[0].set(True), "end": jnp.ones((), bool)}
    got = partial_log_prob(joint, value, observed)
    base = dist.Normal(jnp.arange(3.0), 0.5)
    np.testing.assert_allclose(got, jnp.sum(base.log_prob(jnp.ones(3))) + jnp.log(0.3), atol=ALGEBRA)
    filled = complete(joint, value, observed, key=key)
    np.testing.assert_array_equal(filled["image"][0], 1.0)
    assert not np.any(filled["image"][1] == 1.0)


def test_free_energy_of_two_heads_is_that_of_one_vector(key):
    q = FullGaussian(2)(FullGaussian(2).init())
    x = jnp.array([0.7, -1.2])
    two = FreeEnergy(TwoHeads(), Cubature())(q, Evidence({"a": x[:1], "b": x[1]}), key=key)
    one = FreeEnergy(flat(), Cubature())(q, Evidence(x), key=key)
    np.testing.assert_allclose(two, one, atol=ALGEBRA)


def test_filtering_with_a_head_missing(key):
    """One natural-gradient step is Bayes' rule in a linear-Gaussian model; the exact filter sees NaN in one vector."""
    xs = jr.normal(key, (4, 2)).at[1, 0].set(jnp.nan).at[2, 1].set(jnp.nan)
    variational = VariationalFilter(NaturalGradient(1.0), FullGaussian(2))
    heads = {"a": xs[:, :1], "b": xs[:, 1]}
    got = eqx.filter_jit(filter)(variational, TwoHeads(), heads, key=key)
    exact = eqx.filter_jit(filter)(Kalman(), flat(), xs, key=key)
    np.testing.assert_allclose(got.beliefs.mean, exact.beliefs.mean, atol=AUTODIFF)
    np.testing.assert_allclose(got.beliefs.covariance, exact.beliefs.covariance, atol=AUTODIFF)
    masked = Masked(jax.tree.map(jnp.nan_to_num, heads), jax.tree.map(lambda leaf: ~jnp.isnan(leaf), heads))
    again = eqx.filter_jit(filter)(variational, TwoHeads(), masked, key=key)
    np.testing.assert_allclose(again.beliefs.mean, exact.beliefs.mean, atol=AUTODIFF)
