"""What iterative amortized inference reads, and what the chapter says about it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from homeostat.distributions import Cubature, DiagonalGaussian, DiagonalGaussianParams
from homeostat.inference import infer
from homeostat.inference.engines import (
    Data,
    Direct,
    Estimate,
    Feedback,
    InferenceGradient,
    Iterative,
    Normalized,
    PredictionErrors,
    Residual,
    WeightedErrors,
)
from homeostat.inference.engines._amortized import feedback_at
from homeostat.models.static import ConditionalLevel, Gaussian, LatentGaussian, StandardLevel
from homeostat.nn import MLP
from homeostat.objectives import Beta, Evidence, FreeEnergy, Weighted
from homeostat.results import BadInputError
from problems import linear_model
from tolerances import ALGEBRA, AUTODIFF

PIXELS, LOW, HIGH = 4, 2, 1
DIM = LOW + HIGH


class Linear(eqx.Module):
    matrix: jax.Array

    def __call__(self, x):
        return self.matrix @ x


@pytest.fixture
def chain(key):
    """x ~ N(J z^1, 0.4^2), z^1 ~ N(W z^2, 0.5^2), z^2 ~ N(0, 1)."""
    first, second = jr.split(key)
    level = ConditionalLevel(Linear(jr.normal(first, (LOW, HIGH))), jnp.log(jnp.full(LOW, 0.5)), dim=LOW)
    decoder = Linear(jr.normal(second, (PIXELS, LOW)))
    return LatentGaussian((level, StandardLevel(HIGH)), decoder, Gaussian((PIXELS,), jnp.log(0.4), minimum_scale=0.0))


@pytest.fixture
def single(key):
    network = MLP(LOW, PIXELS, 3, 1, key=key, activation=jnp.tanh)
    return LatentGaussian((StandardLevel(LOW),), network, Gaussian((PIXELS,), jnp.log(0.4)))


ESTIMATE = DiagonalGaussianParams(jnp.array([0.4, -0.3, 0.8]), jnp.array([-0.5, -1.0, -0.2]))


def test_the_gradient_of_a_mean_is_errors_from_below_minus_the_error_above(chain, key):
    """Eqs. 3.3 and 3.7: grad_mu^l L = J^T eps^{l-1} - eps^l, at both levels."""
    observation = jr.normal(key, (PIXELS,))
    objective, family = FreeEnergy(chain, Cubature()), DiagonalGaussian(DIM)
    evidence = Evidence(observation)
    slope = eqx.filter_jit(jax.grad(lambda p: objective(family(p), evidence, key=key)))(ESTIMATE).loc
    errors = objective.errors(family(ESTIMATE), evidence, key=key)
    jacobian, weights = chain.decoder.matrix, chain.levels[0].mean.matrix
    low, high = errors.weighted_latent[:LOW], errors.weighted_latent[LOW:]
    np.testing.assert_allclose(-slope[:LOW], jacobian.T @ errors.weighted_observation - low, rtol=ALGEBRA)
    np.testing.assert_allclose(-slope[LOW:], weights.T @ low - high, rtol=ALGEBRA)
    # The definitions, Eqs. 3.5 and 3.6.
    np.testing.assert_allclose(errors.observation, observation - jacobian @ ESTIMATE.loc[:LOW], rtol=ALGEBRA)
    np.testing.assert_allclose(errors.weighted_observation, errors.observation / 0.4**2, rtol=ALGEBRA)
    np.testing.assert_allclose(low, (ESTIMATE.loc[:LOW] - weights @ ESTIMATE.loc[LOW:]) / 0.5**2, rtol=ALGEBRA)


@pytest.mark.parametrize("encoding", [InferenceGradient(), WeightedErrors()], ids=["gradients", "errors"])
def test_inference_is_top_down_without_being_told(chain, encoding, key):
    """Fig. 3.4: what is believed above changes the update below; a bottom-up encoder cannot know of it."""
    size = 2 * DIM if isinstance(encoding, InferenceGradient) else PIXELS + DIM
    engine = Iterative(MLP(size, 2 * DIM, 4, 1, key=key), (encoding,), Residual())
    encoder = Direct(Data(lambda args: args.observation).features)
    objective, family = FreeEnergy(chain, Cubature()), DiagonalGaussian(DIM)
    evidence = Evidence(jr.normal(key, (PIXELS,)))

    def updated(top):
        start = ESTIMATE._replace(loc=ESTIMATE.loc.at[LOW].set(top))
        posterior = infer(objective, engine, family, evidence, key=key, params=start, num_steps=1)
        return posterior.params.loc[:LOW] - start.loc[:LOW]

    assert not jnp.allclose(updated(0.8), updated(-0.8), atol=AUTODIFF)
    assert encoder.encoder(evidence).shape == (PIXELS,)  # It reads the data, and nothing that inference has found.


def test_one_iteration_from_a_fixed_start_is_a_direct_encoder(single, key):
    """Eqs. 3.9 to 3.11: at a fixed start the error is affine in the data, and a network absorbs the affine map."""
    objective, family = FreeEnergy(single, Cubature()), DiagonalGaussian(LOW)
    network = MLP(PIXELS + LOW, 2 * LOW, 5, 1, key=key)
    engine = Iterative(network, (WeightedErrors(),), Residual())
    start = DiagonalGaussianParams(jnp.array([0.3, -0.2]), jnp.array([-0.4, 0.1]))

    def errors(observation):
        found = objective.errors(family(start), Evidence(observation), key=key)
        return jnp.concatenate([found.weighted_observation, found.weighted_latent])

    offset = errors(jnp.zeros(PIXELS))
    slope = eqx.filter_jit(jax.jacobian(errors))(jnp.zeros(PIXELS))
    first, last = network.layers
    absorbed = eqx.tree_at(
        lambda n: (n.layers[0].weight, n.layers[0].bias, n.layers[1].bias),
        network,
        (first.weight @ slope, first.weight @ offset + first.bias, last.bias + ravel_pytree(start)[0]),
    )
    direct = Direct(lambda args: absorbed(args.observation))
    for observation in jr.normal(key, (3, PIXELS)):
        evidence = Evidence(observation)
        ends = [
            infer(objective, e, family, evidence, key=key, params=start, num_steps=1).params for e in (engine, direct)
        ]
        for a, b in zip(*ends, strict=True):
            np.testing.assert_allclose(a, b, atol=ALGEBRA)


def test_encodings_carry_what_they_say(chain, key):
    objective, family = FreeEnergy(chain, Cubature()), DiagonalGaussian(DIM)
    evidence = Evidence(jnp.arange(float(PIXELS)))
    flat, _ = ravel_pytree(ESTIMATE)
    feedback = feedback_at(objective, family(ESTIMATE), flat, 2.0 * flat, evidence, key=key)
    assert PredictionErrors()(feedback).shape == WeightedErrors()(feedback).shape == (PIXELS + DIM,)
    normalized = Normalized(InferenceGradient(), parts=2, epsilon=0.0)(feedback).reshape(2, DIM)
    np.testing.assert_allclose(np.mean(normalized, axis=1), 0.0, atol=ALGEBRA)
    np.testing.assert_allclose(np.std(normalized, axis=1), 1.0, rtol=ALGEBRA)
    # A weighting changes what is descended, and not what was predicted wrongly.
    weighted = feedback_at(Weighted(objective, Beta(3.0)), family(ESTIMATE), flat, flat, evidence, key=key)
    np.testing.assert_array_equal(WeightedErrors()(weighted), WeightedErrors()(feedback))


def test_a_level_sees_its_own_share_and_the_error_below(chain, key):
    objective, family = FreeEnergy(chain, Cubature()), DiagonalGaussian(DIM)
    flat, _ = ravel_pytree(ESTIMATE)
    whole = feedback_at(objective, family(ESTIMATE), flat, -flat, Evidence(jnp.ones(PIXELS)), key=key)
    lower, upper = (whole.level(index, (LOW, HIGH)) for index in range(2))
    np.testing.assert_array_equal(lower.estimate, jnp.concatenate([ESTIMATE.loc[:LOW], ESTIMATE.log_scale[:LOW]]))
    np.testing.assert_array_equal(upper.gradient, -jnp.concatenate([ESTIMATE.loc[LOW:], ESTIMATE.log_scale[LOW:]]))
    np.testing.assert_array_equal(lower.errors().observation, whole.errors().observation)
    np.testing.assert_array_equal(upper.errors().observation, whole.errors().latent[:LOW])
    np.testing.assert_array_equal(upper.errors().weighted_latent, whole.errors().weighted_latent[LOW:])


def test_misuse_is_refused(key):
    lonely = Feedback(jnp.zeros(3), jnp.zeros(3), None)
    with pytest.raises(BadInputError, match="with prediction errors"):
        WeightedErrors()(lonely)
    with pytest.raises(BadInputError, match="factorised family"):
        lonely.level(0, (1, 1))
    with pytest.raises(BadInputError, match="equal parts"):
        Normalized(Estimate(), parts=2)(lonely)
    assert FreeEnergy(linear_model(), Cubature()).errors(
        DiagonalGaussian(2)(DiagonalGaussian(2).init()), Evidence(jnp.zeros(3)), key=key
    ).latent.shape == (2,)
