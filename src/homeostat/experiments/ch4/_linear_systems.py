"""Random linear systems, and the dense joint Gaussian over their states and observations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import AbstractMarkovModel, AbstractSmoother
from ...inference import smooth
from ...inference.smoothers import ParticleSmoother, Structured
from ...models.sequential import LinearDynamics, LinearGaussian
from ...typing import Array, Float, Key


class LinearSequence(NamedTuple):
    """A linear-Gaussian system with a sequence that it emitted; observations are NaN where missing."""

    model: LinearGaussian
    states: Float[Array, "time d"]
    observations: Float[Array, "time m"]
    actions: Float[Array, "steps a"]


def random_system(
    dim: int, observed: int, actions: int, length: int, *, missing: float = 0.0, key: Key
) -> LinearSequence:
    """A stable system with correlated noises, known inputs and offsets, and one sequence from it.

    A is 0.3 to 0.95 times a random rotation, bent; noise scales lie between e^-1 and e^0.5, so that a prediction tells about as much as
    an observation. A share of the entries is missing.
    """
    keys = iter(jr.split(key, 12))
    rotation, _ = jnp.linalg.qr(jr.normal(next(keys), (dim, dim)))
    bend = jnp.eye(dim) + 0.2 * jr.normal(next(keys), (dim, dim)) * (1.0 - jnp.eye(dim))
    matrix = jr.uniform(next(keys), (), minval=0.3, maxval=0.95) * rotation @ bend
    # Bending may have stretched it: the largest gain of one step stays below one.
    matrix = matrix / jnp.maximum(1.0, jnp.linalg.norm(matrix, 2) / 0.95)
    dynamics = LinearDynamics(
        matrix, jr.normal(next(keys), (dim, actions)), _factor(next(keys), dim), 0.3 * jr.normal(next(keys), (dim,))
    )
    model = LinearGaussian(
        jr.normal(next(keys), (dim,)), _factor(next(keys), dim), dynamics, jr.normal(next(keys), (observed, dim)),
        _factor(next(keys), observed), jr.normal(next(keys), (observed,)),
    )  # fmt: skip
    action_key, sample_key, hole_key = jr.split(next(keys), 3)
    inputs = jr.normal(action_key, (length - 1, actions))
    states, values = model.sample(inputs, key=sample_key)
    values = jnp.where(jr.uniform(hole_key, values.shape) < missing, jnp.nan, values)
    return LinearSequence(model, states, values, inputs)


def random_systems(dim: int, observed: int, length: int, num: int, *, key: Key) -> LinearSequence:
    """So many systems without inputs, each with a sequence of its own; every array has a leading axis."""
    return jax.vmap(lambda k: random_system(dim, observed, 0, length, key=k))(jr.split(key, num))


def _factor(key: Key, dim: int) -> Float[Array, "d d"]:
    scale_key, lower_key = jr.split(key)
    scales = jnp.exp(jr.uniform(scale_key, (dim,), minval=-1.0, maxval=0.5))
    return scales[:, None] * (jnp.eye(dim) + 0.3 * jnp.tril(jr.normal(lower_key, (dim, dim)), -1))


class StateMoments(NamedTuple):
    """Means and covariances of the states at each time, and energies -log p: of each step, or one of the whole sequence."""

    mean: Float[Array | np.ndarray, "*sequences time d"]
    covariance: Float[Array | np.ndarray, "*sequences time d d"]
    energy_nats: Float[Array | np.ndarray, "*sequences energies"]


def smoothed_moments(
    method: AbstractSmoother, model: AbstractMarkovModel, observations: Array, actions: Array | None = None, *, key: Key,
    throw: bool = True,
) -> StateMoments:  # fmt: skip
    """What a smoother finds; the energy is -log p(x), a bound on it or an estimate."""
    found = smooth(method, model, observations, actions, key=key, throw=throw)
    if isinstance(method, ParticleSmoother):
        return StateMoments(found.mean, found.covariance, -found.log_evidence_nats[None])
    energy = found.free_energy_nats if isinstance(method, Structured) else -found.log_evidence_nats
    return StateMoments(found.beliefs.loc, found.beliefs.covariance, energy[None])


class Reference(NamedTuple):
    """Moments given x_{1:t} with the energies -log p(x_t | x_{<t}), and given x_{1:T} with -log p(x_{1:T})."""

    filtered: StateMoments
    smoothed: StateMoments


def dense_joint(sequence: LinearSequence) -> Reference:
    """Every conditional from one Gaussian over all states and observations, by matrix algebra in NumPy and 64 bits.

    Noises move the path by (I - S (x) A)^{-1}, S the shift by one step; conditioning on the known entries of x_{1:t} for every t
    uses no recursion.
    """
    model, dynamics = jax.tree.map(lambda leaf: np.asarray(leaf, float), (sequence.model, sequence.model.dynamics))
    actions, values = np.asarray(sequence.actions, float), np.asarray(sequence.observations, float)
    (length, size), dim = values.shape, model.initial_mean.shape[0]
    square = lambda factor: factor @ factor.T  # noqa: E731
    first, shift = np.diag(np.eye(length)[0]), np.eye(length, k=-1)
    moves = np.linalg.inv(np.eye(length * dim) - np.kron(shift, dynamics.matrix))
    drive = np.vstack([model.initial_mean, actions @ dynamics.control.T + dynamics.offset])
    mean = moves @ drive.reshape(-1)
    initial, later = square(model.initial_scale_tril), square(dynamics.scale_tril)
    spread = np.kron(first, initial) + np.kron(np.eye(length) - first, later)
    covariance = moves @ spread @ moves.T
    emission = np.kron(np.eye(length), model.emission_matrix)
    noise, flat = np.kron(np.eye(length), square(model.emission_scale_tril)), values.reshape(-1)
    expected = emission @ mean + np.tile(model.emission_offset, length)
    known = ~np.isnan(flat)

    def given(steps: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and covariance of the path, and log p, given the first observations."""
        keep = np.flatnonzero(known & (np.arange(flat.size) < steps * size))
        rows = emission[keep]
        innovation = rows @ covariance @ rows.T + noise[np.ix_(keep, keep)]
        residual = flat[keep] - expected[keep]
        gain = np.linalg.solve(innovation, rows @ covariance).T
        log_size = np.linalg.slogdet(2.0 * np.pi * innovation)[1]
        log_density = -0.5 * (residual @ np.linalg.solve(innovation, residual) + log_size)
        posterior = (covariance - gain @ innovation @ gain.T).reshape(length, dim, length, dim)
        index = np.arange(length)
        return (mean + gain @ residual).reshape(length, dim), posterior[index, :, index], log_density

    means, covariances, logs = map(np.stack, zip(*(given(t) for t in range(1, length + 1)), strict=True))
    energies, index = -np.diff(logs, prepend=0.0), np.arange(length)
    filtered = StateMoments(means[index, index], covariances[index, index], energies)
    return Reference(filtered, StateMoments(means[-1], covariances[-1], energies.sum()[None]))


class Difference(NamedTuple):
    """How far a method is from the dense joint Gaussian.

    Attributes:
        mean: largest difference of a mean.
        covariance: largest difference of an entry of a covariance.
        energy_nats: largest difference of the free energy of a step (of a whole sequence, for a smoother).
        mean_deviations: root mean square difference of means, in posterior standard deviations.
        relative_energy: mean absolute difference of the free energy of a step, over the mean absolute exact one.
    """

    mean: float
    covariance: float
    energy_nats: float
    mean_deviations: float
    relative_energy: float

    @property
    def largest(self) -> float:
        """The largest of the three absolute ones."""
        return max(self.mean, self.covariance, self.energy_nats)


def difference_of(found: StateMoments, exact: StateMoments) -> Difference:
    """Of a method's moments and energies from the exact ones."""
    apart = [np.abs(one - other) for one, other in zip(found, exact, strict=True)]
    mean_deviations = apart[0] / np.sqrt(np.diagonal(exact.covariance, axis1=1, axis2=2))
    relative_energy = apart[2].mean() / np.abs(exact.energy_nats).mean()
    parts = (*(part.max() for part in apart), np.sqrt(np.mean(mean_deviations**2)), relative_energy)
    return Difference(*map(float, parts))
