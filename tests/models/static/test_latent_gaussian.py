"""Latent Gaussian models of one level and of many."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Hierarchical
from homeostat.models.static import Bernoulli, LearnedLevel, Multinomial, Skip, latent_gaussian
from homeostat.nn import MLP, Dense, HighwayMLP
from tolerances import ALGEBRA


def test_one_level_is_a_decoder_of_standard_normals(key):
    model = latent_gaussian(Bernoulli((2, 3)), (4,), key=key, mapping=partial(MLP, width=5, depth=1))
    z, x = jr.normal(key, (4,)), jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert model.dims == (4,) and model.dim == 4
    np.testing.assert_allclose(
        model.initial().log_prob(z), jnp.sum(dist.Normal(jnp.zeros(4), 1.0).log_prob(z)), rtol=ALGEBRA
    )
    logits = model.decoder(z).reshape(2, 3)
    expected = jnp.sum(x * jax.nn.log_sigmoid(logits) + (1.0 - x) * jax.nn.log_sigmoid(-logits))
    np.testing.assert_allclose(model.emission(z).log_prob(x), expected, rtol=ALGEBRA)


@pytest.mark.parametrize("network", [partial(MLP, width=4, depth=1), partial(HighwayMLP, width=4, depth=2)])
def test_three_levels_factorise_from_the_top_down(network, key):
    model = latent_gaussian(
        Bernoulli((5,)),
        (3, 2, 1),
        key=key,
        mapping=network,
        units=2,
        wiring=Skip(),
        conditional_scale=jnp.zeros,
        top=LearnedLevel,
    )
    prior = model.initial()
    assert isinstance(prior, Hierarchical) and prior.dims == (3, 2, 1)
    z = prior.sample(key)
    lowest, middle, top = model.levels
    above = top.descend(jnp.zeros(0), z[5:])
    below = middle.descend(above, z[3:5])
    # Value and units of the level, and all that it was handed itself.
    assert below.shape == (2 + 2 + 1,)
    by_hand = top.conditional(jnp.zeros(0)).log_prob(z[5:]) + middle.conditional(above).log_prob(z[3:5])
    np.testing.assert_allclose(prior.log_prob(z), by_hand + lowest.conditional(below).log_prob(z[:3]), rtol=ALGEBRA)
    np.testing.assert_allclose(model.features(z), model.decoder(lowest.descend(below, z[:3])), rtol=ALGEBRA)
    # Every learnable number has an effect.
    gradient = eqx.filter_jit(
        jax.grad(lambda m: m.initial().log_prob(z) + m.emission(z).log_prob(jnp.ones(5)), allow_int=True)
    )(model)
    assert all(jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(gradient))


def test_word_counts_have_no_length_of_their_own(key):
    model = latent_gaussian(Multinomial(6), (2,), key=key, mapping=lambda a, b, *, key: Dense(a, b, key=key))
    z, counts = jr.normal(key, (2,)), jnp.array([3.0, 0.0, 1.0, 0.0, 2.0, 0.0])
    np.testing.assert_allclose(
        model.emission(z).log_prob(counts), counts @ jax.nn.log_softmax(model.features(z)), rtol=ALGEBRA
    )
