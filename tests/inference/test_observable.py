"""Observations that a model cannot emit are refused with place and value; traced ones make energies that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat.distributions import DiagonalGaussian, Joint, Masked, partial_log_prob, require_emission
from homeostat.inference import (
    ForwardBackward,
    baum_welch,
    expectation_maximization,
    filter,
    infer,
    pooled_prior,
    smooth,
    viterbi,
)
from homeostat.inference.engines import Gradient
from homeostat.inference.filters import Forward, Particle
from homeostat.models.sequential import (
    BernoulliEmissions,
    CategoricalEmissions,
    GaussianEmissions,
    HiddenMarkov,
    PoissonEmissions,
    TransitionMatrix,
)
from homeostat.models.static import Bernoulli, CategoricalOutput, latent_gaussian
from homeostat.nn import Dense
from homeostat.objectives import Evidence, FreeEnergy, ImportanceWeighted
from homeostat.results import BadInputError
from sequential_catalogue import linear_gaussian
from tolerances import ALGEBRA


def chain(emissions) -> HiddenMarkov:
    return HiddenMarkov(jnp.zeros(2), TransitionMatrix(jnp.zeros((2, 2))), emissions)


SYMBOLS = chain(CategoricalEmissions(jnp.array([[0.0, 0.0, 1.0], [0.0, -1.0, -jnp.inf]])))
COUNTS = chain(PoissonEmissions(jnp.zeros((2, 2))))
BITS = chain(BernoulliEmissions(jnp.zeros((2, 2))))
REALS = chain(GaussianEmissions(jnp.zeros((2, 1)), jnp.ones((2, 1, 1))))

CASES = {
    "symbol beyond the last": (SYMBOLS, jnp.array([0, 7, 1]), "whole numbers from 0 to 2, got 7 at {}step 1 "),
    "negative symbol": (SYMBOLS, np.array([0, 0, -1]), "got -1 at {}step 2 "),
    "masked": (SYMBOLS, Masked(jnp.array([9, 3, 1]), jnp.array([False, True, True])), "got 3 at {}step 1 "),
    "fraction of a symbol": (SYMBOLS, jnp.array([0.5, 0.0, 1.0]), "got 0.5 at {}step 0 "),
    "negative count": (COUNTS, jnp.array([[0, 1], [2, -1]]), "whole numbers from 0, got -1 at {}step 1, entry 1 "),
    "fraction of a count": (COUNTS, jnp.array([[0.0, jnp.nan], [1.5, 2.0]]), "got 1.5 at {}step 1, entry 0 "),
    "half a bit": (BITS, jnp.array([[0.0, 1.0], [jnp.nan, 0.5]]), "0 or 1, got 0.5 at {}step 1, entry 1 "),
    "infinity": (REALS, jnp.array([[0.0], [-jnp.inf]]), "finite numbers, got -inf at {}step 1, entry 0 "),
}


@pytest.mark.parametrize("name", CASES)
def test_what_no_state_emits_is_refused_with_its_place(name, key):
    model, observations, message = CASES[name]
    batch = jax.tree.map(lambda leaf: np.asarray(leaf)[None], observations)
    calls = {
        "filter": lambda: filter(Forward(), model, observations, key=key),
        "particles": lambda: filter(Particle(3), model, observations, key=key),
        "smooth": lambda: smooth(ForwardBackward(), model, observations),
        "viterbi": lambda: viterbi(model, observations),
        "baum_welch": lambda: baum_welch(model, batch),
    }
    for verb, call in calls.items():
        with pytest.raises(BadInputError, match=message.format("sequence 0, " if verb == "baum_welch" else "")):
            call()


def test_one_observation_alone_is_refused(key):
    """By the update of a filter that is called outside of compiled functions, and in an energy."""
    filter_of = Forward()
    with pytest.raises(BadInputError, match="whole numbers from 0, got -1.0 at entry 1 "):
        filter_of.update(COUNTS, filter_of.init(COUNTS), jnp.array([0.0, -1.0]))
    model = latent_gaussian(Bernoulli((3,)), (2,), key=key, mapping=lambda a, b, *, key: Dense(a, b, key=key))
    pixels = Evidence(jnp.array([0.0, 255.0, 7.0]))
    for objective in (FreeEnergy(model), ImportanceWeighted(model)):
        with pytest.raises(BadInputError, match="numbers from 0.0 to 1.0, got 255.0 at entry 1 "):
            infer(objective, Gradient(optax.sgd(0.1)), DiagonalGaussian(2), pixels, key=key)
    some = Evidence(pixels.observation, observed=jnp.array([True, False, True]))
    with pytest.raises(BadInputError, match="got 7.0 at entry 2 "):
        infer(FreeEnergy(model), Gradient(optax.sgd(0.1)), DiagonalGaussian(2), some, key=key)
    with pytest.raises(BadInputError, match="finite numbers, got inf at sequence 1, step 0, entry 0 "):
        expectation_maximization(linear_gaussian(), jnp.array([[[0.0], [1.0]], [[jnp.inf], [0.0]]]))


def test_masks_and_padding_are_not_looked_at(key):
    values = jnp.array([0, 9, 1])
    found = filter(Forward(), SYMBOLS, values, key=key, mask=jnp.array([True, False, True]))
    # Uniform transitions: steps are independent.
    tables = jax.nn.softmax(SYMBOLS.observation.logits, axis=-1)
    np.testing.assert_allclose(
        found.free_energy_nats, -sum(np.log(np.mean(tables[:, x])) for x in (0, 1)), rtol=ALGEBRA
    )
    with pytest.raises(BadInputError, match="got 9 at sequence 0, step 1 "):
        baum_welch(SYMBOLS, values[None], lengths=jnp.array([2]))
    centre = pooled_prior(SYMBOLS, values[None], lengths=jnp.array([1])).observation.centre.logits
    np.testing.assert_allclose(jax.nn.softmax(centre[0]), np.array([1.5, 0.5, 0.5]) / 2.5, rtol=ALGEBRA)


def test_traced_symbols_are_impossible_and_never_another(key):
    """JAX takes the last entry for the index -1, which gave its probability."""
    logits = jnp.zeros(4)
    density = jax.jit(lambda x: partial_log_prob(CategoricalOutput((2,), 2)(logits), x, None))
    assert density(jnp.array([0, 1])) == 2.0 * jnp.log(0.5)
    for wrong in (-1, 2):
        assert density(jnp.array([0, wrong])) == -jnp.inf
    energy = jax.jit(lambda x: filter(Forward(), SYMBOLS, x, key=key).free_energy_nats)
    for wrong in (-1, 7):
        with pytest.raises(RuntimeError, match="values that are not finite or that the model cannot emit"):
            energy(jnp.array([0, wrong, 1]))


def test_supports_are_traced_once_and_heads_are_named():
    traced = []

    def emission(model):
        traced.append(model)
        return Joint({"level": dist.Normal(model, 1.0), "alarm": dist.Bernoulli(0.5), "span": dist.Uniform(0.0, model)})

    def check(start, alarms):
        # The span depends on parameters, so that its support is not known.
        values = {"level": np.ones(2), "alarm": np.array(alarms), "span": np.full(2, -5.0)}
        require_emission(emission, jnp.asarray(start), values, axes=("step",))

    check(0.0, [1.0, 0.0])
    with pytest.raises(BadInputError, match=r"observations\['alarm'\] .* 0 or 1, got 2.0 at step 1 "):
        check(1.0, [1.0, 2.0])
    assert len(traced) == 1
