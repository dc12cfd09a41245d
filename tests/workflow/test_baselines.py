"""A fit beside its baselines: numbers on the scale of the model's, errors, sentences and warnings."""

import numpy as np
import pytest
from scipy.stats import norm

from homeostat.data import ArrayRows, Sequences
from homeostat.metrics import SequenceEvaluation
from homeostat.workflow import RowsOptions, SequencesOptions
from homeostat.workflow._baselines import gain_sentence, gain_warnings
from homeostat.workflow.rows._baselines import compare_rows
from homeostat.workflow.rows._describe import describe_rows
from homeostat.workflow.sequences._baselines import compare_sequences
from homeostat.workflow.sequences._describe import describe_sequences
from tolerances import ALGEBRA, AUTODIFF

RANDOM = np.random.default_rng(3)


def test_rows_are_compared_in_their_own_unit():
    """Two columns, so no factor analysis is compiled; the true density gains what the columns have in common."""
    rows = RANDOM.normal(size=(300, 2)) @ [[1.0, 0.9], [0.0, 0.3]]
    train, test = ArrayRows(1e3 * rows[:250]), ArrayRows(1e3 * rows[250:])
    description = describe_rows(train, train, RowsOptions(likelihood="gaussian"))
    model = norm(0.0, [500.0, 700.0]).logpdf(1e3 * rows[250:]).sum(axis=1)
    found = compare_rows(description, train, test, model, estimate="exact")
    assert (found["best_baseline"], found["gain_of"], found["gain_per"]) == ("a full Gaussian", "exact", "row")
    nats = {each["name"]: each["nats"] for each in found["baselines"]}
    moments = 1e3 * rows[:250].mean(axis=0), 1e3 * rows[:250].std(axis=0)
    columns = norm(*moments).logpdf(1e3 * rows[250:]).sum(axis=1).mean()
    assert nats["independent columns"] == pytest.approx(columns, abs=ALGEBRA)
    assert found["gain_nats"] == pytest.approx(model.mean() - nats["a full Gaussian"], abs=1e-6)
    half = compare_rows(description, train, test.select([3, 4]), model[[3, 4]], estimate="exact")
    other = compare_rows(description, train, test.select([3, 4, 3, 4]), model[[3, 4, 3, 4]], estimate="exact")
    # sqrt(std^2 / n), with n - 1 in the variance.
    assert other["gain_stderr_nats"] == pytest.approx(half["gain_stderr_nats"] / np.sqrt(3.0), rel=AUTODIFF)


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        (255 * RANDOM.integers(0, 2, (40, 3)), {"divide_by": 255.0, "likelihood": "bernoulli"}, 3 * np.log(2.0)),
        (RANDOM.integers(0, 256, (400, 4, 4)).astype(np.uint8), {}, 16 * np.log(256.0)),
        (RANDOM.integers(0, 4, (400, 3)), {"likelihood": "categorical"}, 3 * np.log(4.0)),
        (np.full((40, 5), 2), {"likelihood": "multinomial"}, 10 * np.log(5.0)),
    ],
)
def test_whole_numbers_are_compared_as_probabilities(array, options, expected):
    """Uniform data have the entropy of as many alternatives, and what frequencies from so few rows cost."""
    rows = ArrayRows(array)
    description = describe_rows(rows, rows, RowsOptions(**options))
    assert description.discrete
    found = compare_rows(description, rows, rows, np.full(len(rows), -expected), estimate="importance-weighted")
    assert found["gain_nats"] == pytest.approx(0.0, abs=0.03 * expected)


def sequences(count, length, **more):
    values = np.cumsum(RANDOM.normal(size=(count, length, 2)), axis=1)
    values[:, 3, 0] = np.nan
    values[:, 5] = np.nan
    return Sequences(values, **more)


@pytest.mark.parametrize("count", [3, 8])
def test_steps_are_counted_as_for_the_model(count):
    times, actions = np.arange(30) ** 1.2, RANDOM.normal(size=(count, 29, 1))
    data = sequences(count, 30, times=times, actions=actions)
    description = describe_sequences(data, data, SequencesOptions())
    assert description.uneven and description.acted
    steps = np.full(count, 29)
    energies = [RANDOM.normal(size=30) for _ in range(count)]
    scores = SequenceEvaluation(np.array([each.sum() for each in energies]), steps, 2 * steps - 1)
    asked = []
    found = compare_sequences(description, data, data, scores, lambda: asked.append(1) or energies, estimate="bound")
    assert found["gain_nats"] == pytest.approx(
        -scores.free_energy_nats.sum() / steps.sum() - found["baselines"][0]["nats"], abs=1e-6
    )
    # Few sequences ask for the energies of their steps.
    assert len(asked) == (count < 8) and found["gain_stderr_nats"] > 0.0
    marginal = next(each["nats"] for each in found["baselines"] if each["name"] == "independent steps")
    seen = np.concatenate([data.read(index).values for index in range(count)])
    known = np.concatenate([data.read(index).observed for index in range(count)])
    seen[~known] = np.nan
    density = norm(np.nanmean(seen, axis=0), np.nanstd(seen, axis=0)).logpdf(seen)
    assert marginal == pytest.approx(np.nansum(density) / steps.sum(), abs=ALGEBRA)


def summary(gain, error, count=3):
    baselines = [{"name": "a full Gaussian", "nats": -1.0, "training_held_out_nats": -1.1}] * count
    told = {"baselines": baselines, "best_baseline": "a full Gaussian", "gain_per": "row"}
    return {**told, "gain_nats": gain, "gain_stderr_nats": error}


@pytest.mark.parametrize(
    ("numbers", "sentence", "warned"),
    [
        ((1.93, 0.31), "gains 1.93 ± 0.31 nats a row over a full Gaussian, the best of 3 baselines", 0),
        ((-0.2, 0.31), "loses 0.20 ± 0.31 nats a row to a full Gaussian, the best of 3 baselines", 0),
        ((-20.0, 3.0), "loses 20.0 ± 3.0 nats a row to a full Gaussian, the best of 3 baselines", 1),
        ((1.5, float("nan"), 1), "gains 1.5 nats a row over a full Gaussian", 0),
        ((float("nan"), None), None, 0),
        ((None, None), None, 0),
    ],
)
def test_gains_in_words(numbers, sentence, warned):
    assert gain_sentence(summary(*numbers)) == sentence
    assert len(gain_warnings(summary(*numbers), None)) == warned


def test_latents_without_a_rate_are_warned_of():
    assert gain_warnings(summary(1.0, 0.1), 0.02) == []
    (words,) = gain_warnings(summary(1.0, 0.1), 0.004)
    assert words.startswith("the latents are not used: they carry 0.004 nats")
    # A task of somebody's own may measure no baseline.
    assert gain_sentence({}) is None and len(gain_warnings({}, 0.0)) == 1
