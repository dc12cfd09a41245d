"""Small models with known answers, and the canonical problem of every family."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
from jax.flatten_util import ravel_pytree

from homeostat.core import (
    AbstractFamily,
    AbstractMarkovModel,
    AbstractModel,
    AbstractObjective,
    AbstractSequentialModel,
)
from homeostat.distributions import (
    Categorical,
    Cubature,
    Delta,
    Enumeration,
    Ladder,
    MonteCarlo,
    PathGaussian,
    SquashedGaussian,
)
from homeostat.flows import ConditionalFlow, NormalizingFlow
from homeostat.models.static import Gaussian, LatentGaussian, latent_gaussian
from homeostat.nn import MLP
from homeostat.objectives import Evidence, FreeEnergy
from path_problems import path_problem


class LinearModel(AbstractModel):
    """z ~ N(m, S), x ~ N(C z, s^2): the static model whose posterior and evidence are known."""

    weights: jax.Array
    prior_mean: jax.Array
    prior_factor: jax.Array
    noise: jax.Array

    def initial(self):
        return dist.MultivariateNormal(self.prior_mean, scale_tril=self.prior_factor)

    def emission(self, state):
        return dist.Normal(self.weights @ state, self.noise).to_event(1)


class MixtureModel(AbstractModel):
    """z ~ Categorical, an array of choices; x ~ N(sum of the chosen centres, s^2): the model of a discrete latent."""

    logits: jax.Array
    centres: jax.Array
    noise: jax.Array

    def initial(self):
        return dist.Categorical(logits=self.logits).to_event(self.logits.ndim - 1)

    def emission(self, state):
        chosen = self.centres[jnp.arange(state.size), state.ravel()]
        return dist.Normal(jnp.sum(chosen, axis=0), self.noise).to_event(1)


class BoundedModel(AbstractModel):
    """z uniform on (-1, 1)^d, x ~ N(C z, s^2): the model of a bounded latent."""

    weights: jax.Array
    noise: jax.Array

    def initial(self):
        size = self.weights.shape[1]
        return dist.Uniform(-jnp.ones(size), jnp.ones(size)).to_event(1)

    def emission(self, state):
        return dist.Normal(self.weights @ state, self.noise).to_event(1)


def once(builds: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """The same cases, each built at most once a session."""
    return {name: functools.cache(build) for name, build in builds.items()}


def linear_model(dim: int = 2, observed: int = 3) -> LinearModel:
    """A well-conditioned linear model with a correlated prior."""
    weights_key, factor_key, mean_key = jr.split(jr.key(7), 3)
    factor = jnp.eye(dim) + 0.3 * jnp.tril(jr.normal(factor_key, (dim, dim)), -1)
    return LinearModel(
        jr.normal(weights_key, (observed, dim)), jr.normal(mean_key, (dim,)), factor, jnp.linspace(0.5, 1.0, observed)
    )


def mixture_model(shape: tuple[int, ...] = (), classes: int = 3) -> MixtureModel:
    """Three centres in the plane for every choice."""
    logits_key, centres_key = jr.split(jr.key(8))
    return MixtureModel(
        jr.normal(logits_key, (*shape, classes)),
        jr.normal(centres_key, (math.prod(shape), classes, 2)),
        jnp.array([0.5, 0.7]),
    )


def mapping(inputs: int, outputs: int, *, key: jax.Array) -> MLP:
    """A small smooth network."""
    return MLP(inputs, outputs, 4, 1, key=key, activation=jax.nn.tanh)


def two_levels() -> LatentGaussian:
    """One variable above another, three observed numbers."""
    return latent_gaussian(Gaussian((3,)), (1, 1), key=jr.key(2), mapping=mapping)


class Steered(AbstractMarkovModel):
    """z' ~ N(0.9 z + b a, 0.2^2) in the plane under one number a; x ~ N(z, 0.5^2)."""

    gain: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1)

    def transition(self, state, action):
        return dist.Normal(0.9 * state + self.gain * action, 0.2).to_event(1)

    def emission(self, state):
        return dist.Normal(state, 0.5).to_event(1)


class Remembering(AbstractSequentialModel):
    """z ~ N(F h, diag(s)^2), x ~ N(C z + D h, diag(r)^2), h' = A h + B z + E x + G a: linear and Gaussian, but not Markov in z."""

    start: jax.Array
    predict: jax.Array
    state_scale: jax.Array
    observe: jax.Array
    read: jax.Array
    noise: jax.Array
    keep: jax.Array
    from_state: jax.Array
    from_observation: jax.Array
    from_action: jax.Array

    def init_carry(self):
        return self.start

    def prior(self, carry):
        return dist.Normal(self.predict @ carry, self.state_scale).to_event(1)

    def emission_given(self, carry, state):
        return dist.Normal(self.observe @ state + self.read @ carry, self.noise).to_event(1)

    def next_carry(self, carry, state, observation, action):
        moved = self.keep @ carry + self.from_state @ state + self.from_observation @ observation
        return moved if action is None else moved + self.from_action @ action


