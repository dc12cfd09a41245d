"""A learned filter beside Kalman's on linear systems that it has not seen."""

from typing import NamedTuple

import equinox as eqx
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


class Against(NamedTuple):
    """A learned filter beside Kalman's on unseen systems; leading axes [iterations, systems, time].

    Attributes:
        mean_deviations: differences of means in standard deviations of the exact posterior, [..., d].
        variance_ratios: variances over the exact ones, less one, [..., d].
        energy_nats: free energies of steps.
        exact_energy_nats: -log p(x_t | x_{<t}), [systems, time].
    """

    mean_deviations: Float[Array, "iterations systems time d"]
    variance_ratios: Float[Array, "iterations systems time d"]
    energy_nats: Float[Array, "iterations systems time"]
    exact_energy_nats: Float[Array, "systems time"]


def against_kalman(num_iterations: int, method: VariationalFilter, unseen: Sequence, *, key: Key) -> Against:
    """After every number of iterations from none to all of them."""

    def both(steps: int) -> tuple[Array, Array, Array, Array]:
        learned = VariationalFilter(method.engine, method.family, steps)

        def one(model, observations, actions) -> tuple[Array, Array, Array, Array]:
            exact = filter(Kalman(), model, observations, actions, key=key)
            found = filter(learned, model, observations, actions, key=key)
            assert isinstance(exact.beliefs, GaussianBelief) and isinstance(found.beliefs, GaussianBelief)
            variance = jnp.sum(exact.beliefs.scale_tril**2, axis=2)
            return (
                (found.beliefs.loc - exact.beliefs.loc) / jnp.sqrt(variance),
                jnp.sum(found.beliefs.scale_tril**2, axis=2) / variance - 1.0,
                found.info.free_energy_nats,
                exact.info.free_energy_nats,
            )

        return eqx.filter_jit(eqx.filter_vmap(one))(unseen.model, unseen.observations, unseen.actions)

    every = [both(steps) for steps in range(num_iterations + 1)]
    deviations, ratios, energies = (jnp.stack([found[part] for found in every]) for part in range(3))
    return Against(deviations, ratios, energies, every[0][3])


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
