"""Systems whose states are smoothed, and smoothers beside exact and sampled answers."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import AbstractMarkovModel
from ...inference import RauchTungStriebel, sample_sequence, smooth
from ...inference.filters import Particle
from ...inference.smoothers import ParticleSmoother, Structured
from ...models.sequential import LinearDynamics, LinearGaussian, PoissonEmission, StateSpace
from ...typing import Array, Float, Key


def dynamics() -> LinearDynamics:
    """A damped rotation, a quarter of a turn in ten steps, with correlated noise."""
    angle = 2.0 * np.pi / 40.0
    turn = 0.97 * np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return LinearDynamics(jnp.asarray(turn, float), None, jnp.asarray([[0.3, 0.0], [0.1, 0.25]]))


def linear_system() -> LinearGaussian:
    """Two states, seen in two mixtures with unequal noise."""
    return LinearGaussian(
        jnp.zeros(2), jnp.eye(2), dynamics(), jnp.asarray([[1.0, 0.5], [-0.3, 1.0]]), jnp.diag(jnp.asarray([0.5, 0.8]))
    )


def counting_system(counted: int) -> StateSpace:
    """The same dynamics, seen as counts whose log rates are mixtures of the states, about one a step."""
    angles = jnp.arange(counted) * (2.0 * jnp.pi / counted)
    mixing = 0.7 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    return StateSpace(linear_system().initial, dynamics(), PoissonEmission.linear(mixing, jnp.zeros(counted)))


def drawn(model: AbstractMarkovModel, num: int, length: int, *, key: Key) -> Float[Array, "num time m"]:
    """Observations of so many sequences."""
    return jax.vmap(lambda k: sample_sequence(model, length, key=k).observations.astype(float))(jr.split(key, num))


@eqx.filter_jit
def against_kalman(
    method: Structured, model: LinearGaussian, unseen: Float[Array, "sequences time m"], *, key: Key
) -> tuple[Array, Array, Array]:
    """Relative differences of means and of covariances from the exact smoother, and free energy per step less the exact one."""

    def one(values: Array) -> tuple[Array, Array, Array]:
        exact = smooth(RauchTungStriebel(), model, values, throw=False)
        found = method.smooth(model, values, key=key, throw=False)
        norm = lambda matrix: jnp.sqrt(jnp.sum(matrix**2, axis=(1, 2)))  # noqa: E731
        shift = found.beliefs.loc - exact.beliefs.loc
        spread = norm(found.beliefs.covariance - exact.beliefs.covariance) / norm(exact.beliefs.covariance)
        return (
            jnp.sqrt(jnp.mean(shift**2) / jnp.mean(exact.beliefs.loc**2)),
            jnp.mean(spread),
            (found.free_energy_nats + exact.log_evidence_nats) / values.shape[0],
        )

    return jax.lax.map(one, unseen)


class Counts(NamedTuple):
    """Smoothed counts, [sequences].

    Attributes:
        mean_deviations: root mean square difference of means from the particle smoother's, in its standard deviations.
        variance_ratios: mean absolute relative difference of variances from the particle smoother's.
        energy_nats: free energy per step, by many sampled paths; for the particle smoother its estimate of -log p(x) / T.
        mean: smoothed means of the first sequence, [time, d].
        deviation: their standard deviation.
    """

    mean_deviations: Float[Array, " sequences"]
    variance_ratios: Float[Array, " sequences"]
    energy_nats: Float[Array, " sequences"]
    mean: Float[Array, "time d"]
    deviation: Float[Array, "time d"]


class Paths(NamedTuple):
    """Moments of the particle smoother, and its estimates of -log p(x) / T."""

    mean: Float[Array, "sequences time d"]
    variance: Float[Array, "sequences time d"]
    energy_nats: Float[Array, " sequences"]


@eqx.filter_jit
def by_particles(num_particles: int, model: StateSpace, values: Array, *, key: Key) -> Paths:
    """The reference: forward filtering and backward simulation."""
    smoother = ParticleSmoother(Particle(num_particles), num_particles)

    def one(inputs: tuple[Array, Key]) -> Paths:
        found = smooth(smoother, model, inputs[0], key=inputs[1], throw=False)
        variance = jnp.diagonal(found.covariance, axis1=1, axis2=2)
        return Paths(found.mean, variance, -found.log_evidence_nats / inputs[0].shape[0])

    return jax.lax.map(one, (values, jr.split(key, values.shape[0])))


@eqx.filter_jit
def against_particles(method: Structured, model: StateSpace, values: Array, paths: Paths, *, key: Key) -> Counts:
    """One smoother against the reference."""

    def one(inputs: tuple[Array, Paths]) -> Counts:
        observations, reference = inputs
        found = method.smooth(model, observations, key=key, throw=False)
        loc, variance = found.beliefs.loc, jnp.sum(found.beliefs.scale_tril**2, axis=2)
        deviation = (loc - reference.mean) / jnp.sqrt(reference.variance)
        return Counts(
            jnp.sqrt(jnp.mean(deviation**2)),
            jnp.mean(jnp.abs(variance / reference.variance - 1.0)),
            found.free_energy_nats / observations.shape[0],
            loc,
            jnp.sqrt(variance),
        )

    every = jax.lax.map(one, (values, paths))
    return every._replace(mean=every.mean[0], deviation=every.deviation[0])
