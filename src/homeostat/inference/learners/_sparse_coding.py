"""The most probable sparse code with a certificate, and dictionary learning with it.

    P(z) = |x - W z|^2 / 2 + lambda |z|_1,   lambda = sigma^2 / b

is sigma^2 times -log p(x, z) up to a constant. For r = x - W z and s = min(1, lambda / |W^T r|_inf), the point s r is feasible
for the dual problem, and its value lies below the minimum of P by at most

    gap = (1 - s)^2 |r|^2 / 2 + sum_k (lambda |z_k| - s z_k (W^T r)_k),

a sum of non-negative terms: no answer is off by more than its gap says.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ...models.static import SparseCoding, unit_columns
from ...results import BadInputError
from ...typing import Array, Energy, Float, Int


class SparseEstimate(NamedTuple):
    """A sparse code and how good it is.

    Attributes:
        latent: z.
        energy_nats: -log p(x, z).
        gap_nats: by how much the energy may exceed the least possible one.
        num_steps: how many steps were taken.
    """

    latent: Float[Array, " atoms"]
    energy_nats: Energy
    gap_nats: Energy
    num_steps: Int[Array, ""]


class LearnedDictionary(NamedTuple):
    """What dictionary learning found.

    Attributes:
        model: the model after the last round.
        latents: the code of every row, under the dictionary before the last round.
        energy_nats: -log p(x, z) on average over rows at the codes of each round, [num_rounds].
        gap_nats: the largest gap of a code, [num_rounds].
    """

    model: SparseCoding
    latents: Float[Array, "rows atoms"]
    energy_nats: Float[Array, " rounds"]
    gap_nats: Float[Array, " rounds"]


class _Iterate(NamedTuple):
    latent: Float[Array, " atoms"]
    ahead: Float[Array, " atoms"]
    momentum: Float[Array, ""]
    gap: Float[Array, ""]
    count: Int[Array, ""]


def map_estimate(
    model: SparseCoding,
    observation: Float[Array, " m"],
    start: Float[Array, " atoms"] | None = None,
    *,
    tolerance_nats: float = 1e-6,
    max_steps: int = 10_000,
) -> SparseEstimate:
    """argmax_z p(x, z), the lasso, by accelerated proximal gradient with restarts, up to a stated duality gap.

    Unbatched; map it with `jax.vmap`.

    Args:
        model: W, sigma and b.
        observation: x.
        start: where to start; zero if None.
        tolerance_nats: gap at which to stop.
        max_steps: number of steps at which to stop in any case; `gap_nats` tells whether this happened. Single precision
            may not reach a small tolerance.

    References:
        Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM Journal on Imaging Sciences 2 (2009);
        O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", Foundations of Computational
        Mathematics 15 (2015), Sec. 3.2 (gradient scheme); Kim et al., "An interior-point method for large-scale
        l1-regularized least squares", 2007, Sec. III, for the dual point.
    """
    if max_steps < 0:
        raise BadInputError(f"Expected a number of steps, got max_steps={max_steps}.")
    matrix, penalty = model.dictionary, model.penalty
    variance = jnp.exp(2.0 * model.log_sigma)
    # One over the largest curvature of the quadratic; a dictionary of zeros has none.
    curvature = jnp.linalg.norm(matrix, 2) ** 2
    rate = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 1.0)

    def gap(latent: Array) -> Array:
        residual = observation - matrix @ latent
        slope = matrix.T @ residual
        steepest = jnp.max(jnp.abs(slope))
        shrink = jnp.where(steepest > penalty, penalty / jnp.where(steepest > penalty, steepest, 1.0), 1.0)
        slack = penalty * jnp.abs(latent) - shrink * latent * slope
        return (0.5 * (1.0 - shrink) ** 2 * jnp.sum(residual**2) + jnp.sum(slack)) / variance

    def unfinished(iterate: _Iterate) -> Array:
        return (iterate.gap > tolerance_nats) & (iterate.count < max_steps)

    def advance(iterate: _Iterate) -> _Iterate:
        slope = matrix.T @ (observation - matrix @ iterate.ahead)
        raw = iterate.ahead + rate * slope
        latent = jnp.sign(raw) * jnp.maximum(jnp.abs(raw) - rate * penalty, 0.0)
        # Momentum that points uphill is dropped.
        uphill = jnp.sum((iterate.ahead - latent) * (latent - iterate.latent)) > 0.0
        previous = jnp.where(uphill, 1.0, iterate.momentum)
        momentum = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * previous**2))
        ahead = latent + jnp.where(uphill, 0.0, (previous - 1.0) / momentum) * (latent - iterate.latent)
        return _Iterate(latent, ahead, momentum, gap(latent), iterate.count + 1)

    first = jnp.zeros(model.dim, matrix.dtype) if start is None else start
    one = jnp.ones((), matrix.dtype)
    begin = _Iterate(first, first, one, gap(first), jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(unfinished, advance, begin)
    energy = -model.initial().log_prob(last.latent) - model.emission(last.latent).log_prob(observation)
    return SparseEstimate(last.latent, energy, last.gap, last.count)


@eqx.filter_jit
def learn_dictionary(
    model: SparseCoding,
    observations: Float[Array, "rows m"],
    *,
    num_rounds: int = 50,
    tolerance_nats: float = 1e-4,
    max_steps: int = 1000,
) -> LearnedDictionary:
    """Minimise -log p(x, z) over codes and unit-length atoms in turns; no round raises it by more than the codes' gap.

    A round codes every row (from its previous code) and takes the step W <- normalise(W + (X - Z W^T)^T Z / L), L the largest
    eigenvalue of Z^T Z. This minimises, over atoms of length one, a quadratic that lies above the squared error and touches
    it at W, so it cannot go up. sigma and b stay as they are: without a fixed length of the atoms the prior would vanish.

    Args:
        model: where to start; its atoms are scaled to length one first.
        observations: one row each.
        num_rounds: number of rounds.
        tolerance_nats: gap at which the coding of a row stops.
        max_steps: number of steps at which it stops in any case.

    References:
        Olshausen and Field (1996), for learning by gradient descent at the most probable codes.
    """
    if num_rounds < 1:
        raise BadInputError(f"Expected at least one round, got num_rounds={num_rounds}.")

    def code(current: SparseCoding, latents: Array) -> SparseEstimate:
        def one(x: Array, z: Array) -> SparseEstimate:
            return map_estimate(current, x, z, tolerance_nats=tolerance_nats, max_steps=max_steps)

        return jax.vmap(one)(observations, latents)

    def round_trip(
        carry: tuple[SparseCoding, Array], _: None
    ) -> tuple[tuple[SparseCoding, Array], tuple[Array, Array]]:
        current, latents = carry
        estimate = code(current, latents)
        latents = estimate.latent
        curvature = jnp.linalg.norm(latents.T @ latents, 2)
        rate = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 0.0)
        residual = observations - latents @ current.dictionary.T
        dictionary = unit_columns(current.dictionary + rate * residual.T @ latents)
        improved = eqx.tree_at(lambda m: m.dictionary, current, dictionary)
        return (improved, latents), (jnp.mean(estimate.energy_nats), jnp.max(estimate.gap_nats))

    start = jnp.zeros((observations.shape[0], model.dim), model.dictionary.dtype)
    (learned, latents), (energies, gaps) = jax.lax.scan(
        round_trip, (model.normalised(), start), None, length=num_rounds
    )
    return LearnedDictionary(learned, latents, energies, gaps)
