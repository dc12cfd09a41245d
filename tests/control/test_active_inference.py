"""Active inference on exact filters with its defaults: a discrete agent against enumeration, a linear one against algebra."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.control import ActionSequences, PreferredOutcomes, PreferredStates, active_inference
from homeostat.core import AbstractModel, PlanningContext
from homeostat.inference.filters import CategoricalBelief, Extended, Forward, Kalman, Unscented
from homeostat.models.sequential import (
    CategoricalEmissions,
    ControlledTransitions,
    GaussianEmissions,
    HiddenMarkov,
    LinearDynamics,
    LinearGaussian,
)
from homeostat.objectives import (
    AutomaticEstimator,
    FiniteOutcomes,
    Linearized,
    NestedMonteCarlo,
    PragmaticEpistemic,
    RiskAmbiguity,
    SampledPoints,
    WeightedPoints,
)
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

STATES, OUTCOMES, ACTIONS, HORIZON = 3, 2, 2, 2
PREFERRED = np.array([0.9, 0.1])
PREFERRED_STATES = np.array([0.2, 0.7, 0.1])


def corridor(emissions=None):
    """Three states, two actions and two outcomes, nothing of it symmetric."""
    rng = np.random.default_rng(3)
    moves = rng.dirichlet(np.ones(STATES), (ACTIONS, STATES))
    shows = rng.dirichlet(np.ones(OUTCOMES), STATES)
    start = rng.dirichlet(np.ones(STATES))
    emissions = CategoricalEmissions(jnp.log(shows)) if emissions is None else emissions
    model = HiddenMarkov(jnp.log(start), ControlledTransitions(jnp.log(moves)), emissions)
    return model, start, moves, shows


def enumerated(start, moves, shows, plan, over_states):
    """Terms of every step, from all paths of states and outcomes."""
    risk, ambiguity, pragmatic, epistemic = 0.0, 0.0, 0.0, 0.0
    for step in range(1, len(plan) + 1):
        joint = np.zeros((STATES, OUTCOMES))
        for path in itertools.product(range(STATES), repeat=step + 1):
            weight = start[path[0]]
            for action, before, after in zip(plan, path[:-1], path[1:], strict=False):
                weight *= moves[action, before, after]
            for outcome in range(OUTCOMES):
                joint[path[-1], outcome] += weight * shows[path[-1], outcome]
        state, outcome = joint.sum(1), joint.sum(0)
        marginal, preferred = (state, PREFERRED_STATES) if over_states else (outcome, PREFERRED)
        risk += np.sum(marginal * np.log(marginal / preferred))
        pragmatic += np.sum(marginal * np.log(preferred))
        ambiguity -= np.sum(joint * np.log(shows))
        epistemic += np.sum(joint * np.log(joint / state[:, None] / outcome[None, :]))
    return {RiskAmbiguity: risk + ambiguity, PragmaticEpistemic: -pragmatic - epistemic}


@pytest.mark.parametrize("over_states", [False, True], ids=["outcomes", "states"])
@pytest.mark.parametrize("functional", [{}, {"functional": PragmaticEpistemic()}], ids=["by default", "pragmatic"])
def test_a_discrete_agent_chooses_by_the_enumerated_energy(functional, over_states, key):
    model, start, moves, shows = corridor()
    wanted = PREFERRED_STATES if over_states else PREFERRED
    preference = (PreferredStates if over_states else PreferredOutcomes)(dist.Categorical(probs=jnp.asarray(wanted)))
    controller = active_inference(preference, ActionSequences(jnp.arange(ACTIONS), HORIZON), **functional)
    act = eqx.filter_jit(
        lambda k: controller.act(PlanningContext(model, Forward(), Forward().init(model)), controller.init(), key=k)[0]
    )
    decision = act(key)
    kind = PragmaticEpistemic if functional else RiskAmbiguity
    energies = {
        plan: enumerated(start, moves, shows, plan, over_states)[kind]
        for plan in itertools.product(range(ACTIONS), repeat=HORIZON)
    }
    best = min(energies, key=energies.__getitem__)
    assert tuple(int(action) for action in decision.info.actions) == best
    np.testing.assert_allclose(decision.info.explanation.energy_nats, energies[best], atol=ALGEBRA)


def test_an_impossible_state_may_be_forbidden(key):
    _, start, moves, shows = corridor()
    moves[:, :, 2] = 0.0
    moves /= moves.sum(-1, keepdims=True)
    model = HiddenMarkov(jnp.log(start), ControlledTransitions(jnp.log(moves)), CategoricalEmissions(jnp.log(shows)))
    preference = PreferredStates(dist.Categorical(probs=jnp.array([0.5, 0.5, 0.0])))
    controller = active_inference(preference, ActionSequences(jnp.arange(ACTIONS)))
    decision, _ = controller.act(PlanningContext(model, Forward(), Forward().init(model)), controller.init(), key=key)
    after = np.einsum("s,ast->at", start, moves)[:, :2]
    energies = np.sum(after * np.log(after / 0.5), 1) - np.einsum("at,to->a", after, shows[:2] * np.log(shows[:2]))
    np.testing.assert_allclose(decision.info.explanation.energy_nats, energies.min(), atol=ALGEBRA)


def linear():
    dynamics = LinearDynamics(0.9 * jnp.eye(2), jnp.eye(2), 0.3 * jnp.eye(2))
    return LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.eye(2), 0.5 * jnp.eye(2))


@pytest.mark.parametrize("filter_", [Kalman(), Extended(), Unscented()], ids=["Kalman", "extended", "unscented"])
def test_exact_filters_of_linear_models_give_the_closed_form(filter_, key):
    model, goal = linear(), dist.Normal(jnp.ones(2), 1.0).to_event(1)
    controller = active_inference(PreferredOutcomes(goal), ActionSequences(jnp.array([[0.0, 0.0], [1.0, 1.0]])))
    decision, _ = controller.act(PlanningContext(model, filter_, filter_.init(model)), controller.init(), key=key)
    # After one step z ~ N(a, 0.9), x ~ N(a, 1.15): two independent coordinates, for a = 1 without bias.
    risk = 2 * 0.5 * (1.15 - 1.0 - np.log(1.15))
    ambiguity = 2 * 0.5 * np.log(2.0 * np.pi * np.e * 0.25)
    assert decision.action.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(decision.info.explanation.energy_nats, risk + ambiguity, atol=ALGEBRA)


def test_gaussian_outcomes_of_discrete_states_are_sampled(key):
    """H[x] of a mixture of Gaussians far apart is that of its states plus that of the noise."""
    means = jnp.array([[-50.0], [0.0], [50.0]])
    model, start, _, _ = corridor(GaussianEmissions(means, jnp.full((3, 1, 1), 0.5)))
    belief = Forward().init(model)
    found = eqx.filter_jit(jax.vmap(lambda k: AutomaticEstimator().information(model, belief, key=k)))(
        jr.split(key, 64)
    )
    exact = -np.sum(start * np.log(start))
    error = float(jnp.std(found.epistemic_nats)) / 8.0
    assert abs(float(jnp.mean(found.epistemic_nats)) - exact) < MONTE_CARLO_STANDARD_ERRORS * error + ALGEBRA
    np.testing.assert_allclose(found.ambiguity_nats, 0.5 * np.log(2.0 * np.pi * np.e * 0.25), atol=ALGEBRA)


def test_the_estimator_fits_belief_and_emission():
    model, linear_model = corridor()[0], linear()
    belief, gaussian = Forward().init(model), Kalman().init(linear_model)
    chosen = AutomaticEstimator(num_outcomes=7).choose
    assert chosen(model, belief) == FiniteOutcomes(WeightedPoints())
    assert isinstance(chosen(linear_model, gaussian), Linearized)
    noisy = corridor(GaussianEmissions(jnp.zeros((3, 1)), jnp.ones((3, 1, 1))))[0]
    assert chosen(noisy, belief) == NestedMonteCarlo(7, WeightedPoints())

    assert chosen(Signs(), gaussian) == FiniteOutcomes(SampledPoints(64))


class Signs(AbstractModel):
    """x = 1 with a probability that depends on the state."""

    def initial(self):
        return dist.Normal(jnp.zeros(2), 1.0).to_event(1)

    def emission(self, state):
        return dist.Bernoulli(logits=state[0])


def test_a_belief_about_states_has_no_covariance():
    assert not hasattr(CategoricalBelief(jnp.log(jnp.full(3, 1.0 / 3.0))), "covariance")
