"""Baselines of sequences against least squares and densities of libraries; with gaps, known inputs and in any unit."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from homeostat.metrics import (
    StepTable,
    binary_sequence_baselines,
    level_sequence_baselines,
    ratio_over_blocks,
    real_sequence_baselines,
    symbol_sequence_baselines,
)
from homeostat.metrics.baselines._sequences import _joint_past, _own_past, _repetition
from tolerances import ALGEBRA, AUTODIFF

RANDOM = np.random.default_rng(11)
MATRIX = np.array([[0.7, 0.25], [-0.3, 0.8]])


def driven(lengths, push=1.0):
    """x_t = A x_{t-1} + u_t (1, -1) + noise, with u_t known."""
    values, inputs = [], []
    for length in lengths:
        x, u = np.zeros((length, 2)), RANDOM.normal(size=(length - 1, 1))
        for step in range(1, length):
            x[step] = MATRIX @ x[step - 1] + push * u[step - 1] * [1.0, -1.0] + RANDOM.normal(size=2) * [0.5, 0.2]
        values.append(x)
        inputs.append(u)
    return StepTable.of(values, inputs)


def kinds(baselines):
    return {baseline.name.split(",")[0]: baseline for baseline in baselines}


def test_a_regression_on_all_columns_is_least_squares():
    table = driven((30, 25))
    density = _joint_past(2, table)
    assert density is not None
    x, y = [], []
    for start, stop in ((0, 30), (30, 55)):
        for step in range(start + 2, stop):
            x.append([1.0, *table.inputs[step], *table.values[step - 1], *table.values[step - 2]])
            y.append(table.values[step])
    x, y = np.array(x), np.array(y)
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
    rest = y - x @ coefficients
    covariance = rest.T @ rest / (len(x) - 6) + 1e-6 * np.eye(2)
    expected = multivariate_normal(np.zeros(2), covariance).logpdf(rest)
    after = table.position >= 2
    np.testing.assert_allclose(density(table)[after], expected, rtol=AUTODIFF)
    # Where there is no past, steps are independent.
    marginal = norm(table.values.mean(axis=0), table.values.std(axis=0)).logpdf(table.values).sum(axis=1)
    np.testing.assert_allclose(density(table)[~after], marginal[~after], rtol=ALGEBRA)


def test_gaps_are_left_out_of_regressions_and_densities():
    whole = driven((60,))
    values = whole.values.copy()
    values[20, 0] = values[21, 1] = values[30] = np.nan
    table = StepTable(values, whole.inputs, whole.position)
    density = _own_past(1, table)
    assert density is not None
    means, scales = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    expected = np.zeros(60)
    for column in range(2):
        x = np.concatenate([np.ones((59, 1)), table.inputs[1:], values[:-1, [column]]], axis=1)
        y = values[1:, column]
        known = ~np.isnan(x).any(axis=1) & ~np.isnan(y)
        coefficients, residuals, *_ = np.linalg.lstsq(x[known], y[known], rcond=None)
        scale = np.sqrt(residuals[0] / (known.sum() - 3) + 1e-6)
        predicted = np.concatenate([[np.nan], x @ coefficients])
        lost = np.isnan(predicted)
        entry = norm(np.where(lost, means[column], predicted), np.where(lost, scales[column], scale)).logpdf(
            values[:, column]
        )
        expected += np.where(np.isnan(values[:, column]), 0.0, entry)
    np.testing.assert_allclose(density(table), expected, rtol=AUTODIFF)
    assert table.seen.sum() == 59
    repeated = _repetition(3, table)
    assert repeated is not None and repeated(table)[30] == 0.0


def test_what_made_the_sequences_comes_first():
    names = [baseline.name for baseline in real_sequence_baselines(driven((120, 80, 90, 100, 60, 70)))]
    assert names[0] == "vector autoregression, order 1"
    walk = StepTable.of([np.cumsum(RANDOM.normal(size=(300, 1)), axis=0)])
    found = kinds(real_sequence_baselines(walk))
    steps = np.diff(walk.values[:, 0])
    expected = norm(0.0, np.sqrt(np.mean(steps**2))).logpdf(steps)
    np.testing.assert_allclose(found["a random walk"].log_densities(walk)[1:], expected, rtol=AUTODIFF)
    season = 3.0 * RANDOM.normal(size=37)[np.arange(600) % 37] + 0.3 * RANDOM.normal(size=600)
    best = real_sequence_baselines(StepTable.of([season[:, None]]))[0]
    assert best.name in ("a season of 37 steps", "a season of 74 steps")


def test_units_of_columns_and_inputs_change_no_difference():
    table = driven((120, 80, 90))
    values = table.values.copy()
    values[RANDOM.random(values.shape) < 0.05] = np.nan
    table = StepTable(values, table.inputs, table.position)
    factor, offset = np.array([1e3, 1e-5]), np.array([1.7e9, 0.0])
    other = StepTable(factor * values + offset, 1e-5 * table.inputs + 3.0, table.position)
    one, two = real_sequence_baselines(table), real_sequence_baselines(other)
    assert [baseline.name for baseline in one] == [baseline.name for baseline in two]
    unit = (~np.isnan(values)) @ np.log(factor)
    for before, after in zip(one, two, strict=True):
        np.testing.assert_allclose(after.log_densities(other), before.log_densities(table) - unit, atol=1e-4)
        assert after.held_out_nats - two[0].held_out_nats == pytest.approx(
            before.held_out_nats - one[0].held_out_nats, abs=1e-5
        )


def test_binary_steps_depend_on_the_last_one():
    chain = np.zeros((200, 2))
    for step in range(1, 200):
        chain[step] = RANDOM.random(2) < np.where(chain[step - 1] > 0, 0.9, 0.1)
    chain[50, 1] = np.nan
    table = StepTable.of([chain])
    found = {baseline.name: baseline for baseline in binary_sequence_baselines(table)}
    markov = binary_sequence_baselines(table)[0]
    assert markov.name == "a Markov chain of each column"
    first, second = chain[:-1, 0], chain[1:, 0]
    after = {last: (second[first == last].sum() + 1.0) / ((first == last).sum() + 2.0) for last in (0.0, 1.0)}
    overall = (np.nansum(chain, axis=0) + 1.0) / ((~np.isnan(chain)).sum(axis=0) + 2.0)
    # At step 51 the second column has no known past, and counts as independent.
    one = after[chain[50, 0]]
    expected = np.log([one if chain[51, 0] else 1.0 - one, overall[1] if chain[51, 1] else 1.0 - overall[1]]).sum()
    assert markov.log_densities(table)[51] == pytest.approx(expected, abs=ALGEBRA)
    alone = np.log(overall[0] if chain[50, 0] else 1.0 - overall[0])
    assert found["independent steps"].log_densities(table)[50] == pytest.approx(alone, abs=ALGEBRA)


def test_levels_of_frames_are_frequencies():
    frames = RANDOM.integers(0, 4, (3, 20, 2))
    found = {baseline.name: baseline for baseline in level_sequence_baselines(StepTable.of(list(frames)), 4)}
    counts = np.bincount(frames[:, :, 0].reshape(-1), minlength=4)
    one = np.log((counts + 0.25) / 61.0)[1]
    shown = StepTable.of([np.array([[1.0, np.nan], [1.0, np.nan]])])
    np.testing.assert_allclose(found["independent steps, frequencies"].log_densities(shown), [one, one], rtol=ALGEBRA)


def test_errors_over_blocks_see_that_steps_resemble_one_another():
    """Differences that stay the same for four steps each."""
    draws = RANDOM.normal(size=(300, 50))
    errors = []
    for noise in draws:
        slow = np.repeat(noise, 4)
        found = ratio_over_blocks([slow[:120], slow[120:]], [np.ones(120, bool), np.ones(80, bool)])
        errors.append(float(found.stderr))
        assert float(found.value) == pytest.approx(slow.mean())
    # Taken for independent, the steps would promise half the error.
    assert np.mean(errors) == pytest.approx(1.0 / np.sqrt(50), rel=0.15)
    counted = np.arange(20) % 2 == 0
    (value,) = ratio_over_blocks([np.where(counted, 2.0, 0.0)], [counted])[:1]
    assert float(value) == pytest.approx(2.0)


def test_symbols_have_frequencies_and_a_chain():
    """A wheel 0, 1, 2, 0, ...: after each symbol one other has been seen, beside a pseudo-count of one in three."""
    rows = [np.arange(30)[:, None] % 3.0, np.arange(1, 31)[:, None] % 3.0]
    rows[0][5] = np.nan
    table = StepTable.of(rows)
    found = symbol_sequence_baselines(table, 3)
    assert [baseline.name for baseline in found] == ["a Markov chain", "independent steps"]
    nats = found[0].log_densities(StepTable.of([np.array([[0.0], [1.0], [1.0], [np.nan], [2.0]])]))
    pairs = {(0, 1): 0, (1, 1): 0}
    after = dict.fromkeys((0, 1), 0)
    for row in rows:
        for before, now in zip(row[:-1, 0], row[1:, 0], strict=True):
            if not np.isnan(before + now) and before in after:
                after[int(before)] += 1
                if (int(before), int(now)) in pairs:
                    pairs[int(before), int(now)] += 1
    values = np.concatenate(rows)[:, 0]
    share = [(np.sum(values == symbol) + 1 / 3) / (np.sum(~np.isnan(values)) + 1) for symbol in range(3)]
    chain = [(pairs[pair] + 1 / 3) / (after[pair[0]] + 1) for pair in ((0, 1), (1, 1))]
    np.testing.assert_allclose(nats, [*np.log([share[0], *chain]), 0.0, np.log(share[2])], rtol=1e-12)
