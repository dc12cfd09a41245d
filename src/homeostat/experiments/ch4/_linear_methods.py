"""Filters and smoothers on linear-Gaussian systems: all that are known against the dense joint Gaussian, a learned one beside Kalman's."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractFilter, AbstractSmoother
from ...distributions import Cubature, DiagonalGaussian, FullGaussian, GaussHermite, Parallel, SigmaPoints
from ...inference import RauchTungStriebel, filter, smooth
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
from ...typing import Array, Float, Key
from ._linear_systems import Difference, Moments, Reference, Sequence, dense_joint, difference_of, random_system
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
    method: AbstractFilter | AbstractSmoother, sequence: Sequence, exact: Reference, *, key: Key
) -> Difference:
    """One method against the reference; the free energy of a smoother is that of the whole sequence."""

    @eqx.filter_jit
    def moments(model, observations, actions) -> tuple[Array, Array, Array]:
        if isinstance(method, AbstractFilter):
            found = filter(method, model, observations, actions, key=key)
            mean, covariance = (jax.vmap(of)(found.beliefs) for of in (lambda b: b.mean, lambda b: b.covariance))
            return mean, covariance, found.info.free_energy_nats
        found = smooth(method, model, observations, actions, key=key)
        if isinstance(method, ParticleSmoother):
            return found.mean, found.covariance, -found.log_evidence_nats[None]
        energy = found.free_energy_nats if isinstance(method, Structured) else -found.log_evidence_nats
        return found.beliefs.loc, found.beliefs.covariance, energy[None]

    found = moments(sequence.model, sequence.observations, sequence.actions)
    answer = exact.filtered if isinstance(method, AbstractFilter) else exact.smoothed
    return difference_of(Moments(*map(np.asarray, found)), answer)


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


class Against(NamedTuple):
    """A learned filter beside Kalman's on unseen systems: means in standard deviations of the exact posterior, ratios of variances
    less one, and free energies of steps beside -log p(x_t | x_{<t}).
    """

    mean_deviations: Float[Array, "iterations systems time d"]
    variance_ratios: Float[Array, "iterations systems time d"]
    energy_nats: Float[Array, "iterations systems time"]
    exact_energy_nats: Float[Array, "systems time"]


def against_kalman(num_iterations: int, method: VariationalFilter, unseen: Sequence, *, key: Key) -> Against:
    """After every number of iterations from none to all of them."""

    def both(steps: int) -> Against:
        learned = VariationalFilter(method.engine, method.family, steps)

        def one(model, observations, actions) -> Against:
            exact = filter(Kalman(), model, observations, actions, key=key)
            found = filter(learned, model, observations, actions, key=key)
            assert isinstance(exact.beliefs, GaussianBelief) and isinstance(found.beliefs, GaussianBelief)
            variance = jnp.sum(exact.beliefs.scale_tril**2, axis=2)
            return Against(
                (found.beliefs.loc - exact.beliefs.loc) / jnp.sqrt(variance),
                jnp.sum(found.beliefs.scale_tril**2, axis=2) / variance - 1.0,
                found.info.free_energy_nats,
                exact.info.free_energy_nats,
            )

        return eqx.filter_jit(eqx.filter_vmap(one))(unseen.model, unseen.observations, unseen.actions)

    every = [both(steps) for steps in range(num_iterations + 1)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *every)
    return stacked._replace(exact_energy_nats=every[0].exact_energy_nats)
