"""Variational actor-critic: critics learn what actions are worth, and a policy is inferred from them by any engine.

    y     = r + gamma V(s'),   V(s) = -alpha F(pi_s; targets)
    psi   <- psi - optimizer(grad sum_i (Q_i(s, a) - y)^2 / 2)
    phi   <- phi - optimizer(grad alpha sum_k a_k F(lambda_k)),   lambda_k = engine's policy in s after k iterations
    alpha <- rises while KL(pi || p) is above its target
    psi'  <- psi' + tau (psi - psi')

With a `Direct` engine it is soft actor-critic; with `Iterative`, iterative amortized policy optimisation; engines that learn
nothing (`Gradient`, `CrossEntropy`, `MPPI`) are run wherever a policy is asked for.

References:
    Haarnoja et al., "Soft actor-critic algorithms and applications", 2018; Marino (thesis), Chapter 6, Algorithms 3 and 4.
"""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ..control import AbstractActionPrior, AbstractCritics, AbstractReturn, AbstractTemperature, Ahead, NStep, Segment
from ..core import AbstractEngine, AbstractFamily, AbstractLearner, check_differentiable
from ..inference import (
    AbstractIterationWeights,
    AllIterations,
    Failure,
    LastIteration,
    Posed,
    first_failure,
    infer,
    iteration_loss,
    no_failure,
)
from ..objectives import ActionProblem, FreeEnergyTerms, SoftReturn
from ..results import BadInputError
from ..typing import Array, Coefficient, Float, Int, Key, PyTree, Scalar
from ._policy_agent import AbstractWarmStart, FromInitial, PolicyAgent, median_action, sample_action


@final
class ActorCritic(eqx.Module):
    """What is learned.

    Attributes:
        engine: infers policies.
        family: of policies.
        prior: over actions.
        critics: values of actions.
    """

    engine: AbstractEngine
    family: AbstractFamily
    prior: AbstractActionPrior
    critics: AbstractCritics


class Episodes(NamedTuple):
    """Episodes that ended.

    Attributes:
        count: how many.
        total_return: sum of their returns, without discount.
        total_steps: sum of their lengths.
    """

    count: Int[Array, ""]
    total_return: Scalar
    total_steps: Int[Array, ""]


class Experience(NamedTuple):
    """What an update learns from.

    Attributes:
        segments: with a leading axis [batch].
        episodes: that ended since the last update, for the record.
    """

    segments: Segment
    episodes: Episodes


class SoftActorCriticState(NamedTuple):
    """What training carries on.

    Attributes:
        learned: engine, family, prior and critics.
        targets: critics that follow slowly.
        temperature: state of the temperature.
        policy_optimizer: state of the optimiser of engine, family and prior.
        critic_optimizer: state of that of the critics.
        step: updates done.
        failure: why updates stopped, if they did.
    """

    learned: ActorCritic
    targets: AbstractCritics
    temperature: PyTree
    policy_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    step: Int[Array, ""]
    failure: Failure


class SoftActorCriticMetrics(NamedTuple):
    """Means over a batch.

    Attributes:
        action_value: mean over critics of Q(s, a), in the unit of the reward.
        critic_error: root mean square of Q_i(s, a) - y, in the unit of the reward.
        energy_nats: F(pi) of the policy that was taught.
        divergence_nats: KL(pi || p).
        temperature: alpha.
        episodes: that ended, for each update.
        episode_return: sum of their returns, for each update; divided by `episodes` it is their mean.
        episode_steps: sum of their lengths, likewise.
        failed_step: number of the update at which training stopped because something was not finite; -1 otherwise.
    """

    action_value: Scalar
    critic_error: Scalar
    energy_nats: Scalar
    divergence_nats: Scalar
    temperature: Scalar
    episodes: Scalar
    episode_return: Scalar
    episode_steps: Scalar
    failed_step: Scalar


@final
class ValueProblem(eqx.Module):
    """Turns an observed state into the problem that a policy is inferred from."""

    critics: AbstractCritics
    temperature: Scalar
    prior: AbstractActionPrior

    def __call__(self, state: PyTree) -> ActionProblem:
        return ActionProblem(state, self.critics, self.temperature, self.prior(state))


