"""The agent without a model of the world: a policy is a distribution over actions, inferred for every observation.

    pi(a | x) = argmin_q E_q[U(a, x) + log q(a)]

With U = -Q / alpha and a direct engine it is the actor of soft actor-critic; with an iterative one it is iterative amortized
policy optimisation.

References:
    Haarnoja et al., "Soft actor-critic", ICML 2018; Marino (thesis), Chapter 6.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree

from ..core import AbstractAgent, AbstractEngine, AbstractFamily, AbstractObjective, Decision
from ..inference import infer
from ..results import BadInputError
from ..typing import Action, Array, Distribution, Float, Key, Observation, Params, PyTree


class AbstractWarmStart(eqx.Module):
    """Where inference of the next policy starts."""

    @abc.abstractmethod
    def __call__(self, family: AbstractFamily[Params], previous: Params, *, key: Key) -> Params:
        """Parameters before the first engine step.

        Args:
            family: of policies.
            previous: parameters that the last policy ended on; at the start of an episode `family.init()`.
            key: for starts that are drawn.
        """


@final
class FromInitial(AbstractWarmStart):
    """The standard member of the family, which is the prior over actions."""

    def __call__(self, family: AbstractFamily[Params], previous: Params, *, key: Key) -> Params:
        return family.init()


@final
class FromPrevious(AbstractWarmStart):
    """The policy of the previous step."""

    def __call__(self, family: AbstractFamily[Params], previous: Params, *, key: Key) -> Params:
        return previous


@final
class FromNoise(AbstractWarmStart):
    """The standard member with Gaussian noise on every parameter.

    Attributes:
        scale: standard deviation of the noise.
    """

    scale: float = 1.0

    def __call__(self, family: AbstractFamily[Params], previous: Params, *, key: Key) -> Params:
        flat, unravel = ravel_pytree(family.init())
        return unravel(flat + self.scale * jr.normal(key, flat.shape, flat.dtype))


def sample_action(distribution: Distribution, *, key: Key) -> Action:
    """a ~ pi."""
    return distribution.sample(key)


def median_action(distribution: Distribution, *, key: Key) -> Action:
    """The centre of pi: its most probable class; of a squashed Gaussian, the squashed mean."""
    if isinstance(distribution, dist.Independent):
        return median_action(distribution.base_dist, key=key)
    if isinstance(distribution, dist.TransformedDistribution):
        value = median_action(distribution.base_dist, key=key)
        for transform in distribution.transforms:
            value = transform(value)
        return value
    if isinstance(distribution, dist.CategoricalLogits | dist.CategoricalProbs):
        return jnp.argmax(distribution.logits, axis=-1)
    return distribution.mean


class PolicyInfo(NamedTuple):
    """What an action was drawn from.

    Attributes:
        distribution: pi, the policy after inference.
        energies_nats: objective before each engine step.
    """

    distribution: Distribution
    energies_nats: Float[Array, " num_steps"]


def as_observed(observation: Observation) -> Observation:
    """The observation itself is what the energy depends on."""
    return observation


@final
class PolicyAgent(AbstractAgent[PyTree]):
    """At every observation: infer a distribution over actions, and act by it. Its state is the parameters of the last one.

    Attributes:
        objective: energy of an action.
        engine: any engine that can handle the family; `Direct` is a policy network.
        family: of policies.
        start: where inference starts.
        choose: how an action is taken from the policy; `median_action` is without exploration.
        num_steps: engine steps for each observation.
        problem: turns an observation into the `args` of the objective.
    """

    objective: AbstractObjective
    engine: AbstractEngine
    family: AbstractFamily
    start: AbstractWarmStart = FromInitial()
    choose: Callable[..., Action] = sample_action
    num_steps: int = eqx.field(static=True, default=1)
    problem: Callable[[Observation], PyTree] = as_observed

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one engine step for each action, got num_steps={self.num_steps}.")

    def init(self, *, key: Key) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), self.family.init())

    def act(self, state: PyTree, observation: Observation, *, key: Key) -> tuple[Decision, PyTree]:
        start_key, infer_key, action_key = jr.split(key, 3)
        posterior = infer(
            self.objective,
            self.engine,
            self.family,
            self.problem(observation),
            key=infer_key,
            params=self.start(self.family, state, key=start_key),
            num_steps=self.num_steps,
            evaluate=False,
            throw=False,
        )
        policy = posterior.distribution
        action = self.choose(policy, key=action_key)
        return Decision(action, PolicyInfo(policy, posterior.path_nats)), posterior.params
