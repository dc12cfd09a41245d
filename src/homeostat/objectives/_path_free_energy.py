"""Free energy of a whole path of a Markov model, in nats.

    F(q) = E_q[-log p(x_{1:T} | z_{1:T})] + KL(q(z_{1:T}) || p(z_{1:T}))  >=  -log p(x_{1:T})

U(z_{1:T}) = -log p(z_1) - sum_t log p(z_{t+1} | z_t, a_t) - sum_t log p(x_t | z_t) has a block-tridiagonal second derivative, so
a Gaussian q with block-tridiagonal precision closes under natural gradients and Newton steps, and the expectations need only
pairs of neighbours. Missing entries are integrated out. Beyond the end of a padded sequence the path is standard normal in U
and in q, where it adds nothing.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ..core import AbstractMarkovModel, AbstractObjective
from ..distributions import (
    AbstractExpectation,
    BlockPrecision,
    BlockTridiagonal,
    Cubature,
    MonteCarlo,
    known_entries,
    partial_log_prob,
)
from ..models.sequential import Measurement, measured, pad_actions, sequence_length
from ..results import BadInputError
from ..typing import Action, Array, Bool, Distribution, Energy, Float, Int, Key, Observation, PyTree, Scalar
from ._free_energy import FreeEnergyTerms
from ._path_curvature import AbstractPathCurvature


@final
class PathEvidence(eqx.Module):
    """What inference of a whole path depends on; made by `PathEvidence.of`. A batch has a leading axis on every array.

    Attributes:
        observations: x_t on a leading time axis.
        actions: a_t on a leading axis [time - 1]; None for a model without actions.
        observed: which entries are known, of the shape of `observations`; None if all are.
        noise: lower Cholesky factors [time, m, m] of measurements that bring their own noise.
        length: steps that exist, at least one, the others being padding; None if all do.
    """

    observations: Observation
    actions: Action = None
    observed: PyTree | None = None
    noise: Float[Array, "... m m"] | None = None
    length: Int[Array, "..."] | None = None

    @classmethod
    def of(
        cls, observations: Observation, actions: Action = None, length: Int[Array, ""] | int | None = None
    ) -> "PathEvidence":
        """From what `smooth` takes: arrays with NaN where missing, `Masked`, or a `Measurement`.

        Raises:
            BadInputError: the time axes do not agree, or there is nothing.
        """
        noise = None
        if isinstance(observations, Measurement):
            observations, noise = observations.value, observations.scale_tril
        value, observed = known_entries(observations)
        time = sequence_length(value, actions)
        if length is None:
            return cls(value, actions, observed, noise)
        inside = jnp.arange(time) < length

        def within(leaf: Array) -> Bool[Array, "..."]:
            return leaf & inside.reshape(time, *(1,) * (leaf.ndim - 1))

        observed = jax.tree.map(lambda leaf: jnp.ones(jnp.shape(leaf), bool), value) if observed is None else observed
        # Transitions beyond the end do not count, but have to be regular: see `pad_actions`.
        actions = pad_actions(actions, inside[1:])
        return cls(value, actions, jax.tree.map(within, observed), noise, jnp.asarray(length, jnp.int32))

    @property
    def time(self) -> int:
        """T, padding included."""
        return jax.tree.leaves(self.observations)[0].shape[0]

    @property
    def seen(self) -> "StepEvidence":
        """What belongs to single steps, with a leading time axis."""
        return StepEvidence(self.observations, self.observed, self.noise)

    @property
    def inside(self) -> Bool[Array, " time"]:
        """Which steps exist."""
        return jnp.ones(self.time, bool) if self.length is None else jnp.arange(self.time) < self.length


class StepEvidence(NamedTuple):
    """The evidence of one step."""

    observation: Observation
    observed: PyTree | None
    noise: Float[Array, "m m"] | None


class PathPoints(NamedTuple):
    """Weighted points of single steps and of neighbours; both sets of weights sum to one.

    Attributes:
        singles: z_t, [n, time, d].
        weights: of the singles, [n].
        pairs: (z_{t+1}, z_t) side by side, [k, time - 1, 2 d].
        pair_weights: of the pairs, [k].
    """

    singles: Float[Array, "n time d"]
    weights: Float[Array, " n"]
    pairs: Float[Array, "k steps e"]
    pair_weights: Float[Array, " k"]


class AbstractPathExpectation(eqx.Module):
    """A rule for expectations of a sum over neighbours."""

    @abc.abstractmethod
    def points(self, distribution: BlockTridiagonal, *, key: Key) -> PathPoints:
        """The points, differentiable in the distribution."""


@final
class Neighbours(AbstractPathExpectation):
    """A rule for Gaussians on the marginals of steps and of neighbouring steps: deterministic with `Cubature`.

    Attributes:
        rule: any expectation under a Gaussian; cubature is exact for linear-Gaussian parts.
    """

    rule: AbstractExpectation = Cubature()

    def points(self, distribution: BlockTridiagonal, *, key: Key) -> PathPoints:
        moments, keys = distribution.marginals(), jr.split(key, 2)

        def drawn(loc: Array, scale_tril: Array, one_key: Key):
            return self.rule.points(
                dist.MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False), key=one_key
            )

        single = jax.vmap(drawn)(moments.loc, moments.scale_tril, jr.split(keys[0], moments.loc.shape[0]))
        # The pairs of a path of one step are none; their weights are asked for all the same.
        pairs, steps = moments.pairs, moments.loc.shape[0] - 1
        pair = jax.vmap(drawn)(pairs.loc, pairs.scale_tril, jr.split(keys[1], steps)) if steps else None
        if pair is None:
            empty = jnp.zeros((1, 0, 2 * moments.loc.shape[1]), moments.loc.dtype)
            return PathPoints(jnp.swapaxes(single.values, 0, 1), single.weights[0], empty, jnp.ones(1, empty.dtype))
        return PathPoints(
            jnp.swapaxes(single.values, 0, 1), single.weights[0], jnp.swapaxes(pair.values, 0, 1), pair.weights[0]
        )


@final
class WholePaths(AbstractPathExpectation):
    """Sampled paths: one backward pass each, and no marginals, as for training networks.

    Attributes:
        num_samples: number of paths.
    """

    num_samples: int = eqx.field(static=True, default=1)

    def points(self, distribution: BlockTridiagonal, *, key: Key) -> PathPoints:
        values, weights = MonteCarlo(self.num_samples).points(distribution, key=key)
        return at_paths(values, weights)


def at_paths(paths: Float[Array, "n time d"], weights: Float[Array, " n"]) -> PathPoints:
    """Whole paths as points."""
    return PathPoints(paths, weights, jnp.concatenate([paths[:, 1:], paths[:, :-1]], axis=2), weights)


class PathDerivatives(NamedTuple):
    """Expected energy of paths with its first two derivatives in the path.

    Attributes:
        energy_nats: E[U].
        gradient: E[grad U], [time, d].
        curvature: E[curvature of U].
    """

    energy_nats: Energy
    gradient: Float[Array, "time d"]
    curvature: BlockPrecision


@final
class PathFreeEnergy(AbstractObjective[PathEvidence]):
    """F(q) = E_q[-log p(x, z)] - H(q) for q over whole paths (see the module).

    Attributes:
        model: a Markov model.
        expectation: rule for E_q.

    References:
        Archer et al., "Black box variational inference for state space models", 2015, Eq. 2.
    """

    model: AbstractMarkovModel
    expectation: AbstractPathExpectation = Neighbours()

    def pointwise(self, value: Float[Array, "time d"], args: PathEvidence, *, key: Key) -> Energy:
        """-log p(x_{1:T}, z_{1:T})."""
        return jnp.sum(jnp.stack(self._parts(at_paths(value[None], jnp.ones(1, value.dtype)), args)))

    def __call__(self, distribution: BlockTridiagonal, args: PathEvidence, *, key: Key) -> Energy:
        return self.terms(distribution, args, key=key).free_energy_nats

    def terms(self, distribution: BlockTridiagonal, args: PathEvidence, *, key: Key) -> FreeEnergyTerms:
        """Distortion and rate of the whole path."""
        distribution = within(distribution, args)
        distortion, prior = self._parts(self.expectation.points(distribution, key=key), args)
        return FreeEnergyTerms(distortion, (prior - distribution.entropy())[None])

    def derivatives(self, points: PathPoints, args: PathEvidence, curvature: AbstractPathCurvature) -> PathDerivatives:
        """E[U] at the points, E[grad U] and E[curvature of U]."""

        def emission(state: Array, seen: StepEvidence) -> tuple[Array, Array]:
            def energy(z: Array) -> Scalar:
                return self.emission_energy(z, seen)

            matrix = curvature.emission(energy, lambda z: self.emission(z, seen), state, seen.observed)
            return jax.grad(energy)(state), matrix

        per_step = jax.vmap(lambda states: jax.vmap(emission)(states, args.seen))
        slope, bend = _mean(points.weights, per_step(points.singles))
        prior = self.prior_derivatives(points, args, curvature)
        energy = jnp.sum(jnp.stack(self._parts(points, args)))
        precision = BlockPrecision(bend + prior.curvature.diagonal, prior.curvature.coupling)
        return PathDerivatives(energy, slope + prior.gradient, precision)

    def prior_derivatives(
        self, points: PathPoints, args: PathEvidence, curvature: AbstractPathCurvature
    ) -> PathDerivatives:
        """The same of -log p(z_{1:T}) alone."""

        def transition(pair: Array, action: Action, inside: Array) -> tuple[Array, Array]:
            def energy(both: Array) -> Scalar:
                return self.transition_energy(both, action, inside)

            matrix = curvature.transition(energy, lambda z: self.model.transition(z, action), pair)
            dim = pair.shape[0] // 2
            alone = jnp.diag(jnp.concatenate([jnp.ones(dim, pair.dtype), jnp.zeros(dim, pair.dtype)]))
            return jax.grad(energy)(pair), jnp.where(inside, matrix, alone)

        def first(state: Array) -> tuple[Array, Array]:
            return jax.grad(self.initial_energy)(state), jax.hessian(self.initial_energy)(state)

        per_pair = jax.vmap(lambda pairs: jax.vmap(transition)(pairs, args.actions, args.inside[1:]))
        pair_slope, pair_bend = _mean(points.pair_weights, per_pair(points.pairs))
        first_slope, first_bend = _mean(points.weights, jax.vmap(first)(points.singles[:, 0]))
        dim = first_slope.shape[0]
        slope = jnp.zeros(points.singles.shape[1:], first_slope.dtype).at[0].set(first_slope)
        slope = slope.at[1:].add(pair_slope[:, :dim]).at[:-1].add(pair_slope[:, dim:])
        bend = jnp.zeros((*slope.shape, dim), first_bend.dtype).at[0].set(first_bend)
        bend = bend.at[1:].add(pair_bend[:, :dim, :dim]).at[:-1].add(pair_bend[:, dim:, dim:])
        precision = BlockPrecision(bend, pair_bend[:, :dim, dim:])
        return PathDerivatives(self._prior(points, args), slope, precision)

    def initial_energy(self, state: Float[Array, " d"]) -> Energy:
        """-log p(z_1)."""
        return -self.model.initial().log_prob(state)

    def transition_energy(self, pair: Float[Array, " k"], action: Action, inside: Bool[Array, ""]) -> Energy:
        """-log p(z' | z, a) of (z', z) side by side, or -log N(z'; 0, I) beyond the end."""
        later, earlier = jnp.split(pair, 2)
        alone = -dist.Normal(jnp.zeros_like(later), 1.0).to_event(1).log_prob(later)
        return jnp.where(inside, -self.model.transition(earlier, action).log_prob(later), alone)

    def emission(self, state: Float[Array, " d"], seen: StepEvidence) -> Distribution:
        """p(x | z), with the noise of the measurement where it brings one."""
        emission = self.model.emission(state)
        return emission if seen.noise is None else measured(emission, seen.noise)

    def emission_energy(self, state: Float[Array, " d"], seen: StepEvidence) -> Energy:
        """-log p(x | z) of what was seen."""
        return -partial_log_prob(self.emission(state, seen), seen.observation, seen.observed)

    def _parts(self, points: PathPoints, args: PathEvidence) -> tuple[Energy, Energy]:
        """Expected -log p(x | z) and -log p(z)."""
        emissions = jax.vmap(lambda states: jnp.sum(jax.vmap(self.emission_energy)(states, args.seen)))
        return points.weights @ emissions(points.singles), self._prior(points, args)

    def _prior(self, points: PathPoints, args: PathEvidence) -> Energy:
        """Expected -log p(z)."""
        transitions = jax.vmap(
            lambda pairs: jnp.sum(jax.vmap(self.transition_energy)(pairs, args.actions, args.inside[1:]))
        )
        first = points.weights @ jax.vmap(self.initial_energy)(points.singles[:, 0])
        return first + points.pair_weights @ transitions(points.pairs)


def _mean(weights: Array, tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, axes=1), tree)


def within(distribution: BlockTridiagonal, args: PathEvidence) -> BlockTridiagonal:
    """The distribution, standard normal beyond the end of the sequence."""
    if not isinstance(distribution, BlockTridiagonal):
        raise BadInputError(
            f"Expected a Gaussian over paths (`PathGaussian`), got {type(distribution).__name__}: a whole path is inferred."
        )
    return distribution if args.length is None else distribution.cut(args.length)
