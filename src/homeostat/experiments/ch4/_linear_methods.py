"""Filters and smoothers on linear-Gaussian systems: all that are known against the dense joint Gaussian, a learned one beside Kalman's."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ... import viz
from ...core import AbstractFilter, AbstractSmoother
from ...distributions import Cubature, DiagonalGaussian, FullGaussian, GaussHermite, Parallel, SigmaPoints
from ...inference import RauchTungStriebel, filter
from ...inference.engines import Gradient, NaturalGradient, PathNaturalGradient, PathNewton
from ...inference.filters import (
    BoundScore,
    Ensemble,
    Extended,
    GaussianBelief,
    GuidedParticle,
    Kalman,
    Particle,
    SampledHistories,
    Unscented,
    VariationalFilter,
    VariationalProposal,
    auxiliary_particle,
)
from ...inference.smoothers import ParticleSmoother, Structured
from ...models.sequential import LinearGaussian
from ...runs import RunContext
from ...typing import Array, Float, Key
from ._linear_systems import (
    Difference,
    LinearSequence,
    Reference,
    StateMoments,
    dense_joint,
    difference_of,
    random_system,
    smoothed_moments,
)
from .adapters import by_dynamax

FEW = (
    "Kalman", "Kalman, parallel in time", "natural gradient, 1 step", "Rauch-Tung-Striebel", "structured, natural gradient"
)  # fmt: skip
"""Methods without which nothing else works."""


def methods(dim: int, num_particles: int, every: bool) -> dict[str, dict[str, AbstractFilter | AbstractSmoother]]:
    """All methods, or a few alone, by kind and name.

    Variational filters match the prediction's moments over a full Gaussian, with different engines. Those with another bound
    have independent coordinates, or samples of the past.
    """
    one_step = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(dim), 1)
    by_samples = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(dim), 1, propagation=SampledHistories(100))
    descent = Gradient(optax.adam(optax.exponential_decay(0.1, 100, 0.3)))
    proposals = GuidedParticle(VariationalProposal(one_step), BoundScore(), num_particles // 10)
    known: dict[str, dict[str, AbstractFilter | AbstractSmoother]] = {
        "exact filter": {
            "Kalman": Kalman(),
            "Kalman, parallel in time": Kalman(recursion=Parallel()),
            "extended": Extended(),
            "unscented": Unscented(SigmaPoints()),
            "cubature": Unscented(Cubature()),
            "Gauss-Hermite": Unscented(GaussHermite(3)),
        },
        "exact smoother": {
            "Rauch-Tung-Striebel": RauchTungStriebel(),
            "structured, natural gradient": Structured(PathNaturalGradient(), 1),
            "Rauch-Tung-Striebel, parallel": RauchTungStriebel(Kalman(recursion=Parallel()), Parallel()),
            "extended Rauch-Tung-Striebel": RauchTungStriebel(Extended()),
            "unscented Rauch-Tung-Striebel": RauchTungStriebel(Unscented()),
            "structured, parallel": Structured(PathNaturalGradient(), 1, recursion=Parallel()),
            "structured, Newton": Structured(PathNewton(), 1),
        },
        "variational filter": {
            "natural gradient, 1 step": one_step,
            "natural gradient, rate 0.5, 20 steps": VariationalFilter(NaturalGradient(rate=0.5), FullGaussian(dim), 20),
            "gradient (Adam), 300 steps": VariationalFilter(descent, FullGaussian(dim), 300),
        },
        "variational filter, another bound": {
            "natural gradient, diagonal": VariationalFilter(NaturalGradient(rate=0.5), DiagonalGaussian(dim), 20),
            "natural gradient, 100 samples of the past": by_samples,
        },
        "sampling": {
            "particle": Particle(num_particles),
            "auxiliary particle": auxiliary_particle(num_particles),
            "particle, variational proposals": proposals,
            "ensemble": Ensemble(num_particles),
            "particle smoother": ParticleSmoother(Particle(num_particles // 10), num_particles // 10),
        },
    }
    if every:
        return known
    return {kind: {name: members[name] for name in members if name in FEW} for kind, members in known.items()}


def difference(
    method: AbstractFilter | AbstractSmoother, sequence: LinearSequence, exact: Reference, *, key: Key
) -> Difference:
    """One method against the reference; the free energy of a smoother is that of the whole sequence."""

    @eqx.filter_jit
    def moments(model, observations, actions) -> StateMoments:
        if isinstance(method, AbstractSmoother):
            return smoothed_moments(method, model, observations, actions, key=key)
        found = filter(method, model, observations, actions, key=key)
        mean, covariance = (jax.vmap(of)(found.beliefs) for of in (lambda b: b.mean, lambda b: b.covariance))
        return StateMoments(mean, covariance, found.info.free_energy_nats)

    found = moments(sequence.model, sequence.observations, sequence.actions)
    answer = exact.filtered if isinstance(method, AbstractFilter) else exact.smoothed
    return difference_of(StateMoments(*map(np.asarray, found)), answer)


def differences(
    dim: int, observed: int, length: int, num_particles: int, every: bool, *, key: Key
) -> dict[str, dict[str, Difference]]:
    """Run all methods, or a few, in 64 bits, on a sequence of which a fifth is missing; by kind and name."""
    system_key, run_key = jr.split(key)
    with jax.enable_x64(True):
        build = eqx.filter_jit(partial(random_system, dim, observed, 2, length, key=system_key))
        sequence = build(missing=0.2)
        exact = dense_joint(sequence)
        found = {
            kind: {name: difference(method, sequence, exact, key=run_key) for name, method in members.items()}
            for kind, members in methods(dim, num_particles, every).items()
        }
        if every and (peer := by_dynamax(whole := build())) is not None:
            answer = dense_joint(whole)
            # It gives the evidence of the whole sequence alone.
            of_steps = peer.filtered, answer.filtered._replace(energy_nats=answer.smoothed.energy_nats)
            found["peer"] = {
                "dynamax, filter": difference_of(*of_steps),
                "dynamax, smoother": difference_of(peer.smoothed, answer.smoothed),
            }
        return found


def against_kalman(
    num_iterations: int, method: VariationalFilter, unseen: LinearSequence, *, key: Key
) -> Float[Array, "iterations 3"]:
    """A learned filter beside Kalman's on unseen systems, after every number of iterations from none to all of them.

    Root mean square difference of means in standard deviations of the exact posterior, mean absolute relative difference of
    variances, and mean absolute difference of free energies of steps from -log p(x_t | x_{<t}) over the mean of the latter.
    """

    @eqx.filter_jit
    def after(steps: int, unseen: LinearSequence) -> Float[Array, "3"]:
        learned = VariationalFilter(method.engine, method.family, steps)

        def one(model, observations, actions) -> tuple[Array, ...]:
            exact, found = (filter(each, model, observations, actions, key=key) for each in (Kalman(), learned))
            assert isinstance(exact.beliefs, GaussianBelief) and isinstance(found.beliefs, GaussianBelief)
            variance, ours = (jnp.sum(of.scale_tril**2, axis=2) for of in (exact.beliefs, found.beliefs))
            nats, other = exact.info.free_energy_nats, found.info.free_energy_nats
            shift = (found.beliefs.loc - exact.beliefs.loc) / jnp.sqrt(variance)
            return shift**2, jnp.abs(ours / variance - 1.0), jnp.abs(other - nats), jnp.abs(nats)

        found = eqx.filter_vmap(one)(unseen.model, unseen.observations, unseen.actions)
        square, ratio, gap, size = map(jnp.mean, found)
        return jnp.stack([jnp.sqrt(square), ratio, gap / size])

    return jnp.stack([after(steps, unseen) for steps in range(num_iterations + 1)])


def draw(context: RunContext, method: VariationalFilter, unseen: LinearSequence, *, key: Key) -> None:
    """The first unseen system, step by step."""
    one = jax.tree.map(lambda leaf: leaf[0], unseen)
    found, exact = (filter(of, one.model, one.observations, one.actions, key=key) for of in (method, Kalman()))
    states, observations = np.asarray(one.states), np.asarray(one.observations)

    def band(name: str, beliefs: GaussianBelief) -> viz.BeliefBand:
        return viz.BeliefBand(name, np.asarray(beliefs.loc), np.sqrt(np.sum(np.asarray(beliefs.scale_tril) ** 2, 2)))

    names = [f"state {index + 1}" for index in range(states.shape[1])]
    prediction, update, posterior = (
        band("prediction", found.predictions), band("update", found.beliefs), band("Kalman", exact.beliefs)
    )  # fmt: skip
    context.figure(
        "prediction-update", viz.plot_prediction_update(prediction, update, states, names=names),
        caption="The learned filter on a system that it has not seen: before and after each observation, with one standard deviation.",
    )  # fmt: skip
    context.figure(
        "posterior", viz.plot_posterior_bands([posterior, update._replace(name="learned")], states, names=names),
        caption="The same sequence: posterior means with bands of two standard deviations, and the state.",
    )  # fmt: skip
    white = {}
    for name, of in (("learned", found), ("Kalman", exact)):
        mean, spread, white[name] = map(np.asarray, one_step(one.model, of.predictions, one.observations))
    seen = [f"observation {index + 1}" for index in range(observations.shape[1])]
    context.figure(
        "one-step", viz.plot_one_step(observations, mean, spread, names=seen),
        caption="Predictions of the Kalman filter one step ahead, with two standard deviations, and what came.",
    )  # fmt: skip
    labels = [f"{name}, {of}" for of in ("Kalman", "learned") for name in seen]
    every = np.concatenate([white["Kalman"], white["learned"]], axis=1)
    context.figure(
        "whiteness", viz.plot_whiteness(every, names=labels, most_lags=min(10, len(observations) - 2)),
        caption="Autocorrelation of one-step errors in units of their predicted deviation: white for a filter that leaves nothing over.",
    )  # fmt: skip


def one_step(
    model: LinearGaussian, predictions: GaussianBelief, observations: Float[Array, "time m"]
) -> tuple[Array, Array, Array]:
    """Mean and deviation of x_t given the past, and the errors divided by the factor of their covariance."""
    root, noise = model.emission_matrix @ predictions.scale_tril, model.emission_scale_tril
    covariance = root @ jnp.swapaxes(root, 1, 2) + (noise @ noise.T)[None]
    mean = predictions.loc @ model.emission_matrix.T + model.emission_offset[None]
    errors = (observations - mean)[..., None]
    white = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(covariance), errors, lower=True)[..., 0]
    return mean, jnp.sqrt(jnp.diagonal(covariance, axis1=1, axis2=2)), white
