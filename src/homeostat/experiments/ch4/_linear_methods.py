"""Every filter and smoother that is known, run on one linear-Gaussian sequence and held against the dense joint Gaussian."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
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
from ...typing import Array, Key
from ._linear_systems import Difference, Reference, Sequence, dense_joint, difference_of, random_system
from .adapters import by_dynamax


def exact_filters(every: bool) -> dict[str, AbstractFilter]:
    """Filters that are exact on a linear-Gaussian model."""
    few: dict[str, AbstractFilter] = {
        "Kalman": Kalman(),
        "Kalman, parallel in time": Kalman(recursion=Parallel()),
    }
    if not every:
        return few
    return few | {
        "extended": Extended(),
        "unscented": Unscented(SigmaPoints()),
        "cubature": Unscented(Cubature()),
        "Gauss-Hermite": Unscented(GaussHermite(3)),
    }


def variational_filters(dim: int, every: bool) -> dict[str, AbstractFilter]:
    """Variational filters that match the prediction's moments over a full Gaussian, with different engines."""
    few: dict[str, AbstractFilter] = {
        "natural gradient, 1 step": VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(dim), 1)
    }
    if not every:
        return few
    descent = Gradient(optax.adam(optax.exponential_decay(0.1, 100, 0.3)))
    return few | {
        "natural gradient, rate 0.5, 20 steps": VariationalFilter(NaturalGradient(rate=0.5), FullGaussian(dim), 20),
        "gradient (Adam), 300 steps": VariationalFilter(descent, FullGaussian(dim), 300),
    }


def loose_filters(dim: int) -> dict[str, AbstractFilter]:
    """Filters with another bound: of independent coordinates, and of samples of the past."""
    return {
        "natural gradient, diagonal": VariationalFilter(NaturalGradient(rate=0.5), DiagonalGaussian(dim), 20),
        "natural gradient, 100 samples of the past": VariationalFilter(
            NaturalGradient(rate=1.0), FullGaussian(dim), 1, propagation=SampledHistories(100)
        ),
    }


def sampling_filters(dim: int, num_particles: int) -> dict[str, AbstractFilter]:
    """Filters that draw."""
    exact = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(dim), 1)
    return {
        "particle": Particle(num_particles),
        "auxiliary particle": auxiliary_particle(num_particles),
        "particle, variational proposals": GuidedParticle(
            VariationalProposal(exact), BoundScore(), num_particles // 10
        ),
        "ensemble": Ensemble(num_particles),
    }


def exact_smoothers(every: bool) -> dict[str, AbstractSmoother]:
    """Smoothers that are exact on a linear-Gaussian model."""
    few = {
        "Rauch-Tung-Striebel": RauchTungStriebel(),
        "structured, natural gradient": Structured(PathNaturalGradient(), 1),
    }
    if not every:
        return few
    return few | {
        "Rauch-Tung-Striebel, parallel": RauchTungStriebel(Kalman(recursion=Parallel()), Parallel()),
        "extended Rauch-Tung-Striebel": RauchTungStriebel(Extended()),
        "unscented Rauch-Tung-Striebel": RauchTungStriebel(Unscented()),
        "structured, parallel": Structured(PathNaturalGradient(), 1, recursion=Parallel()),
        "structured, Newton": Structured(PathNewton(), 1),
    }


def filter_difference(method: AbstractFilter, sequence: Sequence, exact: Reference, *, key: Key) -> Difference:
    """One filter against the reference."""

    @eqx.filter_jit
    def moments(model, observations, actions) -> tuple[Array, Array, Array]:
        found = filter(method, model, observations, actions, key=key)
        beliefs = found.beliefs
        return (
            jax.vmap(lambda b: b.mean)(beliefs),
            jax.vmap(lambda b: b.covariance)(beliefs),
            found.info.free_energy_nats,
        )

    mean, covariance, energy = (
        np.asarray(part) for part in moments(sequence.model, sequence.observations, sequence.actions)
    )
    return difference_of(mean, covariance, energy, exact.filtered_mean, exact.filtered_covariance, exact.energy_nats)


def smoother_difference(method: AbstractSmoother, sequence: Sequence, exact: Reference, *, key: Key) -> Difference:
    """One smoother against the reference; its free energy is that of the whole sequence."""

    @eqx.filter_jit
    def moments(model, observations, actions) -> tuple[Array, Array, Array]:
        found = smooth(method, model, observations, actions, key=key)
        if isinstance(method, ParticleSmoother):
            return found.mean, found.covariance, -found.log_evidence_nats
        energy = found.free_energy_nats if isinstance(method, Structured) else -found.log_evidence_nats
        return found.beliefs.loc, found.beliefs.covariance, energy

    mean, covariance, energy = (
        np.asarray(part) for part in moments(sequence.model, sequence.observations, sequence.actions)
    )
    total = exact.energy_nats.sum()[None]
    return difference_of(mean, covariance, energy[None], exact.smoothed_mean, exact.smoothed_covariance, total)


class Differences(NamedTuple):
    """All comparisons, by kind and name.

    Attributes:
        exact_filters, exact_smoothers, variational, loose, sampling, peers: differences by name.
    """

    exact_filters: dict[str, Difference]
    exact_smoothers: dict[str, Difference]
    variational: dict[str, Difference]
    loose: dict[str, Difference]
    sampling: dict[str, Difference]
    peers: dict[str, Difference]


def differences(dim: int, observed: int, length: int, num_particles: int, every: bool, *, key: Key) -> Differences:
    """Run every method, in 64 bits, on a sequence of which a fifth is missing.

    Args:
        dim: state coordinates.
        observed: observed coordinates.
        length: observations.
        num_particles: of sampling methods.
        every: all methods, or those alone without which nothing else works.
        key: for the system and for methods that draw.
    """
    system_key, run_key = jr.split(key)
    with jax.enable_x64(True):
        build = eqx.filter_jit(partial(random_system, dim, observed, 2, length, key=system_key))
        sequence = build(missing=0.2)
        exact = dense_joint(sequence)
        one_filter = partial(filter_difference, sequence=sequence, exact=exact, key=run_key)
        one_smoother = partial(smoother_difference, sequence=sequence, exact=exact, key=run_key)
        sampling, peers = {}, {}
        if every:
            drawing = sampling_filters(dim, num_particles)
            sampling = {name: one_filter(method) for name, method in drawing.items()}
            paths = ParticleSmoother(Particle(num_particles // 10), num_particles // 10)
            sampling["particle smoother"] = one_smoother(paths)
            whole = build()
            answer, peer = dense_joint(whole), by_dynamax(whole)
            if peer is not None:
                peers = _peer_differences(peer, answer)
        return Differences(
            {name: one_filter(method) for name, method in exact_filters(every).items()},
            {name: one_smoother(method) for name, method in exact_smoothers(every).items()},
            {name: one_filter(method) for name, method in variational_filters(dim, every).items()},
            {name: one_filter(method) for name, method in loose_filters(dim).items()} if every else {},
            sampling,
            peers,
        )


def _peer_differences(peer: Reference, exact: Reference) -> dict[str, Difference]:
    ours, theirs = exact.energy_nats.sum()[None], peer.energy_nats.sum()[None]
    return {
        "dynamax, filter": difference_of(
            peer.filtered_mean, peer.filtered_covariance, theirs, exact.filtered_mean, exact.filtered_covariance, ours
        ),
        "dynamax, smoother": difference_of(
            peer.smoothed_mean, peer.smoothed_covariance, theirs, exact.smoothed_mean, exact.smoothed_covariance, ours
        ),
    }