@final
class SoftActorCritic(AbstractLearner[SoftActorCriticState, SoftActorCriticMetrics]):
    """Learn critics and a policy engine from segments of experience.

    What is not finite moves nothing, and no further update is made after it.

    Attributes:
        learned: where learning starts.
        temperature: of the policy.
        policy_optimizer: for engine, family and prior, where they have numbers that learn.
        critic_optimizer: for the critics.
        objective: energy that policies are inferred from; its pessimism is that of acting and of the policy's lesson.
        value: energy whose negative, times alpha, is the soft value of a next state; its pessimism is that of targets.
        returns: what an action was worth.
        discount: gamma.
        target_rate: tau, share of the critics that enters the targets at every update.
        num_steps: engine steps for each state.
        start: where inference of a policy starts.
        engine_weights: which iterations the engine learns from.
        lagged: whether policies are inferred from the targets instead of the critics.
        inlined: iterations that are compiled one after the other instead of in a loop.
    """

    learned: ActorCritic
    temperature: AbstractTemperature
    policy_optimizer: optax.GradientTransformation = eqx.field(static=True)
    critic_optimizer: optax.GradientTransformation = eqx.field(static=True)
    objective: SoftReturn = SoftReturn()
    value: SoftReturn = SoftReturn()
    returns: AbstractReturn = NStep(1)
    discount: Coefficient = 0.99
    target_rate: Coefficient = 0.005
    num_steps: int = eqx.field(static=True, default=1)
    start: AbstractWarmStart = FromInitial()
    engine_weights: AbstractIterationWeights = AllIterations()
    lagged: bool = eqx.field(static=True, default=False)
    inlined: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one engine step, got num_steps={self.num_steps}.")
        for name in ("discount", "target_rate"):
            number = getattr(self, name)
            if isinstance(number, float | int) and not 0.0 <= number <= 1.0:
                raise BadInputError(f"Expected {name} between 0 and 1, got {number}.")
        if _learns(self.learned.engine):
            check_differentiable(self.objective, self.learned.family)

    def init(self, *, key: Key) -> SoftActorCriticState:
        learned = self.learned
        return SoftActorCriticState(
            learned,
            learned.critics,
            self.temperature.init(),
            self.policy_optimizer.init(eqx.filter(_policy(learned), eqx.is_inexact_array)),
            self.critic_optimizer.init(eqx.filter(learned.critics, eqx.is_inexact_array)),
            jnp.zeros((), jnp.int32),
            no_failure(),
        )

    def agent(self, state: SoftActorCriticState, *, explore: bool = True) -> PolicyAgent:
        """The agent as it is now.

        Args:
            state: of training.
            explore: draw actions from the policy instead of taking its centre.
        """
        learned = state.learned
        critics = state.targets if self.lagged else learned.critics
        problem = ValueProblem(critics, self.temperature.value(state.temperature), learned.prior)
        choose = sample_action if explore else median_action
        return PolicyAgent(self.objective, learned.engine, learned.family, self.start, choose, self.num_steps, problem)

    def update(
        self, state: SoftActorCriticState, batch: Experience, *, key: Key
    ) -> tuple[SoftActorCriticState, SoftActorCriticMetrics]:
        segments = batch.segments
        first = jax.tree.map(lambda leaf: leaf[:, 0], segments)
        # A step that began a new episode was no action of anybody.
        weights = 1.0 - first.idle.astype(first.reward.dtype)
        weights = weights / jnp.maximum(jnp.sum(weights), 1.0)
        target_key, policy_key = jr.split(key)
        learned, alpha = state.learned, self.temperature.value(state.temperature)
        targets = self._targets(state, segments, alpha, key=target_key)
        lesson = eqx.filter_value_and_grad(_critic_loss, has_aux=True)
        (_, (errors, value)), critic_gradient = lesson(learned.critics, first, targets, weights)
        failure = first_failure(state.failure, state.step, errors, jnp.zeros(1, errors.dtype), critic_gradient)
        moved, critic_optimizer = _descend(
            self.critic_optimizer, critic_gradient, state.critic_optimizer, learned.critics, failure
        )
        critics = state.targets if self.lagged else moved
        terms, policy_gradient = self._policy(learned, critics, alpha, first.state, weights, key=policy_key)
        divergence = jnp.sum(terms.rates_nats)
        failure = first_failure(failure, state.step, terms.distortion_nats, terms.rates_nats, policy_gradient)
        policy, policy_optimizer = _descend(
            self.policy_optimizer, policy_gradient, state.policy_optimizer, _policy(learned), failure
        )
        follow = jax.tree.map(lambda old, new: _towards(old, new, self.target_rate), state.targets, moved)
        temperature = self.temperature.update(divergence, state.temperature)
        temperature = _unless(failure, temperature, state.temperature)
        metrics = SoftActorCriticMetrics(
            value,
            jnp.sqrt(2.0 * errors),
            terms.free_energy_nats,
            divergence,
            alpha,
            *(number.astype(value.dtype) for number in (batch.episodes.count, *batch.episodes[1:])),
            failure.step.astype(value.dtype),
        )
        learned = ActorCritic(*policy, moved)
        optimizers = policy_optimizer, critic_optimizer
        return SoftActorCriticState(learned, follow, temperature, *optimizers, state.step + 1, failure), metrics

    def _targets(
        self, state: SoftActorCriticState, segments: Segment, alpha: Scalar, *, key: Key
    ) -> Float[Array, " batch"]:
        """y for the first action of every segment."""
        learned = state.learned

        def at(value_state: PyTree, action: PyTree, key: Key) -> Ahead:
            infer_key, value_key = jr.split(key)
            problem = ActionProblem(value_state, state.targets, alpha, learned.prior(value_state))
            policy = self._infer(learned, problem, key=infer_key)
            terms = self.value.terms(policy, problem, key=value_key)
            return Ahead(
                -alpha * terms.free_energy_nats,
                alpha * jnp.sum(terms.rates_nats),
                self.value.value(action, problem),
                policy.log_prob(action),
            )

        later = jax.tree.map(lambda leaf: leaf[:, 1:], (segments.state, segments.action))
        keys = jr.split(key, segments.reward[:, 1:].shape)
        ahead = jax.vmap(jax.vmap(at))(*later, keys)
        targets = jax.vmap(lambda segment, ahead: self.returns(segment, ahead, self.discount))(segments, ahead)
        return jax.lax.stop_gradient(targets)

    def _infer(self, learned: ActorCritic, problem: ActionProblem, *, key: Key) -> Any:
        start_key, infer_key = jr.split(key)
        family = learned.family.given(problem)
        params = self.start(family, family.init(), key=start_key)
        found = infer(
            self.objective,
            learned.engine,
            family,
            problem,
            key=infer_key,
            params=params,
            num_steps=self.num_steps,
            evaluate=False,
            throw=False,
        )
        return found.distribution

    def _policy(
        self,
        learned: ActorCritic,
        critics: AbstractCritics,
        alpha: Scalar,
        states: PyTree,
        weights: Float[Array, " batch"],
        *,
        key: Key,
    ) -> tuple[FreeEnergyTerms, PyTree]:
        """Energy of the policies in some states, and its gradient in what the policy learns."""
        none = (0.0,) * self.num_steps
        teach = (
            self.engine_weights.weights(self.num_steps) if _learns(learned.engine) else none,
            LastIteration().weights(self.num_steps) if _learns(learned.prior) else none,
        )
        shared = _learns(learned.family)

        def one(policy: PyTree, state: PyTree, key: Key) -> tuple[Scalar, FreeEnergyTerms]:
            engine, family, prior = policy
            start_key, run_key = jr.split(key)
            problem = ActionProblem(state, critics, alpha, prior(state))
            posed = Posed(self.objective, family.given(problem), problem)
            start = self.start(posed.family, posed.family.init(), key=start_key)
            energy = lambda terms: terms.free_energy_nats  # noqa: E731
            found = iteration_loss(
                posed, posed, engine, start, energy, teach, key=run_key, inlined=self.inlined, shared=shared
            )
            return found.loss, found.terms

        def loss(policy: PyTree) -> tuple[Scalar, FreeEnergyTerms]:
            keys = jr.split(key, weights.shape[0])
            losses, terms = jax.vmap(lambda state, k: one(policy, state, k))(states, keys)
            terms = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), terms)
            # In the unit of the reward: the scale of the gradient is then that of the critics, whatever the temperature.
            return alpha * (weights @ losses), terms

        (_, terms), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(_policy(learned))
        return terms, gradient


