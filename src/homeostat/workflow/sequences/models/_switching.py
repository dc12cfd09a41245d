"""Regimes of linear dynamics: learned by gradients through interacting Kalman filters."""

from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ....core import AbstractBelief, AbstractLearner
from ....data import AbstractSequences
from ....inference import Filtered, ModelWithFilter, SequenceBatch, evidence_descent, filter, start_switching
from ....inference.filters import InteractingModels, RegimeBelief
from ....metrics import FilterOutputs
from ....models.sequential import LEAST_NOISE, LinearDynamics, SwitchingLinear, TransitionMatrix
from ....runs import RunContext
from ....typing import Array, Float, Key
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._descended import AbstractDescendedModel, linear_model, linear_start, optimizer
from ._named import SequencesSystem
from ._regime_figures import plot_regimes


@final
class SwitchingModel(AbstractDescendedModel):
    """`switching`."""

    name: ClassVar[str] = "switching"
    size_option: ClassVar[str] = "states"

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        # The start regresses every step on the one before, for every regime.
        width = 2 * int(options.latents) + description.action_dim + 1
        smoothing = super().numbers_held(options, description, padded_steps)
        return max(smoothing, (int(options.states) + 1) * padded_steps * width**2)

    def announce(self, options: SequencesOptions) -> list[str]:
        return ["start: regimes of the path that one linear model sees, the best of several"]

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        """Regimes that are all alike; `begin` tells them apart."""
        count = int(options.states)
        regimes = count * (linear_model(options, description, key=key),)
        chain = TransitionMatrix(jnp.zeros((count, count)))
        return ModelWithFilter(SwitchingLinear(jnp.zeros(count), chain, regimes), InteractingModels())

    def start(self, system: SequencesSystem, batch: SequenceBatch, *, key: Key) -> SwitchingLinear:
        linear_key, regime_key = jax.random.split(key)
        linear = linear_start(system, batch, key=linear_key)
        return start_switching(linear, batch, int(system.options.states), key=regime_key)

    def learner(self, system: SequencesSystem) -> AbstractLearner:
        return evidence_descent(system.learned, optimizer(system.options), floor=LEAST_NOISE)

    def estimate(self, options: SequencesOptions) -> str:
        return "log score of an approximate filter"

    def beliefs(self, learned: ModelWithFilter[Any], found: Filtered, batch: SequenceBatch) -> dict[str, Array]:
        """Probabilities of the regimes after each step, and moments of the state, whatever the regime."""
        belief, (mean, deviation) = _regimes(found.beliefs), _state_moments(found.beliefs)
        return {"probabilities": belief.probabilities, "mean": mean, "deviation": deviation}

    def outputs(
        self, learned: ModelWithFilter[Any], alone: SequenceBatch, num_samples: int, *, key: Key
    ) -> FilterOutputs:
        """Moments of mixtures over regimes, without draws."""
        model = _switching(learned)
        found = _along(learned, alone)
        predicted, updated = (_output_moments(model, beliefs) for beliefs in (found.predictions, found.beliefs))
        later = tuple(leaf[1:] for leaf in (*predicted, *updated))
        return FilterOutputs(*later, *_state_moments(found.beliefs))

    def summary(self, system: SequencesSystem) -> dict[str, Any]:
        """Of each regime how long it lasts on average, in steps, and what one unit more of each known input changes."""
        model, description = _switching(system.learned), system.description
        stay = np.exp(np.diagonal(np.asarray(model.transitions.log_matrix(None), np.float64)))
        lasts = (1.0 / np.maximum(1.0 - stay, np.finfo(np.float32).tiny)).tolist()
        found: dict[str, Any] = {"regime_steps": lasts}
        if description.acted and description.inputs.size:
            effects = np.asarray(_effects(model), np.float64)
            units = description.scaling.unit[None, :, None] / description.inputs.unit[None, None, :]
            found["regime_effects"] = (effects * units).tolist()
        return found

    def report(self, system: SequencesSystem, sequences: AbstractSequences, context: RunContext, *, key: Key) -> None:
        """Dynamics and transitions of the regimes, and their probabilities along the first sequence."""
        learned, model = system.learned, _switching(system.learned)

        def along(batch: SequenceBatch) -> Array:
            return _regimes(_along(learned, batch).beliefs).probabilities

        dynamics = model.regimes.dynamics
        assert isinstance(dynamics, LinearDynamics)
        matrices = np.asarray(dynamics.matrix, np.float64)
        chain = np.exp(np.asarray(model.transitions.log_matrix(None), np.float64))
        spread = np.asarray(_step_deviations(model), np.float64)
        plot_regimes(system.description, matrices, spread, chain, eqx.filter_jit(along), sequences, context)


def _switching(learned: ModelWithFilter[Any]) -> SwitchingLinear:
    assert isinstance(learned.model, SwitchingLinear)
    return learned.model


def _along(learned: ModelWithFilter[Any], alone: SequenceBatch) -> Filtered:
    """What the filter found of the only sequence of a batch; it draws nothing."""
    x, actions, mask = jax.tree.map(lambda leaf: leaf[0], (alone.observations, alone.actions, alone.mask))
    return filter(learned.filter, learned.model, x, actions, key=jax.random.key(0), mask=mask, throw=False)


def _regimes(belief: AbstractBelief) -> RegimeBelief:
    assert isinstance(belief, RegimeBelief)
    return belief


def _state_moments(belief: AbstractBelief) -> tuple[Float[Array, "time d"], Float[Array, "time d"]]:
    """Mean and deviation of z; the first entry of (s, z) is left out."""
    mean, covariance = _regimes(belief).mean, _regimes(belief).covariance
    return mean[:, 1:], jnp.sqrt(jnp.diagonal(covariance, axis1=1, axis2=2)[:, 1:])


def _output_moments(
    model: SwitchingLinear, belief: AbstractBelief
) -> tuple[Float[Array, "time m"], Float[Array, "time m"]]:
    """Mean and deviation of x under beliefs about (s, z)."""
    belief, regimes = _regimes(belief), model.regimes
    means = jnp.einsum("kmd,tkd->tkm", regimes.emission_matrix, belief.locs) + regimes.emission_offset[None]
    roots = jnp.einsum("kmd,tkde->tkme", regimes.emission_matrix, belief.scale_trils)
    own = jnp.sum(roots**2, axis=3) + jnp.sum(regimes.emission_scale_tril**2, axis=2)[None]
    mean = jnp.einsum("tk,tkm->tm", belief.probabilities, means)
    between = (means - mean[:, None]) ** 2
    return mean, jnp.sqrt(jnp.einsum("tk,tkm->tm", belief.probabilities, own + between))


def _effects(model: SwitchingLinear) -> Float[Array, "k m a"]:
    dynamics = model.regimes.dynamics
    assert isinstance(dynamics, LinearDynamics)
    return jnp.einsum("kmd,kda->kma", model.regimes.emission_matrix, dynamics.control)


def _step_deviations(model: SwitchingLinear) -> Float[Array, "k m"]:
    """Deviation of x from its mean given the state before, in each regime."""
    regimes = model.regimes
    assert isinstance(regimes.dynamics, LinearDynamics)
    roots = jnp.einsum("kmd,kde->kme", regimes.emission_matrix, regimes.dynamics.scale_tril)
    return jnp.sqrt(jnp.sum(roots**2, axis=2) + jnp.sum(regimes.emission_scale_tril**2, axis=2))
