"""Weights around the two terms of a free energy: beta, annealing, free bits, and constraints on one of the terms.

What is descended is then no bound on -log p(x); `FreeEnergy.terms` stays what is reported. A weighting may carry a state (a
step number, a multiplier), which the learner moves once per update with the batch's mean terms.
"""

import abc
from collections.abc import Callable
from typing import Generic, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ..results import BadInputError
from ..typing import Array, Coefficient, Distribution, Energy, Float, Int, Key, PyTree, Scalar
from ._free_energy import AbstractPredictive, Errors, Evidence, FreeEnergy, FreeEnergyTerms
from ._multiplier import AbstractMultiplier, DualVariable

WeightState = TypeVar("WeightState")


class AbstractWeighting(eqx.Module, Generic[WeightState]):
    """Turns the terms of a free energy into what is descended."""

    def init(self) -> WeightState:
        """State before the first update; none, unless a weighting says otherwise."""
        return None  # pyright: ignore[reportReturnType]

    @abc.abstractmethod
    def __call__(self, terms: FreeEnergyTerms, state: WeightState) -> Energy:
        """The weighted energy, in nats."""

    def update(self, terms: FreeEnergyTerms, state: WeightState) -> WeightState:
        """The next state, from the mean terms of a batch."""
        return state


@final
class Unweighted(AbstractWeighting[None]):
    """D + R: the free energy itself."""

    def __call__(self, terms: FreeEnergyTerms, state: None) -> Energy:
        return terms.free_energy_nats


@final
class Beta(AbstractWeighting[None]):
    """D + beta R.

    Attributes:
        beta: weight of the rate; above one it buys compression, below one fidelity.

    References:
        Marino (thesis), Eq. 2.25; Higgins et al., "beta-VAE", ICLR 2017.
    """

    beta: Coefficient = 1.0

    def __call__(self, terms: FreeEnergyTerms, state: None) -> Energy:
        return terms.distortion_nats + self.beta * jnp.sum(terms.rates_nats)


@final
class Annealing(AbstractWeighting[Int[Array, ""]]):
    """D + beta(t) R with t the number of updates done.

    Attributes:
        schedule: t -> beta, for instance `optax.linear_schedule(0.0, 1.0, 10_000)`.

    References:
        Marino (thesis), Sec. 2.3; Sønderby et al., "Ladder variational autoencoders", NeurIPS 2016.
    """

    schedule: Callable[[Int[Array, ""]], Scalar | float] = eqx.field(static=True)

    def init(self) -> Int[Array, ""]:
        return jnp.zeros((), jnp.int32)

    def __call__(self, terms: FreeEnergyTerms, state: Int[Array, ""]) -> Energy:
        return terms.distortion_nats + self.schedule(state) * jnp.sum(terms.rates_nats)

    def update(self, terms: FreeEnergyTerms, state: Int[Array, ""]) -> Int[Array, ""]:
        return state + 1


@final
class FreeBits(AbstractWeighting[Float[Array, " levels"]]):
    """D + sum_l max(R_l, r): a level may spend r nats for nothing, so that it is not switched off early.

    The rate that is compared with r is the running mean over batches, as in the paper, not that of one example; a level below
    r gets no gradient from its rate.

    Attributes:
        minimum_nats: r.
        num_levels: number of rates.
        decay: of the running mean.

    References:
        Kingma et al., "Improving variational inference with inverse autoregressive flow", NeurIPS 2016, Eq. 15 (Appendix C.8).
    """

    minimum_nats: Coefficient
    num_levels: int = eqx.field(static=True, default=1)
    decay: Coefficient = 0.9

    def init(self) -> Float[Array, " levels"]:
        return jnp.zeros(self.num_levels)

    def __call__(self, terms: FreeEnergyTerms, state: Float[Array, " levels"]) -> Energy:
        if terms.rates_nats.shape[-1] != self.num_levels:
            raise BadInputError(
                f"Expected free bits for {terms.rates_nats.shape[-1]} levels, as the free energy has them, got "
                f"num_levels={self.num_levels}."
            )
        paid = jnp.where(
            state > self.minimum_nats, terms.rates_nats, jnp.zeros_like(terms.rates_nats) + self.minimum_nats
        )
        return terms.distortion_nats + jnp.sum(paid)

    def update(self, terms: FreeEnergyTerms, state: Float[Array, " levels"]) -> Float[Array, " levels"]:
        rates = jax.lax.stop_gradient(terms.rates_nats)
        return self.decay * state + (1.0 - self.decay) * rates.astype(state.dtype)


