"""The law suites of environments and agents find faults; see `test_law_suites`."""

import jax.numpy as jnp
import jax.random as jr
import pytest

from catalogue import STRICT
from homeostat.core import AbstractAgent, AbstractEnvironment, Bounded, Decision
from homeostat.testing import check_agent, check_environment


class Counter(AbstractEnvironment):
    """Counts what it is given."""

    @property
    def action_spec(self):
        return Bounded(())

    @property
    def observation_spec(self):
        return Bounded(())

    def initial(self, *, key):
        return jr.normal(key, ())

    def transition(self, state, action, *, key):
        return state + action

    def observation(self, state, *, key):
        return state + 0.1 * jr.normal(key, ())

    def reward(self, state, action, next_state):
        return -(next_state**2)

    def terminal(self, state):
        return state > 3.0


def test_a_correct_environment_passes(key):
    check_environment(Counter(), key=key, tolerances=STRICT)


class Growing(Counter):
    def transition(self, state, action, *, key):
        return jnp.stack([state, state])


class VectorReward(Counter):
    def reward(self, state, action, next_state):
        return jnp.zeros(2)


class Elsewhere(Counter):
    @property
    def observation_spec(self):
        return Bounded((2,))


class Undecided(Counter):
    def terminal(self, state):
        return state


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (Growing(), "preserves the state's structure"),
        (VectorReward(), "expected a real scalar"),
        (Undecided(), "expected a boolean scalar"),
        (Elsewhere(), "agrees with its spec"),
    ],
)
def test_environments(environment, message, key):
    with pytest.raises(AssertionError, match=message):
        check_environment(environment, key=key)


class Unsteady(AbstractAgent):
    """Forgets what its state looks like."""

    def init(self, *, key):
        return jnp.zeros(())

    def act(self, state, observation, *, key):
        return Decision(-observation, ()), jnp.zeros(2)


def test_agents(key):
    with pytest.raises(AssertionError, match="preserves the state's structure"):
        check_agent(Unsteady(), jnp.ones(1), key=key)
