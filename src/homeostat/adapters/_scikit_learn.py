"""The latent variable models as a scikit-learn estimator: `fit`, `transform`, `score_samples`, `sample`.

Needs scikit-learn: `pip install "homeostat[sklearn]"`. It trains by `homeostat.workflow.fit`, as the
command line does, so an estimator and `homeostat fit` with the same options are the same model.
"""

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import ArrayRows
from ..results import BadInputError
from ..typing import Any, Array, Float
from ..workflow import RowsOptions, RowsTask, fit

_ROWS_AT_ONCE = 64
"""Rows of one compiled call; fewer are filled up, so that one program serves all."""


@final
@dataclass(eq=False, repr=False)
class LatentVariableModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A generative model p(x, z) with an inference engine, as a transformer and a density of rows.

    Args:
        model: `latent-gaussian`, `factor-analysis`, `probabilistic-pca` or `sparse-coding`.
        engine: `direct`, `iterative`, `levelwise`, `ladder`, `semi-amortized`, `gradient`, `natural-gradient`,
            `predictive-coding`, or `exact` for the two linear-Gaussian models.
        likelihood: output density; `auto` chooses from the data.
        latents: latent variables, a number, or one for each level with the level nearest the data first.
        width: units of each hidden layer.
        depth: hidden layers.
        iterations: of inference on each row.
        steps: training updates.
        batch_size: rows in an update.
        learning_rate: step size of Adam.
        evaluation_samples: importance samples of `score_samples`.
        random_state: seed of weights, batches and samples; a number gives the same model each time.
        posterior: `diagonal`, `full` or `flow`, for engines that leave the choice.

    Attributes:
        n_features_in_: columns of the data.
        fitted_: the model with its engine, as `homeostat.workflow.fit` left it.
        n_iter_: training updates done.

    References:
        Marino, "Learned feedback & feedforward perception & control" (thesis), chapter 3.
    """

    # Unchecked here by scikit-learn's rules; what is wrong with them is said by `fit`.
    model: Any = "latent-gaussian"
    engine: Any = "iterative"
    likelihood: Any = "auto"
    latents: Any = 8
    width: Any = 64
    depth: Any = 2
    iterations: Any = 5
    steps: Any = 2_000
    batch_size: Any = 128
    learning_rate: Any = 1e-3
    evaluation_samples: Any = 500
    random_state: Any = None
    posterior: Any = "diagonal"

    def fit(self, X: Any, y: Any = None) -> "LatentVariableModel":
        """Learn the model, and what the engine learns, from rows.

        Args:
            X: rows of numbers, (n_samples, n_features).
            y: not used.

        Raises:
            BadInputError: names or numbers that contradict each other or the data, or training that ended in a number that is
                not finite.
        """
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        fit_key, self._key = jr.split(jr.key(seed))
        self.fitted_ = fit(RowsTask(self._options(len(X))), ArrayRows(X, "X"), key=fit_key, seed=seed)
        self.n_iter_ = self.fitted_.task.schedule().num_steps
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "n latents"]:
        """Posterior means E_q[z] of rows, all levels side by side, the lowest first."""
        X = self._checked(X)
        prepared = self.fitted_.description.prepare(X)
        return self._mapped(lambda block: self.fitted_.means(block, key=self._key), prepared)

    def inverse_transform(self, Z: Any) -> Float[np.ndarray, "n features"]:
        """E[x | z] of latent vectors, in the unit of the data."""
        check_is_fitted(self)
        Z = np.asarray(Z, np.float64)
        dim = self._n_features_out
        if Z.ndim != 2 or Z.shape[1] != dim:
            raise BadInputError(f"Expected latent vectors of shape (n, {dim}), got {Z.shape}.")
        return self._mapped(self.fitted_.expected, Z)

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """log p(x) of each row in nats, estimated by importance sampling from q; a lower bound on average."""
        prepared = self.fitted_.description.prepare(self._checked(X))
        return self._mapped(
            lambda block: self.fitted_.log_likelihoods(block, self.evaluation_samples, key=self._key), prepared
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
    def _n_features_out(self) -> int:
        return sum(self.fitted_.system.dims)

    def _options(self, num_rows: int) -> RowsOptions:
        latents = [self.latents] if isinstance(self.latents, numbers.Integral) else list(self.latents)
        given = self.get_params() | {
            "latents": ",".join(str(int(dim)) for dim in latents),
            "batch_size": min(self.batch_size, num_rows),
            "validation_fraction": 0.0,
        }
        given.pop("random_state")
        return RowsOptions(**given)

    def _checked(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))
        self.fitted_.open(ArrayRows(X, "X"))
        return X

    def _mapped(self, function: Callable[[Array], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """A function of blocks, all of one size."""
        out = []
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            block = rows[first : first + _ROWS_AT_ONCE]
            filled = np.concatenate([block, np.repeat(block[:1], _ROWS_AT_ONCE - len(block), axis=0)])
            out.append(function(jnp.asarray(filled, jnp.result_type(float)))[: len(block)])
        return np.concatenate(out).astype(np.float64)
