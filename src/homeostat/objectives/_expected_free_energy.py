"""Expected free energy of a plan, term by term.

For each future step, with the predicted state q(s) and the predicted observation q(x) = E_q(s)[p(x | s)],

    ambiguity = E_q(s)[H[p(x | s)]]          epistemic = I(s; x)

and, for a preference over observations p~(x) or over states p~(s),

    observations:  risk = KL(q(x) || p~(x)),   pragmatic = E_q(x)[log p~(x)]
    states:        risk = KL(q(s) || p~(s)),   pragmatic = E_q(s)[log p~(s)]

Over observations the two ways to write the energy are the same number,

    risk + ambiguity = -(pragmatic + epistemic),

because H[q(x)] = epistemic + ambiguity. Over states they are not: risk + ambiguity exceeds -(pragmatic + epistemic) by
E_q(s)[H[p(x | s)]] - E_q(x)[H[q(s | x)]], a difference of entropies of two different spaces, so each is a functional of its
own. The first bounds the energy over observations from above: with p~(x) = E_p~(s)[p(x | s)],

    KL(q(s) || p~(s)) = KL(q(x) || p~(x)) + E_q(x)[KL(q(s | x) || p~(s | x))].

References:
    Friston et al., "Active inference and epistemic value", Cognitive Neuroscience 6 (2015); Da Costa et al., "Active
    inference on discrete state-spaces: a synthesis", Journal of Mathematical Psychology 99 (2020), Sec. 7; the slides.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractBelief, AbstractModel, PlanningContext
from ..distributions import AbstractExpectation, MonteCarlo
from ..models.sequential import BayesianLinearDynamics
from ..typing import Action, Array, Energy, Float, Key, Scalar
from ._information import AbstractEstimator, AutomaticEstimator
from ._plan_energy import AbstractPlanEnergy, forecast_beliefs


class EFETerms(NamedTuple):
    """Terms of the expected free energy, one entry a step of the plan, in nats.

    Attributes:
        risk_nats: KL from the predicted to the preferred distribution.
        ambiguity_nats: expected entropy of an observation given the state.
        pragmatic_nats: expected log preference.
        epistemic_nats: mutual information between state and observation.
        parameter_information_nats: mutual information between the model's parameters and the next state.
    """

    risk_nats: Float[Array, " horizon"]
    ambiguity_nats: Float[Array, " horizon"]
    pragmatic_nats: Float[Array, " horizon"]
    epistemic_nats: Float[Array, " horizon"]
    parameter_information_nats: Float[Array, " horizon"]


class EFEInfo(NamedTuple):
    """Why a plan has the energy that it has.

    Attributes:
        energy_nats: expected free energy of the whole plan.
        terms: its terms, step by step.
        beliefs: about the predicted states, q(s_1), ..., q(s_H), with a leading axis.
    """

    energy_nats: Scalar
    terms: EFETerms
    beliefs: AbstractBelief


class Preferred(NamedTuple):
    """How a prediction compares with what is preferred, in nats."""

    risk_nats: Scalar
    pragmatic_nats: Scalar


class AbstractPreference(eqx.Module):
    """A distribution that the agent prefers its future to have, over states or over observations."""

    @abc.abstractmethod
    def compare(
        self, estimator: AbstractEstimator, model: AbstractModel, belief: AbstractBelief, *, key: Key
    ) -> Preferred:
        """Risk and pragmatic value of a predicted belief."""


class AbstractFunctional(eqx.Module):
    """Which combination of the terms counts as the energy of a step."""

    @abc.abstractmethod
    def __call__(self, terms: EFETerms) -> Float[Array, " horizon"]:
        """Energy of each step, in nats."""


@final
class RiskAmbiguity(AbstractFunctional):
    """risk + ambiguity - w_p parameter information.

    Attributes:
        parameter_weight: w_p; 0 leaves the information about parameters out.
    """

    parameter_weight: float = 1.0

    def __call__(self, terms: EFETerms) -> Float[Array, " horizon"]:
        taught = _weighted(self.parameter_weight, terms.parameter_information_nats)
        return terms.risk_nats + terms.ambiguity_nats - taught


@final
class PragmaticEpistemic(AbstractFunctional):
    """-(pragmatic + w_e epistemic + w_p parameter information).

    Attributes:
        epistemic_weight: w_e; 1 is the expected free energy, 0 an agent that does not care to know.
        parameter_weight: w_p.
    """

    epistemic_weight: float = 1.0
    parameter_weight: float = 1.0

    def __call__(self, terms: EFETerms) -> Float[Array, " horizon"]:
        known = _weighted(self.epistemic_weight, terms.epistemic_nats)
        return -terms.pragmatic_nats - known - _weighted(self.parameter_weight, terms.parameter_information_nats)


def _weighted(weight: float | Scalar, values: Float[Array, "..."]) -> Float[Array, "..."]:
    """weight * values; a weight known to be zero leaves them out, so that they need not be computed."""
    if isinstance(weight, float | int) and weight == 0.0:
        return jnp.zeros_like(values)
    return weight * values


class AbstractParameterInformation(eqx.Module):
    """What a step is expected to teach about the parameters of the model."""

    @abc.abstractmethod
    def __call__(self, estimator: AbstractEstimator, belief: AbstractBelief, action: Action, *, key: Key) -> Scalar:
        """I(parameters; s' | s, a) averaged over the belief about s, in nats."""


@final
class NoParameterGain(AbstractParameterInformation):
    """The parameters are taken as known: nothing to learn."""

    def __call__(self, estimator: AbstractEstimator, belief: AbstractBelief, action: Action, *, key: Key) -> Scalar:
        return jnp.zeros(())


@final
class UncertainDynamics(AbstractParameterInformation):
    """Information about A, B and L from their matrix-normal inverse-Wishart posterior.

    Each step is counted as if it were the only one: over several steps the sum is an upper bound of what the plan teaches.

    Attributes:
        dynamics: the posterior.
    """

    dynamics: BayesianLinearDynamics

    def __call__(self, estimator: AbstractEstimator, belief: AbstractBelief, action: Action, *, key: Key) -> Scalar:
        points = estimator.points(belief, key=key)
        return points.weights @ jax.vmap(lambda state: self.dynamics.information_gain(state, action))(points.values)


@final
class ExpectedFreeEnergy(AbstractPlanEnergy):
    """G(plan) = sum_t functional(terms of step t), in nats; a plan is an array of actions [horizon, ...].

    Predicted states are carried forward without the observations on the way (an open-loop plan), and the steps are added up
    as if their observations were independent, as is usual: for several steps the epistemic sum is an upper bound of the
    information about the path.

    Attributes:
        preference: what the agent wants.
        estimator: how expectations over states and observations are taken.
        functional: how terms make the energy.
        parameters: what is still to be learned about the model.
        expectation: rule for the expectation over plans.
    """

    preference: AbstractPreference
    estimator: AbstractEstimator = AutomaticEstimator()
    functional: AbstractFunctional = RiskAmbiguity()
    parameters: AbstractParameterInformation = NoParameterGain()
    expectation: AbstractExpectation = MonteCarlo(1)

    def pointwise(self, value: Array, args: PlanningContext, *, key: Key) -> Energy:
        """G of one plan. Terms that the functional does not read are not computed under `jit`."""
        return jnp.sum(self.functional(self._evaluate(value, args, key=key)[0]))

    def explain(self, value: Array, args: PlanningContext, *, key: Key) -> EFEInfo:
        """Every term of one plan, and the states that it predicts."""
        terms, beliefs = self._evaluate(value, args, key=key)
        return EFEInfo(jnp.sum(self.functional(terms)), terms, beliefs)

    def _evaluate(self, actions: Array, args: PlanningContext, *, key: Key) -> tuple[EFETerms, AbstractBelief]:
        forecast_key, step_key = jr.split(key)
        beliefs = forecast_beliefs(args, actions, key=forecast_key)
        before = jax.tree.map(
            lambda first, rest: jnp.concatenate([jnp.asarray(first, rest.dtype)[None], rest[:-1]]), args.belief, beliefs
        )

        def step(belief_before, belief, action, step_key):
            preference_key, information_key, parameter_key = jr.split(step_key, 3)
            preferred = self.preference.compare(self.estimator, args.model, belief, key=preference_key)
            information = self.estimator.information(args.model, belief, key=information_key)
            taught = self.parameters(self.estimator, belief_before, action, key=parameter_key)
            return EFETerms(
                preferred.risk_nats,
                information.ambiguity_nats,
                preferred.pragmatic_nats,
                information.epistemic_nats,
                taught,
            )

        terms = jax.vmap(step)(before, beliefs, actions, jr.split(step_key, actions.shape[0]))
        return terms, beliefs
