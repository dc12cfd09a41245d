"""Gradient-free engines: they ask only for `pointwise` energies and for the family's `fit`."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEngine, StepInfo
from ...distributions import Categorical, CategoricalParams
from ...results import BadInputError
from ...typing import Array, Coefficient, Float, Params


class AbstractSamplingEngine(AbstractEngine[Params, None]):
    """Draw a population, weigh it by its energies, and fit the family to the weighted population.

    What is lowered is E_q[U]: the population gathers around the best points, and the entropy of q, which the measured energy
    E_q[U + log q] counts, falls with it.
    """

    population: eqx.AbstractVar[int]

    @abc.abstractmethod
    def weights(self, energies: Float[Array, " population"]) -> Float[Array, " population"]:
        """Weights that sum to one; lower energies weigh more."""

    def init(self, objective, family, params, args):
        return None

    def step(self, objective, family, params, args, state, *, key):
        sample_key, energy_key = jr.split(key)
        q = family(params)
        samples = jax.vmap(q.sample)(jr.split(sample_key, self.population))
        energy_keys = jr.split(energy_key, self.population)
        energies = jax.vmap(lambda x, k: objective.pointwise(x, args, key=k))(samples, energy_keys)
        # A point of infinite or undefined energy is impossible: it gets no weight instead of spoiling all weights.
        energies = jnp.where(jnp.isnan(energies), jnp.inf, energies)
        energy = jnp.mean(energies + jax.vmap(q.log_prob)(samples))
        return family.fit(samples, self.weights(energies)), None, StepInfo(energy)


@final
class CrossEntropy(AbstractSamplingEngine[Params]):
    """Fit the family to the best `elites` of `population` samples, equally weighted.

    Attributes:
        population: samples per step.
        elites: how many of them are kept.

    References:
        Rubinstein and Kroese, "The cross-entropy method", 2004.
    """

    population: int = eqx.field(static=True, default=256)
    elites: int = eqx.field(static=True, default=32)

    def __check_init__(self):
        if not 1 <= self.elites <= self.population:
            raise BadInputError(
                f"Expected 1 <= elites <= population, got elites={self.elites} and population={self.population}."
            )

    def weights(self, energies: Float[Array, " population"]) -> Float[Array, " population"]:
        order = jnp.argsort(energies)
        return jnp.zeros_like(energies).at[order[: self.elites]].set(1.0 / self.elites)


@final
class MPPI(AbstractSamplingEngine[Params]):
    """Weigh samples by exp(-U / temperature): the model-predictive path-integral update.

    Attributes:
        population: samples per step.
        temperature: in nats; lower is greedier.

    References:
        Williams et al., "Information theoretic MPC for model-based reinforcement learning", ICRA 2017, Eq. 21.
    """

    population: int = eqx.field(static=True, default=256)
    temperature: Coefficient = 1.0

    def __check_init__(self):
        if isinstance(self.temperature, float | int) and self.temperature <= 0.0:
            raise BadInputError(f"Expected a temperature above zero, got {self.temperature}.")

    def weights(self, energies: Float[Array, " population"]) -> Float[Array, " population"]:
        return jax.nn.softmax(-energies / self.temperature)


@final
class Enumerate(AbstractEngine[CategoricalParams, None]):
    """Evaluate every point of a categorical support: the exact minimiser q(x) ~ exp(-U(x) / temperature).

    For a support of several entries the exact joint has no factorised form; the engine returns the factors that
    maximise the likelihood of that joint (its marginals), which at low temperature is the best sequence itself.

    Attributes:
        temperature: in nats.
    """

    temperature: Coefficient = 1.0

    def __check_init__(self):
        if isinstance(self.temperature, float | int) and self.temperature <= 0.0:
            raise BadInputError(f"Expected a temperature above zero, got {self.temperature}.")

    def init(self, objective, family, params, args):
        if not isinstance(family, Categorical):
            raise BadInputError(
                f"Expected a Categorical family for Enumerate, got {type(family).__name__}: use a sampling engine."
            )
        return None

    def step(self, objective, family: Categorical, params, args, state, *, key):
        support = family.support()
        # One key for all: alternatives are compared on common random numbers.
        energies = jax.vmap(lambda x: objective.pointwise(x, args, key=key))(support)
        energies = jnp.where(jnp.isnan(energies), jnp.inf, energies)
        weights = jax.nn.softmax(-energies / self.temperature)
        log_q = jax.vmap(family(params).log_prob)(support)
        # A point that q excludes costs nothing, even where its energy is infinite.
        energy = jnp.sum(jnp.where(log_q > -jnp.inf, jnp.exp(log_q) * (energies + log_q), 0.0))
        if family.shape:
            return family.fit(support, weights), None, StepInfo(energy)
        # An impossible point keeps a finite logit: minus infinity is no valid parameter.
        logits = jnp.maximum(jnp.log(weights), jnp.log(jnp.finfo(weights.dtype).tiny))
        return CategoricalParams(logits), None, StepInfo(energy)
