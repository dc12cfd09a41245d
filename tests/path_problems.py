"""Members that work on whole paths or with guided particles, each with a problem of its own."""

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from homeostat.distributions import DiagonalGaussian, PathGaussian
from homeostat.inference import EnergyDescent, ModelWithEngine, engines, smoothing_descent
from homeostat.inference.filters import (
    BoundScore,
    GuidedParticle,
    VariationalFilter,
    VariationalProposal,
    auxiliary_particle,
)
from homeostat.inference.smoothers import ProductForm
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.objectives import PathEvidence, PathFreeEnergy


def chain(dim: int) -> LinearGaussian:
    """A stable chain whose state is seen directly."""
    dynamics = LinearDynamics(0.8 * jnp.eye(dim), jnp.ones((dim, 1)), 0.5 * jnp.eye(dim))
    return LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, jnp.eye(dim), 0.5 * jnp.eye(dim))


def path_evidence(family: PathGaussian) -> PathEvidence:
    """Observations of which one is missing."""
    values = jnp.linspace(-1.0, 2.0, family.length * family.dim).reshape(family.length, family.dim)
    return PathEvidence.of(values.at[family.length // 2].set(jnp.nan), jnp.ones((family.length - 1, 1)))


def path_problem(family: PathGaussian) -> tuple[PathFreeEnergy, PathGaussian, PathEvidence]:
    """Free energy of the chain."""
    return PathFreeEnergy(chain(family.dim)), family, path_evidence(family)


def _guided() -> GuidedParticle:
    step = VariationalFilter(engines.Gradient(optax.sgd(0.05)), DiagonalGaussian(2), 2)
    return GuidedParticle(VariationalProposal(step), BoundScore(), num_particles=32)


PATH_FILTERS = {
    "auxiliary particle": lambda: (auxiliary_particle(64), chain(2), jnp.ones(1), jnp.ones(2)),
    "guided particle": lambda: (_guided(), chain(2), jnp.ones(1), jnp.ones(2)),
}
"""Filter, model, action and observation."""


def _learner() -> tuple[EnergyDescent, PathEvidence]:
    recognition = engines.Direct(ProductForm.networks(1, 1, actions=1, width=3, key=jr.key(0)))
    learner = smoothing_descent(ModelWithEngine(chain(1), recognition), optax.adam(1e-3))
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), path_evidence(PathGaussian(3, 1)))
    return learner, batch


PATH_LEARNERS = {"smoothing descent": _learner}
"""Learner and batch."""
