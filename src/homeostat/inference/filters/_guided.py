"""Particle filters that look at the observation before they move: auxiliary, guided and variational ones.

With a proposal q_i(z) and a score s_i for each particle, both functions of its carry h_i and of x_t,

    a_j ~ w_i s_i,    z_j ~ q_{a_j},    w'_j ~ p(z_j | h_{a_j}) p(x_t | h_{a_j}, z_j) / (q_{a_j}(z_j) s_{a_j}),

and p(x_t | x_{<t}) is estimated by (sum_i w_i s_i) (mean of w'). The product over time is unbiased whatever q and s are.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.resampling import Resampling, ess_decorator

from ...core import AbstractFilter, AbstractSequentialModel, FilterInfo, require_key
from ...distributions import any_observed, gaussian_moments, is_gaussian, known_entries, partial_log_prob
from ...models.sequential import Conditioned, with_own_noise
from ...objectives import Evidence, FreeEnergy
from ...results import BadInputError
from ...typing import Action, Array, Carry, Distribution, Key, Observation, PyTree, Scalar
from .._infer import infer
from ._beliefs import ParticleBelief
from ._history import History, first_past, next_carries, remember
from ._resampling import systematic, weigh, weight_info
from ._variational import VariationalFilter, step_problem


class Proposed(NamedTuple):
    """A proposal for one particle.

    Attributes:
        params: what its distribution is made of.
        free_energy_nats: minus a lower bound on log p(x_t | h), or zero where none is known.
    """

    params: PyTree
    free_energy_nats: Scalar


class AbstractProposal(eqx.Module):
    """Where particles are drawn."""

    @abc.abstractmethod
    def propose(self, model: Conditioned, evidence: Evidence, *, key: Key) -> Proposed:
        """The proposal of one particle."""

    @abc.abstractmethod
    def distribution(self, params: PyTree, prior: Distribution) -> Distribution:
        """q(z), from its parameters and the particle's p(z | h)."""

    def log_ratio(self, params: PyTree, prior: Distribution, state: Array) -> Scalar:
        """log p(z | h) - log q(z) of a draw."""
        return prior.log_prob(state) - self.distribution(params, prior).log_prob(state)


@final
class BootstrapProposal(AbstractProposal):
    """q(z) = p(z | h), which does not see the observation."""

    def propose(self, model: Conditioned, evidence: Evidence, *, key: Key) -> Proposed:
        return Proposed(None, jnp.zeros(()))

    def distribution(self, params: PyTree, prior: Distribution) -> Distribution:
        return prior

    def log_ratio(self, params: PyTree, prior: Distribution, state: Array) -> Scalar:
        """Zero, also where the prediction is singular and has no density."""
        return jnp.zeros(())


@final
class VariationalProposal(AbstractProposal):
    """q(z) of a variational filter's step: its engine run for every particle on the free energy given that particle's past.

    With it the negative free energy of the particle filter is the bound of FIVO and VSMC, differentiable in the model and in the
    engine; the gradient that comes through resampling is dropped, unless the scheme is wrapped in `stop_gradient_decorator` of
    `cuthbertlib.resampling`, which adds its score.

    Attributes:
        method: gives engine, family, steps, expectation and start; its propagation is not used.

    References:
        Maddison et al., "Filtering variational objectives", NeurIPS 2017; Naesseth et al., "Variational sequential Monte Carlo",
        AISTATS 2018; Scibior and Wood, "Differentiable particle filtering without modifying the forward pass", 2021.
    """

    method: VariationalFilter

    def __check_init__(self):
        if self.method.memory is not None:
            raise BadInputError(
                "Expected a variational filter without a memory of its own: particles do not carry one."
            )

    def propose(self, model: Conditioned, evidence: Evidence, *, key: Key) -> Proposed:
        method, prior = self.method, model.initial()
        family = method.family.given(prior)
        start_key, key = jr.split(key)
        start = method.start(model, family, key=start_key)
        problem = (FreeEnergy(model, method.expectation), method.engine, family, evidence)
        posterior = infer(*problem, key=key, params=start, num_steps=method.num_steps, throw=False)
        return Proposed(posterior.params, posterior.energy_nats)

    def distribution(self, params: PyTree, prior: Distribution) -> Distribution:
        return self.method.family.given(prior)(params)


class AbstractLookahead(eqx.Module):
    """log s: how well a particle is going to explain the observation."""

    @abc.abstractmethod
    def __call__(self, model: Conditioned, evidence: Evidence, proposed: Proposed) -> Scalar:
        """The score of one particle, in nats."""


@final
class NoLookahead(AbstractLookahead):
    """log s = 0."""

    def __call__(self, model: Conditioned, evidence: Evidence, proposed: Proposed) -> Scalar:
        return jnp.zeros(())


@final
class AuxiliaryScore(AbstractLookahead):
    """log s = log p(x_t | h, E[z | h]): the auxiliary particle filter. For predictions that have a mean, so not for discrete ones.

    References:
        Pitt and Shephard, "Filtering via simulation: auxiliary particle filters", JASA 94 (1999).
    """

    def __call__(self, model: Conditioned, evidence: Evidence, proposed: Proposed) -> Scalar:
        mean = _mean(model.initial())
        return partial_log_prob(model.emission(mean), evidence.observation, evidence.observed)


@final
class BoundScore(AbstractLookahead):
    """log s = -F(q), a lower bound on log p(x_t | h) which is tight for an exact proposal: then every weight is the same."""

    def __call__(self, model: Conditioned, evidence: Evidence, proposed: Proposed) -> Scalar:
        return -proposed.free_energy_nats


