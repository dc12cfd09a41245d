"""Pictures of a learned filter beside the exact one."""

import jax
import jax.numpy as jnp
import numpy as np

from ... import viz
from ...inference import filter
from ...inference.filters import GaussianBelief, Kalman, VariationalFilter
from ...models.sequential import LinearGaussian
from ...runs import RunContext
from ...typing import Array, Float, Key
from ._linear_systems import Sequence


def draw(context: RunContext, method: VariationalFilter, unseen: Sequence, *, key: Key) -> None:
    """The first unseen system, step by step."""
    one = jax.tree.map(lambda leaf: leaf[0], unseen)
    found = filter(method, one.model, one.observations, one.actions, key=key)
    exact = filter(Kalman(), one.model, one.observations, one.actions, key=key)

    def band(name: str, beliefs: GaussianBelief) -> viz.BeliefBand:
        return viz.BeliefBand(name, np.asarray(beliefs.loc), np.sqrt(np.sum(np.asarray(beliefs.scale_tril) ** 2, 2)))

    names = [f"state {index + 1}" for index in range(one.states.shape[1])]
    context.figure(
        "prediction-update",
        viz.plot_prediction_update(
            band("prediction", found.predictions), band("update", found.beliefs), np.asarray(one.states), names=names
        ),
        caption="The learned filter on a system that it has not seen: before and after each observation, with one standard deviation.",
    )
    context.figure(
        "posterior",
        viz.plot_posterior_bands([band("Kalman", exact.beliefs), band("learned", found.beliefs)], np.asarray(one.states), names=names),
        caption="The same sequence: posterior means with bands of two standard deviations, and the state.",
    )  # fmt: skip
    model = one.model
    mean, spread, white = one_step(model, exact.predictions, one.observations)
    seen = [f"observation {index + 1}" for index in range(white.shape[1])]
    context.figure(
        "one-step",
        viz.plot_one_step(np.asarray(one.observations), np.asarray(mean), np.asarray(spread), names=seen),
        caption="Predictions of the Kalman filter one step ahead, with two standard deviations, and what came.",
    )
    _, _, learned_white = one_step(model, found.predictions, one.observations)
    every = np.concatenate([np.asarray(white), np.asarray(learned_white)], axis=1)
    labels = [f"{name}, {of}" for of in ("Kalman", "learned") for name in seen]
    context.figure(
        "whiteness",
        viz.plot_whiteness(every, names=labels, most_lags=min(10, len(one.observations) - 2)),
        caption="Autocorrelation of one-step errors in units of their predicted deviation: white for a filter that leaves nothing over.",
    )


def one_step(
    model: LinearGaussian, predictions: GaussianBelief, observations: Float[Array, "time m"]
) -> tuple[Array, Array, Array]:
    """Mean and deviation of x_t given the past, and the errors divided by the factor of their covariance."""
    matrix, offset, noise = model.emission_matrix, model.emission_offset, model.emission_scale_tril

    def one(loc: Array, scale_tril: Array, value: Array) -> tuple[Array, Array, Array]:
        root = matrix @ scale_tril
        covariance = root @ root.T + noise @ noise.T
        mean = matrix @ loc + offset
        white = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(covariance), value - mean, lower=True)
        return mean, jnp.sqrt(jnp.diagonal(covariance)), white

    return jax.vmap(one)(predictions.loc, predictions.scale_tril, observations)
