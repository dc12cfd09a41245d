"""The terms of expected free energy, and when its two forms are one number."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from homeostat.core import PlanningContext
from homeostat.control import PreferredOutcomes, PreferredStates
from homeostat.inference.filters import GaussianBelief, Kalman
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.objectives import ExpectedFreeEnergy

dynamics = LinearDynamics(jnp.eye(2), jnp.eye(2), 0.3 * jnp.eye(2))
model = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.5]]), 0.2 * jnp.eye(1))
context = PlanningContext(model, Kalman(), GaussianBelief(jnp.array([1.0, -1.0]), 0.5 * jnp.eye(2)))
plan = jnp.array([[0.5, 0.0], [0.0, 0.5]])


def gap(preference):
    """(risk + ambiguity) + (pragmatic + epistemic), step by step."""
    terms = ExpectedFreeEnergy(preference).explain(plan, context, key=jax.random.key(0)).terms
    print(*(f"{name} {values}" for name, values in terms._asdict().items()), sep="\n")
    return terms.risk_nats + terms.ambiguity_nats + terms.pragmatic_nats + terms.epistemic_nats


over_observations = gap(PreferredOutcomes(dist.Normal(jnp.zeros(1), 1.0).to_event(1)))
over_states = gap(PreferredStates(dist.Normal(jnp.zeros(2), 1.0).to_event(1)))
assert jnp.allclose(over_observations, 0.0, atol=1e-4)
assert jnp.all(jnp.abs(over_states) > 0.1)