@final
class DistortionConstraint(AbstractWeighting[PyTree]):
    """GECO: R + lambda (D - d), with lambda raised while D exceeds d and lowered otherwise.

    Divided by max(1, lambda), so that a growing multiplier does not become a growing learning rate.

    Attributes:
        target_nats: d, the distortion to reach.
        multiplier: gives lambda.

    References:
        Rezende and Viola, "Taming VAEs", arXiv 1810.00597, Algorithm 1; Marino (thesis), Sec. 2.3.
    """

    target_nats: Coefficient
    multiplier: AbstractMultiplier = DualVariable()

    def init(self) -> PyTree:
        return self.multiplier.init()

    def __call__(self, terms: FreeEnergyTerms, state: PyTree) -> Energy:
        multiplier = self.multiplier.value(state)
        lagrangian = jnp.sum(terms.rates_nats) + multiplier * (terms.distortion_nats - self.target_nats)
        return lagrangian / jnp.maximum(1.0, multiplier)

    def update(self, terms: FreeEnergyTerms, state: PyTree) -> PyTree:
        return self.multiplier.update(terms.distortion_nats - self.target_nats, state)


@final
class RateConstraint(AbstractWeighting[PyTree]):
    """D + lambda (R - r): the rate is held at r nats by a multiplier, which takes the place of beta.

    Attributes:
        target_nats: r, summed over levels.
        multiplier: gives lambda.

    References:
        Marino (thesis), Sec. 2.3 (a KL constraint); Rezende and Viola, "Taming VAEs".
    """

    target_nats: Coefficient
    multiplier: AbstractMultiplier = DualVariable()

    def init(self) -> PyTree:
        return self.multiplier.init()

    def __call__(self, terms: FreeEnergyTerms, state: PyTree) -> Energy:
        multiplier = self.multiplier.value(state)
        lagrangian = terms.distortion_nats + multiplier * (jnp.sum(terms.rates_nats) - self.target_nats)
        return lagrangian / jnp.maximum(1.0, multiplier)

    def update(self, terms: FreeEnergyTerms, state: PyTree) -> PyTree:
        return self.multiplier.update(jnp.sum(terms.rates_nats) - self.target_nats, state)


@final
class Weighted(AbstractPredictive[Evidence]):
    """A free energy seen through a weighting: what engines and learners descend.

    Attributes:
        free_energy: gives the terms.
        weighting: joins them.
        state: of the weighting; its first by default.
    """

    free_energy: FreeEnergy
    weighting: AbstractWeighting
    state: PyTree

    def __init__(self, free_energy: FreeEnergy, weighting: AbstractWeighting, state: PyTree = None):
        self.free_energy = free_energy
        self.weighting = weighting
        self.state = weighting.init() if state is None else state

    @property
    def pathwise(self) -> bool:
        return self.free_energy.pathwise

    def check(self, args: Evidence) -> None:
        self.free_energy.check(args)

    def pointwise(self, value: Array, args: Evidence, *, key: Key) -> Energy:
        """The weighted terms of a point mass, -log p(x | z) and -log p(z)."""
        return self.weighting(self._point_terms(value, args, key=key), self.state)

    def curvature(self, value: Float[Array, " d"], args: Evidence, *, key: Key) -> Float[Array, "d d"]:
        """The free energy's curvature of each term, times the weight of that term (every weighting is linear in them)."""
        weights = jax.grad(self.weighting)(self._point_terms(value, args, key=key), self.state)
        whole = self.free_energy.curvature(value, args, key=key)
        of_prior = -jax.hessian(self._prior(args).log_prob)(value)
        return weights.distortion_nats * whole + (weights.rates_nats[0] - weights.distortion_nats) * of_prior

    def __call__(self, distribution: Distribution, args: Evidence, *, key: Key) -> Energy:
        return self.weighting(self.terms(distribution, args, key=key), self.state)

    def terms(self, distribution: Distribution, args: Evidence, *, key: Key) -> FreeEnergyTerms:
        """The terms of the true bound, before they are weighted."""
        return self.free_energy.terms(distribution, args, key=key)

    def errors(self, distribution: Distribution, args: Evidence, *, key: Key) -> Errors:
        """As for `FreeEnergy`."""
        return self.free_energy.errors(distribution, args, key=key)

    def _point_terms(self, value: Array, args: Evidence, *, key: Key) -> FreeEnergyTerms:
        rate = -self._prior(args).log_prob(value)
        return FreeEnergyTerms(self.free_energy.pointwise(value, args, key=key) - rate, rate[None])

    def _prior(self, args: Evidence) -> Distribution:
        return self.free_energy.model.initial() if args.prior is None else args.prior
