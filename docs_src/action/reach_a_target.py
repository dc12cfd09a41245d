"""An agent that reaches a target: a model, a filter, a preference, plans, and any engine over them."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp

from homeostat.core import PlanningContext
from homeostat.control import Factored, ActionSequences, TargetState, active_inference
from homeostat.inference.engines import CrossEntropy
from homeostat.inference.filters import GaussianBelief, Kalman
from homeostat.models.sequential import LinearDynamics, LinearGaussian

# A point in the plane is moved by one unit a step and seen with a little noise.
dynamics = LinearDynamics(jnp.eye(2), jnp.eye(2), 0.1 * jnp.eye(2))
model = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.eye(2), 0.2 * jnp.eye(2))
context = PlanningContext(model, Kalman(), GaussianBelief(jnp.zeros(2), 0.3 * jnp.eye(2)))
preference = TargetState(jnp.array([3.0, -2.0]), 0.5)

# All 81 sequences of two moves among nine; or a search over each component by itself, three steps ahead.
moves = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=2)))
exhaustive = active_inference(preference, ActionSequences(moves, 2))
plans = Factored(jnp.asarray((-1, 0, 1)), action_dim=2, horizon=3)
search = active_inference(preference, plans, engine=CrossEntropy(128, 16), num_steps=3)

for agent in (exhaustive, search):
    decision, carry = eqx.filter_jit(agent.act)(context, agent.init(), key=jax.random.key(0))
    account = decision.info.explanation
    print(decision.action, account.terms.risk_nats, account.terms.epistemic_nats)
    assert decision.action.tolist() == [1, -1]
    # The risk falls along the plan: each step leads nearer to what is preferred.
    assert account.terms.risk_nats[1] < account.terms.risk_nats[0]
