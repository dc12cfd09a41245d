"""Learning a sequential model by the evidence that a deterministic filter gives, differentiated through the filter.

    theta <- theta - optimizer(grad_theta  sum_n sum_t F_t(x^n; theta) / number of observed steps)

F_t is the filter's -log p(x_t | x_1, ..., x_{t-1}). Of `Kalman` and `Forward` it is exact, so this is maximum likelihood by
gradients. Of `Extended`, `Unscented` and `InteractingModels` it is minus the logarithm of an approximate prediction, which for
outputs with Gaussian noise is itself a density that integrates to one, a Gaussian or a mixture of Gaussians. Its sums are
therefore proper log scores, which may stand beside those of any other predictor, though they bound the model's own evidence neither
from above nor from below. Of counts, `Extended` and `Unscented` give the density of a Gaussian at a whole number: no log score.
"""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import check_kind
from ...distributions import any_observed, known_entries
from ...models.sequential import Measurement
from ...objectives import FreeEnergyTerms
from ...results import BadInputError
from ...typing import Array, Key, PyTree, Scalar
from .._filter import filter
from ._energy_descent import AbstractProblem, EnergyDescent, Slope, Weigh, everything
from ._filtering import ModelWithFilter
from ._noise_factors import keep_factors
from ._sequence_batch import SequenceBatch, TimeMajor, time_major


@final
class FilteredEvidence(AbstractProblem):
    """The mean free energy of the observed steps of sequences."""

    def slope(self, learned: ModelWithFilter, carry: None, batch: Any, weigh: Weigh, *, key: Key) -> Slope:
        batch = batch if isinstance(batch, SequenceBatch) else SequenceBatch(batch)
        if batch.models is not None:
            raise BadInputError(
                "Expected batches without models of their own, got some: the model is what is learned here."
            )
        steps = time_major(batch)
        observations, actions = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), steps)
        actions = jax.tree.map(lambda leaf: leaf[:, :-1], actions)
        count = jnp.maximum(_count(steps), 1)

        def loss(learned: ModelWithFilter) -> Scalar:
            def one(x: PyTree, a: PyTree) -> Array:
                # The filter draws nothing, so the key has no effect.
                return filter(learned.filter, learned.model, x, a, key=jr.key(0), throw=False).free_energy_nats

            return jnp.sum(jax.vmap(one)(observations, actions)) / count

        value, gradient = eqx.filter_value_and_grad(loss)(learned)
        terms = FreeEnergyTerms(value, jnp.zeros(0, value.dtype))
        return Slope(gradient, terms, weigh(terms))


def evidence_descent(
    learned: ModelWithFilter,
    optimizer: optax.GradientTransformation,
    learnable: Callable[[PyTree], PyTree] = everything,
    *,
    floor: float = 1e-3,
) -> EnergyDescent:
    """A learner that descends the free energy of a deterministic filter for each observed step, in model and filter together.

    Batches are `SequenceBatch`, or arrays [batch, time, ...]. Noise factors stay Cholesky factors, see `keep_factors`.

    Args:
        learned: model and filter where learning starts.
        optimizer: for every learnable leaf.
        learnable: maps model and filter to a tree of booleans: which leaves are learned.
        floor: least diagonal entry of a noise factor, in units of the model.

    Raises:
        BadInputError: the filter draws samples.

    References:
        Gupta and Mehra, "Computational aspects of maximum likelihood estimation and reduction in sensitivity function
        calculations", 1974, for gradients through a Kalman filter; Kitagawa, "Non-Gaussian state-space modeling of nonstationary
        time series", 1987, for the likelihood of a filter as the quantity that is maximised.
    """
    check_kind(learned, ModelWithFilter, "what is learned")
    if learned.filter.stochastic:
        raise BadInputError(
            f"Expected a filter that draws no samples (Kalman, Extended, Unscented, InteractingModels, Forward), got "
            f"{type(learned.filter).__name__}, whose evidence is random: use `filtering_descent` for a VariationalFilter, "
            f"`smoothing_descent` for whole paths, and particle filters to evaluate what was learned."
        )
    return EnergyDescent(learned, FilteredEvidence(), keep_factors(optimizer, floor), learnable=learnable)


def _count(steps: TimeMajor) -> Array:
    """Steps at which anything was observed."""
    observations = steps.observations
    known = known_entries(observations.value if isinstance(observations, Measurement) else observations)
    if known.observed is None:
        return jnp.asarray(math.prod(jax.tree.leaves(known.value)[0].shape[:2]))
    return jnp.sum(jax.vmap(jax.vmap(any_observed))(known.observed))
