"""`infer_modes`: inference from several starts, and the posterior over the modes that they end in.

With q(z, h) = sum_k w_k q_k(z) over modes k, each belonging to one hypothesis h (such as the shape of a sprite), and modes
that do not overlap, the free energy separates,

    F(q) = sum_k w_k (F_k - log p(h_k) + log w_k),   least at   w_k ~ p(h_k) exp(-F_k),   F* = -log sum_k p(h_k) exp(-F_k)

Two starts that end in the same mode would be counted twice there and lower F* by up to log 2 for nothing; a rule of merging
drops all but the best of them.
"""

import abc
from typing import Generic, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from ..core import AbstractEngine, AbstractFamily, AbstractObjective
from ..distributions import gaussian_moments
from ..results import RESULTS, BadInputError
from ..typing import Array, Bool, Distribution, Energy, Float, Int, Key, Params, PyTree
from ._infer import infer


class AbstractMerging(eqx.Module):
    """Which modes count as the same one."""

    @abc.abstractmethod
    def same(self, family: AbstractFamily[Params], params: Params) -> Bool[Array, "modes modes"]:
        """A symmetric table of pairs to be counted once; `params` has a leading axis over modes."""


@final
class KeepAll(AbstractMerging):
    """No two modes are the same: for starts that cannot meet."""

    def same(self, family: AbstractFamily[Params], params: Params) -> Bool[Array, "modes modes"]:
        return jnp.eye(jax.tree.leaves(params)[0].shape[0], dtype=bool)


@final
class MergeByDivergence(AbstractMerging):
    """Gaussian modes are the same if KL(q_i || q_j) + KL(q_j || q_i) is below a threshold, up to periods.

    Attributes:
        threshold_nats: symmetric divergence below which two modes are one. At 4 nats, modes of equal covariance are two
            standard deviations apart, and counting both overstates the evidence by 0.36 nats at most.
        periods: period of each coordinate; infinity (or None for all) where there is none. Modes a period apart are then
            one and the same.
    """

    threshold_nats: float = 4.0
    periods: Float[Array, " d"] | None = None

    def same(self, family: AbstractFamily[Params], params: Params) -> Bool[Array, "modes modes"]:
        moments = jax.vmap(lambda p: gaussian_moments(family(p)))(params)
        identity = jnp.eye(moments.loc.shape[1], dtype=moments.loc.dtype)
        inverse = jax.vmap(lambda tril: solve_triangular(tril, identity, lower=True))(moments.scale_tril)
        precision = jnp.einsum("kab,kac->kbc", inverse, inverse)
        covariance = jnp.einsum("kab,kcb->kac", moments.scale_tril, moments.scale_tril)
        offset = nearest_offset(moments.loc[:, None, :] - moments.loc[None, :, :], self.periods)
        traces = jnp.einsum("iab,jab->ij", covariance, precision)
        distances = jnp.einsum("ija,iab,ijb->ij", offset, precision, offset)
        dim = moments.loc.shape[1]
        divergence = 0.5 * (traces + traces.T + distances + distances.T) - dim
        return divergence < self.threshold_nats


def nearest_offset(offset: Float[Array, "*n d"], periods: Float[Array, "... d"] | None) -> Float[Array, "*n d"]:
    """Each difference on its shortest branch.

    Args:
        offset: differences of coordinates.
        periods: period of each coordinate, infinity where there is none, broadcast against the differences; None for no
            periods at all.
    """
    if periods is None:
        return offset
    periods = jnp.broadcast_to(periods, offset.shape).astype(offset.dtype)
    finite = jnp.isfinite(periods)
    period = jnp.where(finite, periods, 1.0)
    return jnp.where(finite, offset - period * jnp.round(offset / period), offset)


@final
class ModePosterior(eqx.Module, Generic[Params]):
    """A weighted set of modes.

    Attributes:
        params: parameters of each mode, with a leading axis [modes].
        family: the family they belong to.
        energy_nats: F_k, free energy of each mode under its hypothesis; infinite where inference failed.
        hypothesis: the hypothesis of each mode (zero where there is only one).
        log_weights: log w_k, normalised; minus infinity for modes that were merged into a better one.
        free_energy_nats: F*, free energy of the mixture, an upper bound on -log p(x) up to the overlap of the modes.
        result: `RESULTS.successful` if at least one mode is finite.
    """

    params: Params
    family: AbstractFamily[Params]
    energy_nats: Float[Array, " modes"]
    hypothesis: Int[Array, " modes"]
    log_weights: Float[Array, " modes"]
    free_energy_nats: Energy
    result: RESULTS

    @property
    def weights(self) -> Float[Array, " modes"]:
        """w_k, posterior probability of each mode."""
        return jnp.exp(self.log_weights)

    @property
    def best(self) -> Int[Array, ""]:
        """Index of the most probable mode."""
        return jnp.argmax(self.log_weights)

    @property
    def best_hypothesis(self) -> Int[Array, ""]:
        """Hypothesis of the most probable mode."""
        return self.hypothesis[self.best]

    @property
    def best_params(self) -> Params:
        """Parameters of the most probable mode."""
        return jax.tree.map(lambda leaf: leaf[self.best], self.params)

    @property
    def distribution(self) -> Distribution:
        """q(z) of the most probable mode."""
        return self.family(self.best_params)

    def hypothesis_probabilities(self, num_hypotheses: int) -> Float[Array, " hypotheses"]:
        """q(h): the weights of each hypothesis's modes, summed."""
        return jnp.zeros(num_hypotheses, self.log_weights.dtype).at[self.hypothesis].add(self.weights)

    def mean(self, periods: Float[Array, " d"] | None = None) -> Float[Array, " d"]:
        """Mean of the mixture (Gaussian modes), periodic coordinates on the branch of the best mode.

        Modes of different hypotheses are averaged as if their coordinates meant the same.
        """
        return self._branches(periods)[0]

    def covariance(self, periods: Float[Array, " d"] | None = None) -> Float[Array, "d d"]:
        """Covariance of the mixture (Gaussian modes), within and between modes; periods as in `mean`."""
        mean, locs = self._branches(periods)
        factors = self._moments().scale_tril
        within = jnp.einsum("k,kab,kcb->ac", self.weights, factors, factors)
        centred = locs - mean[None, :]
        return within + jnp.einsum("k,ka,kb->ab", self.weights, centred, centred)

    def _moments(self):
        safe = jax.tree.map(
            lambda leaf: jnp.where(jnp.isfinite(self.energy_nats).reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0.0),
            self.params,
        )
        return jax.vmap(lambda p: gaussian_moments(self.family(p)))(safe)

    def _branches(self, periods):
        locs = self._moments().loc
        anchor = locs[self.best][None, :]
        locs = anchor + nearest_offset(locs - anchor, periods)
        return self.weights @ locs, locs