@final
class GuidedParticle(AbstractFilter):
    """Weighted samples drawn from proposals that know the observation (see the module); any sequential model will do.

    exp(-sum_t free_energy_nats) is an unbiased estimate of the evidence, so free_energy_nats is on average an upper bound on minus
    its logarithm. Particles of a prediction are drawn from p(z | h); only their pasts go on.

    Attributes:
        proposal: q.
        lookahead: s.
        num_particles: n.
        resampling: a scheme of `cuthbertlib.resampling` or `systematic`; by default the latter where fewer than half of the
            particles are effective.

    References:
        Doucet, Godsill and Andrieu, "On sequential Monte Carlo sampling methods for Bayesian filtering", 2000.
    """

    proposal: AbstractProposal = BootstrapProposal()
    lookahead: AbstractLookahead = NoLookahead()
    num_particles: int = eqx.field(static=True, default=1_000)
    resampling: Resampling = eqx.field(static=True, default=ess_decorator(systematic, 0.5))

    def __check_init__(self):
        if self.num_particles < 1:
            raise BadInputError(f"Expected at least one particle, got num_particles={self.num_particles}.")

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> ParticleBelief:
        """Particles from the prior; they are random, so a key is needed."""
        key = require_key(key, "the first particles are drawn from the prior")
        past = first_past(model, self.num_particles)
        particles = _draw(model, past.carry, key)
        equal = jnp.full(
            self.num_particles, -jnp.log(float(self.num_particles)), jnp.result_type(float, particles.dtype)
        )
        return ParticleBelief(particles, equal, past, jnp.arange(self.num_particles))

    def predict(
        self, model: AbstractSequentialModel, belief: ParticleBelief, action: Action, *, key: Key
    ) -> ParticleBelief:
        """Every past one step further."""
        past = next_carries(model, _history(belief), belief.particles, action)
        return ParticleBelief(_draw(model, past.carry, key), belief.log_weights, past, belief.ancestors)

    def update(
        self, model: AbstractSequentialModel, belief: ParticleBelief, observation: Observation, *, key: Key
    ) -> tuple[ParticleBelief, FilterInfo]:
        """Propose, choose ancestors, draw, weigh."""
        model, observation = with_own_noise(model, observation)
        count, carried = self.num_particles, _history(belief)
        propose_key, resample_key, draw_key, fill_key = jr.split(key, 4)
        value, observed = known_entries(observation)
        some = any_observed(observed)

        def ahead(carry: Carry, one_key: Key) -> tuple[PyTree, Scalar]:
            static, evidence, _ = step_problem(model, carry, None, observation)
            proposed = self.proposal.propose(static, evidence, key=one_key)
            score = jnp.where(some, self.lookahead(static, evidence, proposed), 0.0)
            return proposed.params, jnp.where(jnp.isnan(score), -jnp.inf, score)

        params, scores = jax.vmap(ahead)(carried.carry, jr.split(propose_key, count))
        first = weigh(belief.log_weights + scores)
        ancestors, log_weights, (past, params, scores) = self.resampling(
            resample_key, first.log_weights, (carried, params, scores), count
        )

        def drawn(carry: Carry, flat: PyTree, one_key: Key) -> tuple[Array, Scalar]:
            prior = model.prior(carry)
            proposal = self.proposal.distribution(flat, prior)
            state = jnp.where(some, proposal.sample(one_key), prior.sample(one_key))
            emission_given = partial_log_prob(model.emission_given(carry, state), value, observed)
            ratio = emission_given + self.proposal.log_ratio(flat, prior, state)
            return state, jnp.where(some, ratio, 0.0)

        states, ratios = jax.vmap(drawn)(past.carry, params, jr.split(draw_key, count))
        # A particle that no score gives a chance is never drawn, so its own score is not subtracted from minus infinity.
        corrections = jnp.where(scores > -jnp.inf, -scores, 0.0)
        last = weigh(weigh(log_weights).log_weights + corrections + ratios)
        chosen = (states, last.log_weights, past, ancestors)
        # Where nothing was observed there was nothing to choose by: the prediction stays.
        kept = (belief.particles, belief.log_weights, carried, jnp.arange(count))
        chosen = jax.tree.map(lambda new, old: jnp.where(some, new, old), chosen, kept)
        states, log_weights, past, ancestors = chosen
        past = remember(model, past, states, value, observed, key=fill_key)
        nats = jnp.where(some, -(first.log_total + last.log_total), 0.0)
        return ParticleBelief(states, log_weights, past, ancestors), weight_info(nats)


def auxiliary_particle(num_particles: int = 1_000) -> GuidedParticle:
    """The auxiliary particle filter: ancestors are chosen by the likelihood at the mean of their prediction."""
    return GuidedParticle(lookahead=AuxiliaryScore(), num_particles=num_particles)


def _mean(prior: Distribution) -> Array:
    if is_gaussian(prior):
        return gaussian_moments(prior).loc
    try:
        if not getattr(prior.support, "is_discrete", False):
            return prior.mean
    except NotImplementedError:
        pass
    raise BadInputError(
        f"Expected predictions with a mean that is a state, got {type(prior).__name__}: pass lookahead=NoLookahead(), or BoundScore() "
        f"with a proposal that knows a bound."
    )


def _history(belief: ParticleBelief) -> History:
    if belief.past is None:
        raise BadInputError(
            "Expected a belief of a GuidedParticle, got particles without a past: start with its `init`."
        )
    return belief.past


def _draw(model: AbstractSequentialModel, carries: Carry, key: Key) -> Array:
    count = jax.tree.leaves(carries)[0].shape[0]
    return jax.vmap(lambda carry, k: model.prior(carry).sample(k))(carries, jr.split(key, count))
