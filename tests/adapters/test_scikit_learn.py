"""The scikit-learn face: the library's own checks, and the same numbers as the objects behind it."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from homeostat.adapters import LatentVariableModel
from homeostat.cli import main
from homeostat.results import BadInputError
from homeostat.workflow import RowsOptions, load
from tolerances import FLOAT32

EXACT = LatentVariableModel("probabilistic-pca", "exact", latents=1, evaluation_samples=25, random_state=0)

NOT_APPLICABLE = {"check_fit2d_1feature": "a linear factor model needs fewer latent variables than features"}
"""Checks of scikit-learn that ask for what the model is not, with the reason."""

CHECKS = list(estimator_checks_generator(EXACT, legacy=True, mark=None))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=[getattr(check.func, "__name__", str(check)) for _, check in CHECKS]
)
def test_scikit_learn_accepts_it(estimator, check):
    name = check.func.__name__
    # Their checks compare in double precision, and know nothing of ranks.
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        if name in NOT_APPLICABLE:
            with pytest.raises((BadInputError, AssertionError)):
                check(estimator)
            return
        check(estimator)


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    return generator.normal(size=(120, 2)) @ generator.normal(size=(2, 5)) + 0.3 * generator.normal(size=(120, 5))


def test_the_exact_model_is_scikit_learns_pca(rows):
    ours, peer = clone(EXACT).set_params(latents=2, validation_fraction=0.0).fit(rows), PCA(2)
    # scikit-learn divides the covariance by n - 1; with rows stretched accordingly it is the one of maximum likelihood.
    peer.fit(rows.mean(axis=0) + (rows - rows.mean(axis=0)) * np.sqrt(119 / 120))
    np.testing.assert_allclose(ours.score_samples(rows), peer.score_samples(rows), atol=1e-3)
    np.testing.assert_allclose(ours.get_covariance(), peer.get_covariance(), atol=1e-5)
    np.testing.assert_allclose(ours.noise_variance_, peer.noise_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.mean_, rows.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        ours.components_.T @ ours.components_, ours.get_covariance() - ours.noise_variance_ * np.eye(5)
    )
    codes = ours.transform(rows)
    assert codes.shape == (120, 2)
    back = ours.inverse_transform(codes)
    assert np.mean((back - rows) ** 2) < 0.2 * np.mean((rows - rows.mean(axis=0, keepdims=True)) ** 2)
    assert ours.get_feature_names_out().tolist() == ["latentvariablemodel0", "latentvariablemodel1"]
    drawn = ours.sample(500)
    assert drawn.shape == (500, 5)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(rows.T), atol=1.0)


def test_a_network_learns_in_a_pipeline_and_says_what_it_would_draw(rows):
    model = LatentVariableModel(
        engine="direct",
        likelihood="gaussian",
        latents=(2,),
        width=8,
        depth=1,
        steps=300,
        evaluation_samples=50,
        random_state=1,
    )
    line = make_pipeline(StandardScaler(), model).fit(rows)
    short = clone(model).set_params(steps=1)
    untrained = make_pipeline(StandardScaler(), short).fit(rows)
    assert line.score(rows) > untrained.score(rows) + 0.5
    again = make_pipeline(StandardScaler(), clone(model)).fit(rows)
    np.testing.assert_array_equal(again.transform(rows), line.transform(rows))
    # What a row gets does not depend on the rows beside it.
    np.testing.assert_array_equal(line.transform(rows[3:5]), line.transform(rows)[3:5])


def test_the_estimator_has_the_defaults_of_the_command():
    assert LatentVariableModel()._options() == RowsOptions()


@pytest.mark.slow
def test_the_estimator_is_the_command(rows, tmp_path):
    """Same defaults, same rows held out, same model kept."""
    np.save(tmp_path / "rows.npy", rows)
    small = {"latents": 2, "width": 8, "depth": 1, "steps": 40}
    words = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    status = main(["fit", "--data", str(tmp_path / "rows.npy"), *words, "--seed", "3", "--out", str(tmp_path / "run")])
    assert status == 0
    ours = LatentVariableModel(random_state=3, **small).fit(rows)
    command = load(tmp_path / "run")
    assert ours.fitted_.task.options == command.task.options
    for one, other in zip(*map(jax.tree.leaves, (ours.fitted_.selected, command.selected)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("model", ["factor-analysis", "probabilistic-pca"])
def test_units_offsets_and_constants_change_nothing_else(rows, model):
    """A column in a small unit, one around 1.7e9, and one that never varies."""
    exact = clone(EXACT).set_params(model=model, latents=1)
    plain, codes = exact.fit(rows).score(rows), exact.transform(rows)
    unit = np.array([1e-3, *np.ones(rows.shape[1] - 1)]) if model == "factor-analysis" else np.full(rows.shape[1], 1e-5)
    moved = rows * unit
    moved[:, 1] += 1.7e9 * unit[1]
    moved = np.column_stack([moved, np.full(len(rows), 0.1)])
    other = clone(exact).fit(moved)
    assert abs(other.score(moved) + np.log(unit).sum() - plain) < 1e-4
    np.testing.assert_allclose(np.abs(other.transform(moved)), np.abs(codes), atol=1e-3)
    np.testing.assert_allclose(other.inverse_transform(codes)[:, -1], 0.1)


def test_missing_numbers_are_integrated_out(rows):
    """log p of what was seen is that of the marginals of the fitted Gaussian."""
    holes = np.where(np.random.default_rng(0).random(rows.shape) < 0.2, np.nan, rows)
    model = clone(EXACT).fit(holes)
    assert model.n_iter_ == 500
    found, covariance = model.score_samples(holes[:5]), model.get_covariance()
    for row, nats in zip(holes[:5], found, strict=True):
        seen = ~np.isnan(row)
        expected = multivariate_normal(model.mean_[seen], covariance[np.ix_(seen, seen)]).logpdf(row[seen])
        assert nats == pytest.approx(expected, rel=FLOAT32)
    assert np.isfinite(model.transform(holes)).all()


def test_data_frames_come_out_as_data_frames(rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows, index=np.arange(len(rows)) + 7, columns=[f"x{i}" for i in range(rows.shape[1])])
    model = clone(EXACT).set_output(transform="pandas").fit(frame)
    found = model.transform(frame)
    assert found.columns.tolist() == model.get_feature_names_out().tolist() == ["latentvariablemodel0"]
    assert found.index.equals(frame.index) and model.feature_names_in_.tolist() == frame.columns.tolist()
    np.testing.assert_array_equal(found, clone(EXACT).fit(rows).transform(rows))


def test_bad_input_is_told_in_a_sentence(rows):
    with pytest.raises(BadInputError, match="at least one latent"):
        clone(EXACT).set_params(latents=0).fit(rows)
    fitted = clone(EXACT).fit(rows)
    with pytest.raises(BadInputError, match="at least one sample"):
        fitted.sample(0)
    assert not hasattr(LatentVariableModel(), "components_")
    with pytest.raises(BadInputError, match="shape"):
        fitted.inverse_transform(np.zeros((3, 4)))
    counts = LatentVariableModel(engine="direct", likelihood="multinomial", latents=1, steps=1, random_state=0)
    with pytest.raises(BadInputError):
        counts.fit(-np.ones((4, 3)))
    burst = LatentVariableModel(
        engine="direct", latents=1, width=2, depth=0, steps=3, learning_rate=1e200, random_state=0
    )
    with pytest.raises(BadInputError, match="stopped at update 1: the .* became NaN or infinite"):
        burst.fit(rows)
