"""Hidden Markov models of sequences by name: against sums over all paths, a simulated chain, and in other units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from homeostat.data import Sequences
from homeostat.inference import ModelWithFilter
from homeostat.inference.filters import Forward
from homeostat.models.sequential import CategoricalEmissions, GaussianEmissions, HiddenMarkov
from homeostat.results import BadInputError
from homeostat.workflow import SequencesOptions, SequencesTask, fit
from homeostat.workflow.sequences._describe import describe_sequences
from references import enumerate_paths

OPTIONS = SequencesOptions(model="hidden-markov", engine="exact", states=2, bounds=1)
INITIAL = np.array([0.7, 0.3])
CHAIN = np.array([[0.9, 0.1], [0.3, 0.7]])


def fitted(sequences, emissions, options=OPTIONS):
    """A fitted model with known parameters, in the unit of the model."""
    task = SequencesTask(options)
    system = task.build(task.describe(sequences, sequences), key=None)
    model = HiddenMarkov.from_probabilities(jnp.asarray(INITIAL), jnp.asarray(CHAIN), emissions)
    selected = task.start(system)._replace(learned=ModelWithFilter(model, Forward()))
    return task.fitted(system, selected)


def test_inference_is_the_sum_over_all_paths():
    """Two sequences of different lengths, the second with a missing entry and a missing step."""
    generator = np.random.default_rng(0)
    long, short = (3.0 + 2.0 * generator.normal(size=(length, 2)) for length in (6, 4))
    short[1, 0] = np.nan
    short[2] = np.nan
    sequences = Sequences([long, short])
    means, factors = (
        np.array([[-0.5, 0.3], [0.6, -0.2]]),
        np.array([[[0.8, 0.0], [0.3, 0.7]], [[1.1, 0.0], [0.0, 0.5]]]),
    )
    model = fitted(sequences, GaussianEmissions(jnp.asarray(means), jnp.asarray(factors)))
    scaling = model.description.scaling
    told = model.infer(sequences, key=jax.random.key(0)).arrays
    for index, values in enumerate((long, short)):
        length, likelihoods = len(values), np.ones((len(values), 2))
        for step, value in enumerate(values):
            seen = ~np.isnan(value)
            for state in range(2) if seen.any() else ():
                # Moments in the unit of the data.
                mean = scaling.loc + scaling.scale * means[state]
                covariance = np.outer(scaling.scale, scaling.scale) * (factors[state] @ factors[state].T)
                normal = stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
                likelihoods[step, state] = normal.pdf(value[seen])
        truth = enumerate_paths(INITIAL, (length - 1) * [CHAIN], likelihoods)
        np.testing.assert_allclose(-np.nansum(told["free_energy_nats"][index]), truth.log_evidence, rtol=1e-5)
        np.testing.assert_allclose(told["smoothed"][index, :length], truth.marginals, atol=1e-5)
        np.testing.assert_allclose(told["probabilities"][index, length - 1], truth.marginals[-1], atol=1e-5)
        assert told["states"][index].tolist() == [*truth.best, *(6 - length) * [-1]]
        assert np.isnan(told["smoothed"][index, length:]).all()


def test_symbols_to_come_are_powers_of_the_chain():
    symbols = np.array([[0, 2, 1, 1, 0], [2, 2, 0, 1, 2]])[..., None]
    sequences = Sequences(symbols)
    options = SequencesOptions(model="hidden-markov", engine="exact", states=2, bounds=1, likelihood="categorical")
    shares = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    model = fitted(sequences, CategoricalEmissions(jnp.log(jnp.asarray(shares))), options)
    told = model.forecast(sequences, key=jax.random.key(0), horizon=3).arrays["symbols"]
    nats = model.evaluate(sequences, key=jax.random.key(0)).arrays["free_energy_nats"]
    for index, row in enumerate(symbols[..., 0]):
        truth = enumerate_paths(INITIAL, 4 * [CHAIN], shares[:, row].T)
        np.testing.assert_allclose(-nats[index], truth.log_evidence, rtol=1e-5)
        for step in range(3):
            expected = truth.marginals[-1] @ np.linalg.matrix_power(CHAIN, step + 1) @ shares
            np.testing.assert_allclose(told[index, step], expected, atol=1e-5)


def simulated(means, seed=0, length=300):
    generator = np.random.default_rng(seed)
    states = np.zeros((4, length), int)
    for row in states:
        for step in range(1, length):
            row[step] = generator.choice(2, p=CHAIN[row[step - 1]])
    return states, means[states] + generator.normal(size=(4, length, 2))


@pytest.mark.slow
def test_a_simulated_chain_is_recovered_in_any_unit():
    means = np.array([[0.0, 0.0], [3.0, -2.0]])
    states, values = simulated(means)
    options = SequencesOptions(
        model="hidden-markov", engine="exact", states=2, bounds=1, steps=60, validation_fraction=0.25
    )
    scale, shift = np.array([10.0, 0.01]), np.array([5.0, -3.0])
    results = []
    for data in (values, scale * values + shift):
        model = fit(SequencesTask(options), Sequences(data), key=jax.random.key(1))
        found, scaling = model.selected.learned.model, model.description.scaling
        told = model.infer(Sequences(data), key=jax.random.key(0)).arrays
        loc = scaling.loc + scaling.scale * np.asarray(found.observation.loc)
        matrix = np.exp(np.asarray(found.transitions.log_matrix(None)))
        results.append((loc, matrix, told["states"], -told["free_energy_nats"].sum()))
    (loc, matrix, path, nats), (other_loc, other_matrix, other_path, other_nats) = results
    order = np.argsort(loc[:, 0])
    np.testing.assert_allclose(loc[order], means, atol=0.2)
    np.testing.assert_allclose(matrix[np.ix_(order, order)], CHAIN, atol=0.06)
    assert np.mean(np.argsort(order)[path] == states) > 0.95
    np.testing.assert_allclose(other_loc, scale * loc + shift, rtol=1e-3)
    np.testing.assert_allclose(other_matrix, matrix, atol=1e-3)
    np.testing.assert_array_equal(other_path, path)
    # Densities change by the logarithms of the scales alone.
    np.testing.assert_allclose(other_nats, nats - values[..., 0].size * np.log(scale).sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "likelihood", "chosen", "event"),
    [
        (np.arange(6.0).reshape(1, 3, 2) ** 2, "auto", "gaussian", (2,)),
        (np.array([[[0, 1], [1, 1], [1, 0]]], np.uint8), "auto", "bernoulli", (2,)),
        (np.array([[[0, 9], [7, 1], [1, 0]]], np.uint8), "auto", "gaussian", (2,)),
        (np.array([[[0, 9], [7, 1], [1, 0]]]), "poisson", "poisson", (2,)),
        (np.array([[[0], [7], [1]]]), "categorical", "categorical", ()),
    ],
)
def test_emissions_are_those_of_the_likelihood(values, likelihood, chosen, event):
    options = SequencesOptions(model="hidden-markov", engine="exact", states=2, likelihood=likelihood)
    sequences = Sequences(values)
    found = describe_sequences(sequences, sequences, options)
    assert (found.likelihood, found.event_shape) == (chosen, event)
    model = SequencesTask(options).build(found, key=None).learned.model
    assert type(model.observation).__name__.lower() == f"{chosen}emissions"
    assert jax.eval_shape(lambda m: m.observation(jnp.asarray(0)).sample(jax.random.key(0)), model).shape == event


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({"actions": np.ones((2, 4, 1))}, {}, "no known inputs for --model hidden-markov"),
        ({"times": np.arange(5) ** 2.0}, {}, "steps of one duration for --model hidden-markov"),
        ({}, {"likelihood": "categorical"}, "one column for a categorical likelihood of sequences, got 2"),
        ({}, {"states": 11}, "--states of at most 10"),
    ],
)
def test_what_a_chain_cannot_take_is_refused(more, options, message):
    sequences = Sequences(np.random.default_rng(0).integers(0, 5, (2, 5, 2)), **more)
    task = SequencesTask(SequencesOptions(**{"model": "hidden-markov", "engine": "exact", **options}))
    with pytest.raises(BadInputError, match=message):
        task.describe(sequences, sequences)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "hidden-markov", "engine": "exact", "likelihood": "negative-binomial"},
            "Expected a gaussian or .* likelihood for --model hidden-markov",
        ),
        ({"likelihood": "categorical"}, "Expected a gaussian or .* likelihood for --model srnn"),
        ({"model": "hidden-markov", "engine": "exact", "states": 0}, "--states of at least 1"),
        ({"model": "hidden-markov", "engine": "amortized"}, "Expected --engine exact with --model hidden-markov"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(BadInputError, match=message):
        SequencesTask(SequencesOptions(**options)).check()
