"""Hierarchical predictive coding: point estimates that settle where prediction errors balance."""

import abc
from typing import final

import equinox as eqx
import jax.numpy as jnp
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractObjective, StepInfo
from ...distributions import Delta, DeltaParams
from ...objectives import FreeEnergy, Unweighted, Weighted
from ...results import BadInputError
from ...typing import Array, Coefficient, Float, Params, PyTree
from ._local_errors import HierarchyErrors, LocalPass, local_pass


class AbstractGain(eqx.Module):
    """What precision-weighted errors are multiplied by: "attention" to some of them."""

    @abc.abstractmethod
    def __call__(self, level: int, error: Float[Array, "..."]) -> Float[Array, "..."]:
        """Gain of every unit.

        Args:
            level: 0 for the observation, 1 for the latents nearest to it, and so on.
            error: its precision-weighted errors xi.
        """


@final
class ConstantGain(AbstractGain):
    """A number for each level, or one for each of its units.

    A gain g on a Gaussian error is a precision g / sigma^2 in place of 1 / sigma^2: estimates move to where the precisions
    would have them, while the reported energy stays that of the model.

    Attributes:
        observation: gain of xi_x, in the shape of x or a single number.
        latent: gain of every xi^l, the lowest level first.

    References:
        Marino (thesis), Sec. 8.2, after Feldman and Friston, "Attention, uncertainty, and free-energy", Frontiers in Human
        Neuroscience 4 (2010).
    """

    observation: Coefficient | Float[Array, "..."] = 1.0
    latent: tuple[Coefficient | Float[Array, " d"], ...] = (1.0,)

    def __call__(self, level: int, error: Float[Array, "..."]) -> Float[Array, "..."]:
        if level > len(self.latent):
            raise BadInputError(
                f"Expected a gain for each level of latents, got {len(self.latent)} for a model with at least {level}."
            )
        gain = jnp.asarray(self.observation if level == 0 else self.latent[level - 1], error.dtype)
        if gain.shape not in ((), error.shape):
            raise BadInputError(
                f"Expected one gain for level {level} or an array of shape {error.shape}, got shape {gain.shape}."
            )
        return jnp.broadcast_to(gain, error.shape)


@final
class PredictiveCoding(AbstractEngine[Params, optax.OptState]):
    """z^l <- z^l + rate (J^T xi^{l-1} - xi^l): every level weighs the error below it against its own.

    J is the Jacobian of the level's own prediction, xi are precision-weighted errors (see `LocalPass`). Only neighbours talk:
    the step is computed from one pass of predictions down and one pass of errors up, and equals a step of `Gradient` on the
    energy -log p(x, z). The family is `Delta`; the fixed point is the maximum a posteriori.

    Attributes:
        optimizer: what makes a step of J^T xi - xi; `optax.sgd(rate)` is the plain rate of the equation, others (momentum,
            Adam) add a memory of each unit's own past.
        gain: multiplies errors; None leaves them as they are.

    References:
        Rao and Ballard, "Predictive coding in the visual cortex", Nature Neuroscience 2 (1999); Marino (thesis), Eq. 8.5,
        with sigma^2 in the errors where it prints sigma.
    """

    optimizer: optax.GradientTransformation = eqx.field(static=True)
    gain: AbstractGain | None = None

    def init(self, objective, family, params, args):
        _check(objective, family)
        return self.optimizer.init(params)

    def step(self, objective, family, params, args, state, *, key):
        found = self._pass(objective, family, params, args)
        updates, state = self.optimizer.update(DeltaParams(-found.ascent), state, params)
        params = optax.apply_updates(params, updates)  # pyright: ignore[reportAssignmentType]
        return params, state, StepInfo(-found.log_likelihood_nats - found.log_prior_nats)

    def errors(
        self, objective: AbstractObjective, family: AbstractFamily[Params], params: Params, args: PyTree
    ) -> HierarchyErrors:
        """Precision-weighted errors of an estimate, after the gain."""
        return self._pass(objective, family, params, args).errors

    def _pass(self, objective: AbstractObjective, family: AbstractFamily, params: Params, args: PyTree) -> LocalPass:
        model = _check(objective, family).model
        loc = family(params).v
        return local_pass(model, args, loc) if self.gain is None else local_pass(model, args, loc, self.gain)


def _check(objective: AbstractObjective, family: AbstractFamily) -> FreeEnergy:
    """The free energy whose predictions are compared, for an estimate that is a point."""
    if not isinstance(family, Delta):
        raise BadInputError(
            f"Expected a point-mass family, `Delta`, since predictive coding moves point estimates, got "
            f"{type(family).__name__}: use `Gradient` or `NaturalGradient` for a distribution."
        )
    if isinstance(objective, Weighted) and isinstance(objective.weighting, Unweighted):
        objective = objective.free_energy
    if not isinstance(objective, FreeEnergy):
        raise BadInputError(
            f"Expected a `FreeEnergy`, whose errors come from a model's predictions, got {type(objective).__name__}: put "
            f"weights on errors with `gain`, and use `Gradient` for other energies."
        )
    return objective
