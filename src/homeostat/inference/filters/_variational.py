"""Variational filtering: predict with the model, then run any engine on the free energy of the new observation."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractBelief, AbstractEngine, AbstractFamily, AbstractFilter, AbstractSequentialModel, FilterInfo
from ...distributions import AbstractExpectation, Cubature, any_observed, known_entries
from ...models.sequential import Conditioned, with_own_noise
from ...objectives import Evidence, FreeEnergy
from ...typing import Action, Array, Bool, Carry, Key, Observation, PyTree, Scalar
from .._infer import infer
from .._start import start_at_prediction
from ._memory import AbstractMemory, StepContext
from ._propagation import AbstractPropagation, MomentMatching, require_gaussian_family


class StepProblem(NamedTuple):
    """What one step asks of an engine, for one past.

    Attributes:
        model: the step as a static model.
        evidence: x_t with its prior, context and mask.
        observed: whether anything was.
    """

    model: Conditioned
    evidence: Evidence
    observed: Bool[Array, ""]


def step_problem(
    model: AbstractSequentialModel,
    carry: Carry,
    memory: PyTree,
    observation: Observation,
    recurrence: AbstractMemory | None = None,
) -> StepProblem:
    """The static problem of one step, after the filter's own memory has read x_t."""
    value, observed = known_entries(observation)
    some = any_observed(observed)
    if observed is not None:
        # What is missing counts for nothing; zeros, so that it does no harm in an encoder either.
        value = jax.tree.map(lambda mask, leaf: jnp.where(mask, leaf, jnp.zeros_like(leaf)), observed, value)
    static = Conditioned(model, carry)
    evidence = Evidence(value, static.initial(), StepContext(carry, memory), observed)
    if recurrence is not None:
        moved = recurrence(memory, evidence)
        moved = jax.tree.map(lambda new, old: jnp.where(some, new, old), moved, memory)
        evidence = Evidence(value, evidence.prior, StepContext(carry, moved), observed)
    return StepProblem(static, evidence, some)


@final
class VariationalFilter(AbstractFilter):
    """q_t = engine(F_t) with F_t(q) = E_q[-log p(x_t | h_t, z)] + KL(q || p(z | h_t)), started at the prediction p(z | h_t).

    With `Iterative(network)` this is amortized variational filtering; with `Direct(encoder)` the filtering side of
    recurrent latent variable models; with `NaturalGradient(rate=1.0)` one step is a Kalman update where the model is
    linear and Gaussian. How the past enters is for the propagation to say: by default the prediction matches the mean and
    covariance of the transition over the belief; `SampledHistories(n)` samples past latents and takes any sequential model.

    Attributes:
        engine: any engine; an encoder reads `args.observation`, `args.prior` and `args.context` (a `StepContext`).
        family: of q, over the state; Gaussian for `MomentMatching`.
        num_steps: engine steps for each observation.
        expectation: rule for E_q in the free energy; `MonteCarlo` for states of many variables.
        propagation: `MomentMatching()` or `SampledHistories(n)`.
        memory: a recurrence of the filter's own, for encoders that have one.
        start: gives the first estimate of a step, from the step as a static model; the prediction by default.

    References:
        Marino, Cvitkovic and Yue, "A general method for amortizing variational filtering", NeurIPS 2018, Algorithm 1; Marino
        (thesis), Algorithm 2 and Eq. 4.11.
    """

    engine: AbstractEngine
    family: AbstractFamily
    num_steps: int = eqx.field(static=True, default=1)
    expectation: AbstractExpectation = Cubature()
    propagation: AbstractPropagation = MomentMatching()
    memory: AbstractMemory | None = None
    start: Callable[..., PyTree] = eqx.field(static=True, default=start_at_prediction)

    def __check_init__(self):
        if isinstance(self.propagation, MomentMatching):
            require_gaussian_family(self.family)

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> AbstractBelief:
        belief = self.propagation.init(model, self.memory, key=key)
        return self.propagation.with_moments(model, self.family, belief, key=key)

    def predict(
        self, model: AbstractSequentialModel, belief: AbstractBelief, action: Action, *, key: Key
    ) -> AbstractBelief:
        """The propagation's prediction."""
        move_key, describe_key = jax.random.split(key)
        moved = self.propagation.predict(model, belief, action, key=move_key)
        return self.propagation.with_moments(model, self.family, moved, key=describe_key)

    def update(
        self, model: AbstractSequentialModel, belief: AbstractBelief, observation: Observation, *, key: Key
    ) -> tuple[AbstractBelief, FilterInfo]:
        """Run the engine on the free energy of one observation, for every past."""
        model, observation = with_own_noise(model, observation)
        each_key, draw_key = jax.random.split(key)

        def step(carry: Carry, memory: PyTree, step_key: Key) -> tuple[PyTree, PyTree, Scalar]:
            start_key, infer_key = jax.random.split(step_key)
            static, evidence, some = step_problem(model, carry, memory, observation, self.memory)
            family = self.family.given(evidence)
            posterior = infer(
                FreeEnergy(static, self.expectation),
                self.engine,
                family,
                evidence,
                key=infer_key,
                params=self.start(static, family, key=start_key),
                num_steps=self.num_steps,
                throw=False,
            )
            return posterior.params, evidence.context.memory, jnp.where(some, posterior.energy_nats, 0.0)

        params, memory, energies = self.propagation.map(step, belief, key=each_key)
        belief = self.propagation.posterior(model, self.family, belief, params, memory, observation, key=draw_key)
        return belief, FilterInfo(jnp.mean(energies))
