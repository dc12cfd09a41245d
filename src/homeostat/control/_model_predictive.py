"""Control as inference over plans, again at every step: a receding horizon."""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax.random as jr

from ..core import AbstractController, AbstractEngine, Decision, PlanningContext
from ..distributions import AbstractExpectation
from ..inference import infer
from ..inference.engines import Enumerate
from ..objectives import (
    AbstractEstimator,
    AbstractFunctional,
    AbstractParameterInformation,
    AbstractPlanEnergy,
    AbstractPreference,
    AutomaticEstimator,
    ExpectedFreeEnergy,
    NoParameterGain,
    RiskAmbiguity,
)
from ..results import BadInputError
from ..typing import Array, Energy, Float, Key, Params, PyTree
from ._plans import AbstractPlan


class AbstractChoice(eqx.Module):
    """How a distribution over plans becomes one plan."""

    @abc.abstractmethod
    def __call__(self, plan: AbstractPlan[Params], params: Params, *, key: Key) -> Array:
        """A value of the plan's family."""


@final
class MostLikely(AbstractChoice):
    """The mode."""

    def __call__(self, plan: AbstractPlan[Params], params: Params, *, key: Key) -> Array:
        return plan.mode(params)


@final
class Sampled(AbstractChoice):
    """A draw: plans of equal energy are taken equally often."""

    def __call__(self, plan: AbstractPlan[Params], params: Params, *, key: Key) -> Array:
        return plan.family(params).sample(key)


class PlanInfo(NamedTuple):
    """What stands behind a decision.

    Attributes:
        actions: the chosen plan, [horizon, ...].
        explanation: terms of its energy (`EFEInfo` or `ReturnInfo`).
        energies_nats: objective before each engine step.
    """

    actions: Array
    explanation: PyTree
    energies_nats: Float[Array, " num_steps"]


@final
class _Decoded(AbstractPlanEnergy):
    """An energy of actions as an energy of plan values."""

    energy: AbstractPlanEnergy
    plan: AbstractPlan
    expectation: AbstractExpectation

    def pointwise(self, value: Array, args: PlanningContext, *, key: Key) -> Energy:
        return self.energy.pointwise(self.plan.decode(value), args, key=key)

    def explain(self, value: Array, args: PlanningContext, *, key: Key) -> PyTree:
        return self.energy.explain(self.plan.decode(value), args, key=key)


@final
class ModelPredictive(AbstractController[Params]):
    """At every step: infer a plan from the belief, take its first action, shift the plan.

    The carry is the parameters of the plan family, the warm start of the next step.

    Attributes:
        objective: energy of action sequences; `PathEnergy` for control by cost, `ExpectedFreeEnergy` for active inference.
        engine: any engine that can handle the plan's family.
        plan: family of plans.
        choice: how a plan is taken from the inferred distribution.
        num_steps: engine steps for each decision.
    """

    objective: AbstractPlanEnergy
    engine: AbstractEngine
    plan: AbstractPlan[Params]
    choice: AbstractChoice = MostLikely()
    num_steps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one engine step for each decision, got num_steps={self.num_steps}.")

    def init(self) -> Params:
        return self.plan.init()

    def act(self, context: PlanningContext, carry: Params, *, key: Key) -> tuple[Decision, Params]:
        infer_key, choice_key, explain_key = jr.split(key, 3)
        objective = _Decoded(self.objective, self.plan, self.objective.expectation)
        posterior = infer(
            objective,
            self.engine,
            self.plan.family,
            context,
            key=infer_key,
            params=carry,
            num_steps=self.num_steps,
            evaluate=False,
            throw=False,
        )
        value = self.choice(self.plan, posterior.params, key=choice_key)
        actions = self.plan.decode(value)
        explanation = objective.explain(value, context, key=explain_key)
        decision = Decision(actions[0], PlanInfo(actions, explanation, posterior.path_nats))
        return decision, self.plan.shift(posterior.params)


def active_inference(
    preference: AbstractPreference,
    plan: AbstractPlan,
    *,
    engine: AbstractEngine = Enumerate(),
    estimator: AbstractEstimator = AutomaticEstimator(),
    functional: AbstractFunctional = RiskAmbiguity(),
    parameters: AbstractParameterInformation = NoParameterGain(),
    choice: AbstractChoice = MostLikely(),
    num_steps: int = 1,
) -> ModelPredictive:
    """Model-predictive control by expected free energy.

    Args:
        preference: what the agent wants.
        plan: family of plans.
        engine: any engine; by default all plans are evaluated.
        estimator: of expectations over states and observations; by default the one that fits belief and emission.
        functional: which terms count; risk + ambiguity by default.
        parameters: what is still to be learned about the model; nothing by default.
        choice: how a plan is taken from the inferred distribution; the most likely one by default.
        num_steps: engine steps for each decision.
    """
    objective = ExpectedFreeEnergy(preference, estimator, functional, parameters)
    return ModelPredictive(objective, engine, plan, choice, num_steps)