def remembering(dim: int = 2, observed: int = 2, memory: int = 3, actions: int = 1) -> Remembering:
    """One that stays within bounds."""
    shapes = {
        "start": (memory,),
        "predict": (dim, memory),
        "observe": (observed, dim),
        "read": (observed, memory),
        "keep": (memory, memory),
        "from_state": (memory, dim),
        "from_observation": (memory, observed),
        "from_action": (memory, actions),
    }
    keys = jr.split(jr.key(11), len(shapes))
    drawn = {name: 0.4 * jr.normal(k, shape) for (name, shape), k in zip(shapes.items(), keys, strict=True)}
    return Remembering(**drawn, state_scale=jnp.linspace(0.6, 0.9, dim), noise=jnp.linspace(0.4, 0.7, observed))


class Pulled(AbstractObjective):
    """U(a) = |a - g x|^2 / 2, the energy of an action a in view of x."""

    gain: jax.Array

    def pointwise(self, value, args, *, key):
        return 0.5 * jnp.sum((value - self.gain * args) ** 2)

    def __call__(self, distribution, args, *, key):
        actions = jax.vmap(distribution.sample)(jr.split(key, 64))
        return jnp.mean(jax.vmap(lambda a: self.pointwise(a, args, key=key) + distribution.log_prob(a))(actions))


def pulled(gain: float = 0.5) -> Pulled:
    """One that pulls to half of what is seen."""
    return Pulled(jnp.asarray(gain))


class Problem(NamedTuple):
    """An energy with a family whose standard member is not its solution."""

    objective: AbstractObjective
    family: AbstractFamily
    args: Any


def evidence(length: int = 3) -> Evidence:
    """An observation away from what the canonical models expect."""
    return Evidence(jnp.linspace(-1.0, 2.0, length))


def problem(family: AbstractFamily) -> Problem:
    """The canonical problem of a family: free energy of a small model whose latent has the family's support."""
    if isinstance(family, Categorical):
        return Problem(FreeEnergy(mixture_model(family.shape, family.num_classes), Enumeration()), family, evidence(2))
    if isinstance(family, SquashedGaussian):
        model = BoundedModel(linear_model(family.dim).weights, jnp.ones(3))
        return Problem(FreeEnergy(model, MonteCarlo(16)), family, evidence())
    if isinstance(family, PathGaussian):
        return Problem(*path_problem(family))
    if isinstance(family, Ladder):
        return Problem(FreeEnergy(two_levels(), MonteCarlo(64)), family, evidence())
    # Without closed-form moments, samples stand in; enough of them for a descent that 20 steps can show.
    rule = MonteCarlo(1) if isinstance(family, Delta) else Cubature()
    if isinstance(family, NormalizingFlow | ConditionalFlow):
        rule = MonteCarlo(16)
    return Problem(FreeEnergy(linear_model(family.dim), rule), family, evidence())


def careful_network(outputs: int) -> Callable[[jax.Array], jax.Array]:
    """No offset and a rate of sigmoid(-3): with `LearnedSGD`, gradient descent with a rate of 0.047."""
    return lambda inputs: jnp.concatenate([jnp.zeros(outputs // 2), jnp.full(outputs // 2, -3.0)]).astype(inputs.dtype)


def size(family: AbstractFamily) -> int:
    """Number of parameters of a family."""
    return ravel_pytree(family.init())[0].size


def encoder(family: AbstractFamily) -> Callable[[Any], jax.Array]:
    """Maps every observation to the parameters of the best of a few long runs: the fixed point of an encoder."""
    objective, _, args = problem(family)
    flat = ravel_pytree(eqx.filter_jit(_descend)(objective, family, args, ADAM, 1000))[0]
    return lambda _: flat


ADAM = optax.adam(optax.cosine_decay_schedule(0.05, 1000))
"""One for all: another would be another program."""


def _descend(objective: AbstractObjective, family: AbstractFamily, args: Any, optimizer: Any, steps: int) -> Any:
    def body(carry, key):
        params, state = carry
        gradient = jax.grad(lambda p: objective(family(p), args, key=key))(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = family.init()
    (params, _), _ = jax.lax.scan(body, (start, optimizer.init(start)), jr.split(jr.key(0), steps))
    return params
