"""Where to start learning a `SwitchingLinear` model: the regimes of the paths of one linear-Gaussian model.

A linear model of all data gives q(z_{1:T}), the smoothed path. Given q, the best regimes of a chain that acts on z are found by
expectation maximisation of a hidden Markov model whose state s explains the step to z_t,

    E-step:   log-likelihoods  E_q[log N(z_t; W_s v_{t-1}, L_s L_s^T)],   v = (z, u, 1)
    M-step:   W_s and L_s from  sum_t p(s_t = s) E_q[(v_{t-1}, z_t) (v_{t-1}, z_t)^T]

It starts from the regressions of a few stretches of the path. The first is drawn at random, each further one where those before
explain least, as k-means++ draws centres; of several such starts the most probable is kept.

References:
    Ghahramani and Hinton, "Variational learning for switching state-space models", Neural Computation 12 (2000), for the two
    steps with q held fixed; Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import check_kind
from ...distributions import positive_tria
from ...models.sequential import (
    HiddenMarkov,
    LinearDynamics,
    LinearGaussian,
    RegressionEmissions,
    SwitchingLinear,
    TransitionMatrix,
)
from ...results import BadInputError
from ...typing import Action, Array, Float, Int, Key, Scalar
from .._filter import filter
from .._smooth import smooth
from ..filters import GaussianBelief, InteractingModels
from ..smoothers import RauchTungStriebel, Smoothed
from ._baum_welch import baum_welch
from ._expectation_maximization import transition_moments
from ._sequence_batch import SequenceBatch

STAY = 0.95
"""p(s' = s | s) before the first step: regimes last some 20 steps."""
STRETCH = 20
"""Steps of the stretches at which regimes start, or four for every regressor where that is more."""
MOST_STRETCHES = 400
NUM_STARTS, NUM_STEPS = 8, 30
"""Starts, and steps of expectation maximisation from each."""


class _Steps(NamedTuple):
    """Roots of the second moments of (z_{t-1}, u_{t-1}, 1, z_t), and how many steps each sequence has."""

    roots: Float[Array, "sequences steps n n"]
    lengths: Int[Array, " sequences"]


def start_switching(
    model: LinearGaussian, batch: SequenceBatch, num_regimes: int, *, key: Key, num_starts: int = NUM_STARTS
) -> SwitchingLinear:
    """Regimes that share the emission of a linear model of the same data and differ in their dynamics (see the module).

    Args:
        model: learned from the batch, by `expectation_maximization` for instance; with `LinearDynamics`.
        batch: all sequences, padded to one length.
        num_regimes: K.
        key: for the draws of stretches.
        num_starts: starts, of which the one with the least free energy of an `InteractingModels` filter is kept.

    Raises:
        BadInputError: the sequences have fewer stretches than there are regimes.
    """
    check_kind(model, LinearGaussian, "the linear model")
    check_kind(model.dynamics, LinearDynamics, "`dynamics` of the linear model")
    if num_regimes < 1 or num_starts < 1:
        raise BadInputError(
            f"Expected at least one regime and one start, got num_regimes={num_regimes} and num_starts={num_starts}."
        )
    steps = _steps(model, batch)
    generator = np.random.default_rng(int(jr.randint(key, (), 0, 1 << 30)))
    stretches = _stretches(steps, num_regimes, generator)
    best, least = None, np.inf
    for _ in range(num_starts):
        emissions = RegressionEmissions(_spread(stretches, num_regimes, model.dim, generator), model.dim)
        chain = TransitionMatrix(jnp.log(STAY * jnp.eye(num_regimes) + (1.0 - STAY) / num_regimes))
        start = HiddenMarkov(jnp.zeros(num_regimes), chain, emissions)
        found = baum_welch(start, steps.roots, lengths=steps.lengths, num_steps=NUM_STEPS, throw=False).model
        candidate = _with_regimes(model, found)
        energy = float(_energy(candidate, batch))
        if best is None or energy < least:
            best, least = candidate, energy
    assert best is not None
    return best


@eqx.filter_jit
def _steps(model: LinearGaussian, batch: SequenceBatch) -> _Steps:
    """The moments of every step of the smoothed paths."""
    observations, time = batch.seen, batch.observations.shape[1]
    lengths = jnp.full(observations.shape[0], time) if batch.lengths is None else jnp.asarray(batch.lengths)

    def one(x: Array, u: Action) -> Array:
        found = smooth(RauchTungStriebel(), model, x, u, throw=False)

        def step(loc: Array, tril: Array, gain: Array, conditional: Array, action: Action) -> Array:
            pair = Smoothed(GaussianBelief(loc, tril), gain[None], conditional[None], found.filtered)
            return transition_moments(pair, None if action is None else action[None]).square_root

        pairs = jax.tree.map(lambda leaf: jnp.stack([leaf[:-1], leaf[1:]], axis=1), found.beliefs)
        moments = (pairs.loc, pairs.scale_tril, found.gains, found.conditional_trils)
        return jax.vmap(step, in_axes=(0, 0, 0, 0, None if u is None else 0))(*moments, u)

    roots = jax.vmap(one, in_axes=(0, None if batch.actions is None else 0))(observations, batch.actions)
    return _Steps(roots, jnp.maximum(lengths - 1, 1))


def _stretches(steps: _Steps, num_regimes: int, generator: np.random.Generator) -> Float[Array, "stretches n n"]:
    """Roots of the mean moments of stretches that lie within sequences, with one step like all together added to each."""
    width = steps.roots.shape[2]
    size = min(max(STRETCH, 4 * width), steps.roots.shape[1])
    lengths = np.asarray(steps.lengths)
    places = [(n, start) for n, length in enumerate(lengths) for start in range(0, int(length) - size + 1, size)]
    if len(places) < num_regimes:
        raise BadInputError(
            f"Expected at least {num_regimes} stretches of {size} steps, one for each regime, got {len(places)}: choose fewer "
            f"regimes or latents, or longer sequences."
        )
    if len(places) > MOST_STRETCHES:
        places = [places[index] for index in generator.choice(len(places), MOST_STRETCHES, replace=False)]
    rows, starts = (np.asarray(column) for column in zip(*places, strict=True))
    chosen = steps.roots[rows[:, None], starts[:, None] + np.arange(size)[None, :]]

    @jax.jit
    def pooled(roots: Array) -> Array:
        def mean(some: Array) -> Array:
            return positive_tria(jnp.moveaxis(some, 0, 1).reshape(width, -1)) / some.shape[0] ** 0.5

        own = jax.vmap(mean)(roots)
        together = mean(own)
        return jax.vmap(lambda root: mean(jnp.stack(size * [root] + [together])))(own)

    return pooled(chosen)


def _spread(
    stretches: Float[Array, "stretches n n"], count: int, dim: int, generator: np.random.Generator
) -> Float[Array, "k n n"]:
    """Stretches whose regressions explain each other badly, drawn as k-means++ draws centres."""
    energies = np.asarray(_mutual_energies(RegressionEmissions(stretches, dim)))
    excess = np.maximum(energies - np.diagonal(energies)[:, None], 0.0)
    chosen = [int(generator.integers(len(excess)))]
    while len(chosen) < count:
        distances = excess[:, chosen].min(axis=1)
        total = distances.sum()
        usable = np.isfinite(total) and total > 0.0
        chosen.append(int(generator.choice(len(excess), p=distances / total if usable else None)))
    return stretches[np.asarray(chosen)]


@eqx.filter_jit
def _mutual_energies(regressions: RegressionEmissions) -> Float[Array, "stretches others"]:
    """Nats of a step of each stretch under the regression of every other."""
    states = jnp.arange(regressions.num_states)
    return -jax.vmap(lambda root: jax.vmap(lambda state: regressions(state).log_prob(root))(states))(regressions.root)


def _with_regimes(model: LinearGaussian, found: HiddenMarkov) -> SwitchingLinear:
    """The linear model with the dynamics of every state."""
    emissions, dynamics = found.observation, model.dynamics
    assert isinstance(emissions, RegressionEmissions)

    def regime(coefficients: Array, scale_tril: Array) -> LinearGaussian:
        moving = LinearDynamics.from_coefficients(coefficients, scale_tril, action_dim=dynamics.action_dim)
        return eqx.tree_at(lambda model: model.dynamics, model, moving)

    pairs = zip(emissions.coefficients, emissions.scale_trils, strict=True)
    return SwitchingLinear(found.initial_logits, found.transitions, tuple(regime(*pair) for pair in pairs))


@eqx.filter_jit
def _energy(model: SwitchingLinear, batch: SequenceBatch) -> Scalar:
    """Free energy of all sequences; infinite where it is not finite."""
    in_axes = (0, None if batch.actions is None else 0)

    def one(x: Array, u: Action) -> Array:
        return filter(InteractingModels(), model, x, u, key=jr.key(0), throw=False).free_energy_nats

    total = jnp.sum(jax.vmap(one, in_axes=in_axes)(batch.seen, batch.actions))
    return jnp.where(jnp.isfinite(total), total, jnp.inf)
