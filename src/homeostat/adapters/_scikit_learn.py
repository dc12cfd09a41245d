"""A scikit-learn face of the latent variable models: `fit`, `transform`, `score_samples`, `sample`.

Needs scikit-learn: `pip install "homeostat[sklearn]"`. Everything a name stands for is built by `homeostat.workflow`, as for the
command line, so an estimator and `homeostat fit` with the same options are the same model.
"""

import numbers
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import ArrayRows, check_rows
from ..inference import infer
from ..metrics import log_likelihood, posterior_mean
from ..objectives import Evidence
from ..results import BadInputError
from ..train import InMemoryLoader, fit
from ..typing import Any, Array, Float, Key
from ..workflow import (
    InferenceSetup,
    Kept,
    RowsOptions,
    build_rows_system,
    closed_form_steps,
    describe,
    failure_text,
    fit_closed_form,
    requirements,
)

_ROWS_AT_ONCE = 64
"""Rows of one compiled call; fewer are filled up, so that one program serves all."""


@final
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
        system_: model, engine and options, as built.
        kept_: what training left.
        n_iter_: training updates done.

    References:
        Marino, "Learned feedback & feedforward perception & control" (thesis), chapter 3.
    """

    def __init__(
        self,
        # Unchecked here by scikit-learn's rules; what is wrong with them is said by `fit`.
        model: Any = "latent-gaussian",
        engine: Any = "iterative",
        likelihood: Any = "auto",
        latents: Any = 8,
        width: Any = 64,
        depth: Any = 2,
        iterations: Any = 5,
        steps: Any = 2_000,
        batch_size: Any = 128,
        learning_rate: Any = 1e-3,
        evaluation_samples: Any = 500,
        random_state: Any = None,
        posterior: Any = "diagonal",
    ):
        self.model = model
        self.engine = engine
        self.likelihood = likelihood
        self.latents = latents
        self.width = width
        self.depth = depth
        self.iterations = iterations
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.evaluation_samples = evaluation_samples
        self.random_state = random_state
        self.posterior = posterior

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
        build_key, fit_key, self._key = jr.split(jr.key(seed), 3)
        config, rows = self._config(), ArrayRows(X, "X")
        system = build_rows_system(config, describe(rows, rows, config), key=build_key)
        if system.closed_form:
            self.kept_, self.n_iter_ = fit_closed_form(system, rows).kept, closed_form_steps(config)
        else:
            data = jnp.asarray(system.observations.prepare(X), jnp.result_type(float))
            batch = min(self.batch_size, len(X))
            state = fit(system.learner(), InMemoryLoader(data, batch), num_steps=self.steps, key=fit_key).state
            failed = failure_text(state.failure)
            if failed is not None:
                raise BadInputError(
                    f"Expected finite terms throughout training, which stopped at {failed}: lower learning_rate, or look for "
                    f"extreme values in the data."
                )
            self.kept_, self.n_iter_ = Kept(state.learned, state.weighting), self.steps
        self.system_ = system
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "n latents"]:
        """Posterior means E_q[z] of rows, all levels side by side, the lowest first."""
        X = self._checked(X)
        perception = self.system_.perception(self.kept_)
        return self._mapped(eqx.Partial(_posterior_mean, perception), X)

    def inverse_transform(self, Z: Any) -> Float[np.ndarray, "n features"]:
        """E[x | z] of latent vectors, in the unit of the data."""
        check_is_fitted(self)
        Z = np.asarray(Z, np.float64)
        dim = self._n_features_out
        if Z.ndim != 2 or Z.shape[1] != dim:
            raise BadInputError(f"Expected latent vectors of shape (n, {dim}), got {Z.shape}.")
        return self._restored(self._mapped(eqx.Partial(_expected, self.kept_.learned.model), Z, prepared=True))

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """log p(x) of each row in nats, estimated by importance sampling from q; a lower bound on average."""
        X = self._checked(X)
        perception = self.system_.perception(self.kept_)
        nats = self._mapped(eqx.Partial(_log_likelihood, perception, self.evaluation_samples), X)
        return nats - self.system_.observations.log_unit_nats

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1) -> Float[np.ndarray, "n features"]:
        """Rows drawn from the model, in the unit of the data."""
        check_is_fitted(self)
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise BadInputError(f"Expected at least one sample, got n_samples={n_samples}.")
        model = self.kept_.learned.model

        def draw(key: Key) -> Array:
            state_key, row_key = jr.split(key)
            return model.emission(model.initial().sample(state_key)).sample(row_key)

        keys = jr.split(jr.fold_in(self._key, 1), int(n_samples))
        return self._restored(np.asarray(eqx.filter_jit(jax.vmap(draw))(keys), np.float64))

    @property
    def _n_features_out(self) -> int:
        return sum(self.system_.dims)

    def _config(self) -> RowsOptions:
        latents = [self.latents] if isinstance(self.latents, numbers.Integral) else list(self.latents)
        return RowsOptions(
            model=self.model,
            engine=self.engine,
            posterior=self.posterior,
            likelihood=self.likelihood,
            latents=",".join(str(int(dim)) for dim in latents),
            width=self.width,
            depth=self.depth,
            iterations=self.iterations,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            evaluation_samples=self.evaluation_samples,
        )

    def _checked(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))
        check_rows(ArrayRows(X, "X"), *requirements(self.system_.observations))
        return X

    def _restored(self, values: np.ndarray) -> np.ndarray:
        return self.system_.observations.restore(values)

    def _mapped(self, function: Callable, rows: np.ndarray, *, prepared: bool = False) -> np.ndarray:
        """`function(row, key=...)` of every row. All rows share one key: what a row gets depends on the row alone."""
        out = []
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            block = rows[first : first + _ROWS_AT_ONCE]
            filled = np.concatenate([block, np.repeat(block[:1], _ROWS_AT_ONCE - len(block), axis=0)])
            values = filled if prepared else self.system_.observations.prepare(filled)
            found = _over_rows(function, jnp.asarray(values, jnp.result_type(float)), self._key)
            out.append(np.asarray(found)[: len(block)])
        return np.concatenate(out).astype(np.float64)


@eqx.filter_jit
def _over_rows(function: Callable, block: Array, key: Key) -> Array:
    return jax.vmap(lambda row: function(row, key=key))(block)


def _posterior(perception: InferenceSetup, row: Array, key: Key):
    evidence = Evidence(row)
    found = infer(
        perception.objective,
        perception.engine,
        perception.family,
        evidence,
        key=key,
        num_steps=perception.num_steps,
        throw=False,
    )
    return found.distribution, evidence


def _posterior_mean(perception: InferenceSetup, row: Array, *, key: Key) -> Float[Array, " d"]:
    infer_key, draw_key = jr.split(key)
    q, _ = _posterior(perception, row, infer_key)
    return posterior_mean(q, key=draw_key)


def _log_likelihood(perception: InferenceSetup, num_samples: int, row: Array, *, key: Key) -> Float[Array, ""]:
    infer_key, weigh_key = jr.split(key)
    q, evidence = _posterior(perception, row, infer_key)
    chunk = min(250, num_samples)
    found = log_likelihood(
        perception.model, q, evidence.observation, key=weigh_key, num_samples=num_samples, chunk=chunk
    )
    return found.log_likelihood_nats


def _expected(model, state: Array, *, key: Key) -> Array:
    emission = model.emission(state)
    return jnp.broadcast_to(emission.mean, emission.event_shape)
