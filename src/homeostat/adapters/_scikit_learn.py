"""The latent variable models as a scikit-learn estimator: `fit`, `transform`, `score_samples`, `sample`.

Needs scikit-learn: `pip install "homeostat[sklearn]"`. It trains by `homeostat.workflow.fit`, as the
command line does, so an estimator and `homeostat fit` with the same options are the same model.
"""

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import ArrayRows
from ..distributions import Masked
from ..models.static import AbstractLinearFactors, ProbabilisticPCA
from ..results import BadInputError
from ..runs import experiment_key
from ..typing import Any, Float
from ..workflow import RowsOptions, RowsTask, fit

_DEFAULTS = RowsOptions()
_FLOATS = (np.float64, np.float32)
_ROWS_AT_ONCE = 64
"""Rows of one compiled call; fewer are filled up, so that one program serves all."""


@final
@dataclass(eq=False, repr=False)
class LatentVariableModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A generative model p(x, z) with an inference engine, as a transformer and a density of rows.

    Options have the defaults of `homeostat fit`, and with a number as `random_state` the model is the one that
    `homeostat fit --seed` of this number fits to the same rows: a share of them is held out, and chooses the best moment of training.

    Args:
        model: `latent-gaussian`, `factor-analysis`, `probabilistic-pca` or `sparse-coding`.
        engine: `direct`, `iterative`, `levelwise`, `ladder`, `semi-amortized`, `gradient`, `natural-gradient`,
            `predictive-coding`, or `exact` for the two linear-Gaussian models, whose default it is; else it is `iterative`.
        likelihood: output density; `auto` chooses from the data.
        latents: latent variables, a number, or one for each level with the level nearest the data first.
        width: units of each hidden layer.
        depth: hidden layers.
        iterations: of inference on each row.
        steps: training updates at most.
        batch_size: rows in an update, all if there are fewer.
        learning_rate: step size of Adam.
        evaluation_samples: importance samples of `score_samples`, where the likelihood is not known exactly.
        random_state: seed of the split, weights, batches and samples; a number gives the same model each time.
        posterior: `diagonal`, `full` or `flow`, for engines that leave the choice.
        validation_fraction: share of the rows held out.
        patience: validations without improvement after which training ends; 0 for never.

    Attributes:
        n_features_in_: columns of the data.
        feature_names_in_: their names, of a data frame.
        fitted_: the model with its engine, as `homeostat.workflow.fit` left it.
        n_iter_: training updates at most.
        components_: of the linear models, W^T in the unit of the data, (components, features).
        noise_variance_: of the linear models, in the squared unit of the data: one number for each feature, or one for all.
        mean_: of the linear models, in the unit of the data.

    References:
        Marino, "Learned feedback & feedforward perception & control" (thesis), chapter 3.
    """

    # Unchecked here by scikit-learn's rules; what is wrong with them is said by `fit`.
    model: Any = _DEFAULTS.model
    engine: Any = ""
    likelihood: Any = _DEFAULTS.likelihood
    latents: Any = int(_DEFAULTS.latents)
    width: Any = _DEFAULTS.width
    depth: Any = _DEFAULTS.depth
    iterations: Any = _DEFAULTS.iterations
    steps: Any = _DEFAULTS.steps
    batch_size: Any = _DEFAULTS.batch_size
    learning_rate: Any = _DEFAULTS.learning_rate
    evaluation_samples: Any = _DEFAULTS.evaluation_samples
    random_state: Any = None
    posterior: Any = _DEFAULTS.posterior
    validation_fraction: Any = _DEFAULTS.validation_fraction
    patience: Any = _DEFAULTS.patience

    def fit(self, X: Any, y: Any = None) -> "LatentVariableModel":
        """Learn the model, and what the engine learns, from rows.

        Args:
            X: rows of numbers, (n_samples, n_features); NaN is missing, and is integrated out.
            y: not used.

        Raises:
            BadInputError: names or numbers that contradict each other or the data, or training that ended in a number that is
                not finite.
        """
        X = validate_data(self, X, dtype=_FLOATS, ensure_all_finite="allow-nan", ensure_min_samples=2)
        seed = self.random_state
        if not isinstance(seed, numbers.Integral):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        # As a run derives it.
        key = experiment_key(jr.key(int(seed)), "fit")
        self._key = jr.fold_in(key, 0)
        self.fitted_ = fit(RowsTask(self._options()), ArrayRows(X, "X"), key=key, seed=int(seed))
        self.n_iter_ = self.fitted_.task.num_updates(self.fitted_.system)
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "n latents"]:
        """Posterior means E_q[z] of rows, all levels side by side, the lowest first."""
        return self._mapped(lambda block: self.fitted_.means(block, key=self._key), self._prepared(X))

    def inverse_transform(self, Z: Any) -> Float[np.ndarray, "n features"]:
        """E[x | z] of latent vectors, in the unit of the data."""
        check_is_fitted(self)
        Z = np.asarray(Z, np.float64)
        dim = self._n_features_out
        if Z.ndim != 2 or Z.shape[1] != dim:
            raise BadInputError(f"Expected latent vectors of shape (n, {dim}), got {Z.shape}.")
        return self._mapped(self.fitted_.expected, Z)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """log p(x) of each row in nats, estimated by importance sampling from q; a lower bound on average."""
        return self._mapped(
            lambda block: self.fitted_.log_likelihoods(block, self.evaluation_samples, key=self._key), self._prepared(X)
        )

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1) -> Float[np.ndarray, "n features"]:
        """Rows drawn from the model, in the unit of the data."""
        check_is_fitted(self)
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise BadInputError(f"Expected at least one sample, got n_samples={n_samples}.")
        return self.fitted_.sample(int(n_samples), key=jr.fold_in(self._key, 1)).arrays["samples"].astype(np.float64)

    @property
    def components_(self) -> Float[np.ndarray, "latents features"]:
        """W^T of a linear model, in the unit of the data."""
        factors, scaling = self._factors()
        return scaling.spread(np.asarray(factors.loadings, np.float64).T * scaling.unit[None, :])

    @property
    def noise_variance_(self) -> Float[np.ndarray, " features"] | float:
        """Diagonal of the noise's covariance, in the squared unit of the data; one number where it is the same for all."""
        factors, scaling = self._factors()
        variance = scaling.spread((np.asarray(factors.noise_scale, np.float64) * scaling.unit) ** 2)
        return float(variance[scaling.varies][0]) if isinstance(factors, ProbabilisticPCA) else variance

    @property
    def mean_(self) -> Float[np.ndarray, " features"]:
        """Mean of the rows under a linear model."""
        factors, scaling = self._factors()
        return scaling.restore(np.asarray(factors.offset, np.float64)[None, :])[0]

    def get_covariance(self) -> Float[np.ndarray, "features features"]:
        """Covariance of the rows under a linear model, in the unit of the data; zero for features that never varied."""
        factors, scaling = self._factors()
        noise = scaling.spread((np.asarray(factors.noise_scale, np.float64) * scaling.unit) ** 2)
        return self.components_.T @ self.components_ + np.diag(noise)

    def _factors(self) -> tuple[AbstractLinearFactors, Any]:
        check_is_fitted(self)
        model = self.fitted_.selected.learned.model
        if not isinstance(model, AbstractLinearFactors):
            raise AttributeError(
                f"Expected factor-analysis or probabilistic-pca, got {self.model}, which is not linear."
            )
        return model, self.fitted_.description.scaling

    @property
    def _n_features_out(self) -> int:
        return sum(self.fitted_.system.dims)

    def _options(self) -> RowsOptions:
        latents = [self.latents] if isinstance(self.latents, numbers.Integral) else list(self.latents)
        given = self.get_params() | {"latents": ",".join(str(int(dim)) for dim in latents)}
        given.pop("random_state")
        return RowsOptions(**given)

    def _prepared(self, X) -> np.ndarray | Masked:
        """Checked rows as the model sees them, with a mask if something is missing."""
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=_FLOATS, ensure_all_finite="allow-nan", reset=False))
        self.fitted_.open(ArrayRows(X, "X"))
        description = self.fitted_.description
        rows, known = description.prepare(X).astype(jnp.result_type(float), copy=False), description.known(X)
        return rows if known.all() else Masked(rows, known)

    def _mapped(self, function: Callable[[Any], np.ndarray], rows: np.ndarray | Masked) -> np.ndarray:
        """A function of blocks, all of one size."""
        out, num_rows = [], len(jax.tree.leaves(rows)[0])
        for first in range(0, num_rows, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, num_rows - first)
            chosen = first + np.where(np.arange(_ROWS_AT_ONCE) < count, np.arange(_ROWS_AT_ONCE), 0)
            out.append(function(jax.tree.map(lambda leaf, chosen=chosen: jnp.asarray(leaf[chosen]), rows))[:count])
        return np.concatenate(out).astype(np.float64)