@eqx.filter_jit
def infer_modes(
    objective: AbstractObjective,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    args: PyTree,
    starts: Params,
    *,
    key: Key,
    num_steps: int = 1,
    hypothesis: Int[Array, " modes"] | None = None,
    log_prior: Float[Array, " hypotheses"] | None = None,
    merging: AbstractMerging = MergeByDivergence(),
    throw: bool = True,
) -> ModePosterior[Params]:
    """Run an engine from several starts and weigh where they end by their free energies.

    Unbatched over problems: for many, `eqx.filter_vmap` over `args`, `starts` and `key` (with `throw=False`).

    Args:
        objective: the energy, in nats. With `hypothesis`, its arrays carry a leading axis [hypotheses], such as a
            `FreeEnergy` whose model was stacked.
        engine: any engine.
        family: what the parameters parameterise.
        args: what the problem depends on.
        starts: starting parameters with a leading axis [modes].
        key: all starts use the same one, so that their energies are compared on common random numbers.
        num_steps: engine steps from each start.
        hypothesis: the hypothesis that each start belongs to; None for a single one.
        log_prior: log p(h) in nats; uniform by default.
        merging: which ends count once; `MergeByDivergence()` by default, without periods.
        throw: raise if no start ends finite; with False, look at `ModePosterior.result`.

    Returns:
        The posterior over modes.

    Raises:
        BadInputError: a prior without hypotheses.
    """
    num_modes = jax.tree.leaves(starts)[0].shape[0]
    if hypothesis is None and log_prior is not None:
        raise BadInputError(
            "Expected `hypothesis`, the index of each start's hypothesis, beside `log_prior`; got None: pass both or neither."
        )

    def run(objective, start):
        return infer(objective, engine, family, args, key=key, params=start, num_steps=num_steps, throw=False)

    if hypothesis is None:
        index = jnp.zeros(num_modes, jnp.int32)
        ends = eqx.filter_vmap(run, in_axes=(None, eqx.if_array(0)))(objective, starts)
        prior = jnp.zeros(num_modes, ends.energy_nats.dtype)
    else:
        index = hypothesis
        chosen = jax.tree.map(lambda leaf: leaf[hypothesis] if eqx.is_array(leaf) else leaf, objective)
        ends = eqx.filter_vmap(run, in_axes=eqx.if_array(0))(chosen, starts)
        prior = _log_prior(objective, log_prior, ends.energy_nats.dtype)[hypothesis]
    failed = ends.result != RESULTS.successful
    energy = jnp.where(failed, jnp.inf, ends.energy_nats)
    score = _without_copies(prior - energy, merging.same(family, ends.params) & (index[:, None] == index[None, :]))
    evidence = jax.nn.logsumexp(score)
    # Not score - evidence: energies of thousands of nats leave few digits behind the point in single precision. If
    # everything failed, the weights are uniform.
    log_weights = jnp.where(jnp.isfinite(evidence), jax.nn.log_softmax(score), -jnp.log(float(num_modes)))
    free_energy = -evidence
    result = RESULTS.where(jnp.all(failed), RESULTS.nonfinite_energy, RESULTS.successful)
    if throw:
        free_energy, log_weights = result.error_if((free_energy, log_weights), result != RESULTS.successful)
    return ModePosterior(ends.params, family, energy, index, log_weights, free_energy, result)


def _log_prior(objective: AbstractObjective, log_prior: Array | None, dtype) -> Float[Array, " hypotheses"]:
    if log_prior is not None:
        return log_prior.astype(dtype)
    num = jax.tree.leaves(eqx.filter(objective, eqx.is_array))[0].shape[0]
    return jnp.full(num, -jnp.log(float(num)), dtype)


def _without_copies(score: Float[Array, " modes"], same: Bool[Array, "modes modes"]) -> Float[Array, " modes"]:
    """Scores with minus infinity for every mode that equals a better one that is kept."""
    num_modes = score.shape[0]
    order = jnp.argsort(-score)
    # Modes in order of merit: each survivor strikes out the later ones that equal it.
    same, ranked = same[order][:, order], score[order]
    later = jnp.arange(num_modes)
    kept = jnp.ones(num_modes, bool)
    for rank in range(num_modes - 1):
        kept = kept & ~(kept[rank] & same[rank] & (later > rank))
    return jnp.zeros_like(score).at[order].set(jnp.where(kept, ranked, -jnp.inf))
