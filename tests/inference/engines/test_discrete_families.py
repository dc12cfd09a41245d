"""Gradients through discrete draws: exact by enumeration, unbiased by the score, refused through samples."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

import catalogue
from homeostat.control import ActionSequences, ModelPredictive
from homeostat.core import AbstractMarkovModel, PlanningContext
from homeostat.distributions import AbstractExpectation, Antithetic, Categorical, Enumeration, MonteCarlo, ScoreFunction
from homeostat.inference import ModelWithEngine, free_energy_descent, infer
from homeostat.inference.engines import Chain, CrossEntropy, Direct, Gradient, Iterative, StopGradient
from homeostat.inference.filters import GaussianBelief, Kalman
from homeostat.objectives import AbstractPlanEnergy, ImportanceWeighted, PathEnergy
from homeostat.results import BadInputError
from tolerances import AUTODIFF, FINITE_DIFFERENCES

COSTS = jnp.array([3.0, 2.0, 0.0])
GRADIENT = Gradient(optax.adam(0.1))
REFUSED = "Expected a reparameterized family, got Categorical: .*`Enumeration.*`ScoreFunction.*"


class Costs(AbstractPlanEnergy):
    """U = (3, 2, 0)."""

    expectation: AbstractExpectation = MonteCarlo(1)

    def pointwise(self, value, args, *, key):
        return COSTS[value]

    def explain(self, value, args, *, key):
        return COSTS[value]


class Still(AbstractMarkovModel):
    """States stay where they are, up to noise."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def transition(self, state, action):
        return dist.Normal(state, 1.0).to_event(1)

    def emission(self, state):
        return dist.Normal(state, 1.0).to_event(1)


CONTEXT = PlanningContext(Still(), Kalman(), GaussianBelief(jnp.zeros(1), jnp.eye(1)))


def descend(objective, engine, key, num_steps=400):
    return infer(objective, engine, Categorical(3), CONTEXT, key=key, num_steps=num_steps)


@pytest.mark.parametrize("rule", [MonteCarlo(1), MonteCarlo(64), Antithetic()])
@pytest.mark.parametrize(
    "engine",
    [
        GRADIENT,
        StopGradient(GRADIENT),
        Chain((GRADIENT, CrossEntropy()), (1,)),
        Iterative(catalogue.careful_network(6)),
    ],
)
def test_gradients_through_samples_are_refused(engine, rule, key):
    with pytest.raises(BadInputError, match=REFUSED):
        descend(Costs(rule), engine, key)


def test_enumeration_finds_the_exact_minimum(key):
    posterior = eqx.filter_jit(descend)(Costs(Enumeration()), GRADIENT, key)
    np.testing.assert_allclose(posterior.distribution.probs, jax.nn.softmax(-COSTS), atol=AUTODIFF)
    np.testing.assert_allclose(posterior.energy_nats, -jax.nn.logsumexp(-COSTS), atol=AUTODIFF)


def test_the_score_finds_the_exact_minimum(key):
    engine = Gradient(optax.sgd(optax.cosine_decay_schedule(0.5, 1000)))
    posterior = eqx.filter_jit(descend)(Costs(ScoreFunction(64)), engine, key, 1000)
    q = posterior.distribution.probs
    assert float(q @ (COSTS + jnp.log(q)) + jax.nn.logsumexp(-COSTS)) < FINITE_DIFFERENCES


def test_a_tighter_bound_is_refused(key):
    with pytest.raises(BadInputError, match=REFUSED):
        infer(
            ImportanceWeighted(catalogue.mixture_model(), 4), GRADIENT, Categorical(3), catalogue.evidence(2), key=key
        )


@pytest.mark.parametrize("engine", [Direct(lambda args: jnp.zeros(3)), Iterative(catalogue.careful_network(6))])
def test_learners_refuse_it_at_construction(engine):
    parts = ModelWithEngine(catalogue.mixture_model(), engine), Categorical(3), optax.adam(1e-3)
    with pytest.raises(BadInputError, match=REFUSED):
        free_energy_descent(*parts, MonteCarlo(4))
    free_energy_descent(*parts, Enumeration())
    free_energy_descent(*parts, ScoreFunction())


def test_plans_of_choices(key):
    """A choice of three actions from a known state: the cost of each is its own."""
    costs = PathEnergy(lambda state, action: jnp.sum(COSTS * action), num_paths=1)
    plan = ActionSequences(jnp.eye(3))
    controller = ModelPredictive(costs, GRADIENT, plan, num_steps=400)
    with pytest.raises(BadInputError, match=REFUSED):
        controller.act(CONTEXT, controller.init(), key=key)
    exact = ModelPredictive(
        eqx.tree_at(lambda one: one.expectation, costs, Enumeration()), GRADIENT, plan, num_steps=400
    )
    decision, _ = eqx.filter_jit(lambda k: exact.act(CONTEXT, exact.init(), key=k))(key)
    np.testing.assert_allclose(decision.info.energies_nats[-1], -jax.nn.logsumexp(-COSTS), atol=AUTODIFF)