def _policy(learned: ActorCritic) -> PyTree:
    """What policies are made by."""
    return learned.engine, learned.family, learned.prior


def _learns(tree: PyTree) -> bool:
    """Whether there is anything to learn in it."""
    return any(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(tree))


def _critic_loss(
    critics: AbstractCritics, first: Segment, targets: Float[Array, " batch"], weights: Float[Array, " batch"]
) -> tuple[Scalar, tuple[Scalar, Scalar]]:
    """Half the squared error, summed over critics; beside it its mean over critics, and the mean value."""
    values = jax.vmap(critics)(first.state, first.action)
    errors = jnp.sum(weights[:, None] * 0.5 * (values - targets[:, None]) ** 2)
    return errors, (errors / values.shape[1], jnp.mean(weights @ values))


def _descend(
    optimizer: optax.GradientTransformation, gradient: PyTree, state: optax.OptState, tree: PyTree, failure: Failure
) -> tuple[PyTree, optax.OptState]:
    """One step of an optimiser, or none from a failure on.

    Choosing number by number happens within the loops that compute them, and costs less than a branch.
    """
    updates, after = optimizer.update(gradient, state, eqx.filter(tree, eqx.is_inexact_array))
    moved = eqx.apply_updates(tree, updates)
    return _unless(failure, (moved, after), (tree, state))


def _towards(old: Any, new: Any, rate: Coefficient) -> Any:
    return old + rate * (new - old) if eqx.is_inexact_array(old) else old


def _unless(failure: Failure, new: PyTree, old: PyTree) -> PyTree:
    """The new numbers, or from a failure on the old ones."""
    going = failure.step < 0
    return jax.tree.map(lambda a, b: jnp.where(going, a, b) if eqx.is_array(b) else b, new, old)
