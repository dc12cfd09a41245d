"""One line for every member of every protocol; the laws and the compositions run over these dictionaries.

A member that is exported but missing here makes `test_laws.py` fail. Engines are functions of the family they will
move, because networks must know its size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
from jax.flatten_util import ravel_pytree
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

from homeostat.core import AbstractEngine, AbstractFamily, AbstractModel, AbstractObjective
from homeostat.distributions import (
    Categorical,
    Cubature,
    Delta,
    DiagonalGaussian,
    Enumeration,
    FullGaussian,
    MonteCarlo,
    SquashedGaussian,
)
from homeostat.inference import engines
from homeostat.objectives import Evidence, FreeEnergy, ImportanceWeighted
from homeostat.results import BadInputError
from homeostat.testing import Tolerances

STRICT = Tolerances(ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS)
"""Tolerances of the laws in these tests, which run in 64-bit."""


class LinearModel(AbstractModel):
    """z ~ N(m, S), x ~ N(C z, s^2): the static model whose posterior and evidence are known."""

    weights: jax.Array
    prior_mean: jax.Array
    prior_factor: jax.Array
    noise: jax.Array

    def initial(self):
        return dist.MultivariateNormal(self.prior_mean, scale_tril=self.prior_factor)

    def transition(self, state, action):
        raise BadInputError("Expected a model with dynamics, got a static one: use a sequential model.")

    def emission(self, state):
        return dist.Normal(self.weights @ state, self.noise).to_event(1)


class MixtureModel(AbstractModel):
    """z ~ Categorical, an array of choices; x ~ N(sum of the chosen centres, s^2): the model of a discrete latent."""

    logits: jax.Array
    centres: jax.Array
    noise: jax.Array

    def initial(self):
        return dist.Categorical(logits=self.logits).to_event(self.logits.ndim - 1)

    def transition(self, state, action):
        raise BadInputError("Expected a model with dynamics, got a static one: use a sequential model.")

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

    def transition(self, state, action):
        raise BadInputError("Expected a model with dynamics, got a static one: use a sequential model.")

    def emission(self, state):
        return dist.Normal(self.weights @ state, self.noise).to_event(1)


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
    choices = 1
    for size in shape:
        choices *= size
    return MixtureModel(
        jr.normal(logits_key, (*shape, classes)), jr.normal(centres_key, (choices, classes, 2)), jnp.array([0.5, 0.7])
    )


class Problem(NamedTuple):
    """An energy with a family whose standard member is not its solution."""

    objective: AbstractObjective
    family: AbstractFamily
    args: Any


def evidence(size: int = 3) -> Evidence:
    """An observation away from what the canonical models expect."""
    return Evidence(jnp.linspace(-1.0, 2.0, size))


def problem(family: AbstractFamily) -> Problem:
    """The canonical problem of a family: free energy of a small model whose latent has the family's support."""
    if isinstance(family, Categorical):
        return Problem(FreeEnergy(mixture_model(family.shape, family.num_classes), Enumeration()), family, evidence(2))
    if isinstance(family, SquashedGaussian):
        model = BoundedModel(linear_model(family.dim).weights, jnp.ones(3))
        return Problem(FreeEnergy(model, MonteCarlo(16)), family, evidence())
    rule = MonteCarlo(1) if isinstance(family, Delta) else Cubature()
    return Problem(FreeEnergy(linear_model(family.dim), rule), family, evidence())


def careful_network(outputs: int) -> Callable[[jax.Array], jax.Array]:
    """No offset and a rate of sigmoid(-3): with `LearnedSGD`, gradient descent with a rate of 0.047."""
    return lambda inputs: jnp.concatenate([jnp.zeros(outputs // 2), jnp.full(outputs // 2, -3.0)]).astype(inputs.dtype)


def _size(family: AbstractFamily) -> int:
    return ravel_pytree(family.init())[0].size


def _encoder(family: AbstractFamily) -> Callable[[Any], jax.Array]:
    """Maps every observation to the parameters of the best of a few long runs: the fixed point of an encoder."""
    objective, _, args = problem(family)
    flat = ravel_pytree(eqx.filter_jit(_descend)(objective, family, args, optax.adam(0.05), 200))[0]
    return lambda _: flat


def _descend(objective: AbstractObjective, family: AbstractFamily, args: Any, optimizer: Any, steps: int) -> Any:
    def body(carry, key):
        params, state = carry
        gradient = jax.grad(lambda p: objective(family(p), args, key=key))(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = family.init()
    (params, _), _ = jax.lax.scan(body, (start, optimizer.init(start)), jr.split(jr.key(0), steps))
    return params


FAMILIES: dict[str, Callable[[], AbstractFamily]] = {
    "diagonal Gaussian": lambda: DiagonalGaussian(2),
    "full Gaussian": lambda: FullGaussian(2),
    "delta": lambda: Delta(2),
    "categorical": lambda: Categorical(3),
    "categorical plan": lambda: Categorical(3, (2,)),
    "squashed Gaussian": lambda: SquashedGaussian(2, low=-1.0, high=1.0),
}

ENGINES: dict[str, Callable[[AbstractFamily], AbstractEngine]] = {
    "direct": lambda family: engines.Direct(_encoder(family)),
    "iterative": lambda family: engines.Iterative(
        careful_network(2 * _size(family)), (engines.Estimate(), engines.LogGradient()), engines.LearnedSGD()
    ),
    "gradient": lambda family: engines.Gradient(optax.adam(0.1)),
    "natural gradient": lambda family: engines.NaturalGradient(0.5, 0.3),
    "cross entropy": lambda family: engines.CrossEntropy(),
    "path integral": lambda family: engines.PathIntegral(),
    "exhaustive": lambda family: engines.Exhaustive(),
    "sequence": lambda family: engines.Sequence(
        (engines.Direct(_encoder(family)), engines.Gradient(optax.sgd(0.01))), (1,)
    ),
}

REFUSED = {
    ("natural gradient", "delta"),
    ("natural gradient", "categorical"),
    ("natural gradient", "categorical plan"),
    ("natural gradient", "squashed Gaussian"),
    *(("exhaustive", name) for name in FAMILIES if not name.startswith("categorical")),
}
"""Pairs of engine and family that raise `BadInputError`, because the method is not defined there."""

CANONICAL_FAMILY: dict[str, str] = {"exhaustive": "categorical"}
"""The family that an engine is tried on in the quick suite; the full Gaussian unless named here."""

OBJECTIVES: dict[str, Callable[[], Problem]] = {
    "free energy": lambda: problem(FullGaussian(2)),
    "free energy of a choice": lambda: problem(Categorical(3)),
    "importance weighted": lambda: Problem(ImportanceWeighted(linear_model(), 16), FullGaussian(2), evidence()),
}

BOUNDS = {"importance weighted"}
"""Objectives that are tighter than the expectation of their parts."""


class ModelCase(NamedTuple):
    """A model with an action that it understands; None for a static one."""

    model: AbstractModel
    action: Any = None


MODELS: dict[str, Callable[[], ModelCase]] = {
    "linear (tests)": lambda: ModelCase(linear_model()),
    "mixture (tests)": lambda: ModelCase(mixture_model()),
    "bounded (tests)": lambda: ModelCase(BoundedModel(linear_model().weights, jnp.ones(3))),
}
