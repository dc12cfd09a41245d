"""The best member of a family, by long optimisation from several starts: what engines are held against."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.flatten_util import ravel_pytree

from ..core import AbstractFamily, AbstractModel
from ..distributions import AbstractExpectation, MonteCarlo
from ..objectives import Evidence, FreeEnergy
from ..results import BadInputError
from ..typing import Array, Energy, Float, Key, Params


class Optimum(NamedTuple):
    """The best end of several optimisations, and how far they can be trusted.

    Attributes:
        flat: its parameters as one vector (`jax.flatten_util.ravel_pytree` of the family's).
        last_change_per_nat: fall of the mean energy from the tenth of the steps before the last to the last one, over the
            size of the energy there (at least 1 nat): what more steps would still bring. Of the best start, before polishing;
            at convergence noise about zero.
        spread_nats: energy of the worst start's end above the best's. Large where there are several minima.
        polished: whether the best candidate is one of the polished ones.
    """

    flat: Float[Array, "*rows p"]
    last_change_per_nat: Float[Array, "*rows"]
    spread_nats: Float[Array, "*rows"]
    polished: Array


@final
class ReferenceOptimum(eqx.Module):
    """Adam from several starts with a rate that falls to a thousandth, then quasi-Newton steps; the best of all ends counts.

    The second stage (L-BFGS) sees one fixed set of random numbers, which makes the energy a smooth function. It is exact for
    few latents or a deterministic expectation; with many latents it fits the numbers it was given (with 32 latents and 512
    samples its ends never won, so `num_polish_steps=0` saves time there). So the ends of both stages are candidates, and all
    are compared on numbers that neither has seen.

    Attributes:
        num_starts: the given start, the family's standard member, then scattered around it.
        num_steps: of Adam.
        learning_rate: of Adam, at first.
        expectation: of Adam, new random numbers at every step.
        num_polish_steps: of L-BFGS; with 0 there is no second stage.
        polish_expectation: of L-BFGS and of the comparison.
        scatter: standard deviation of the scatter of starts, in the unit of the parameters.
    """

    num_starts: int = eqx.field(static=True, default=3)
    num_steps: int = eqx.field(static=True, default=1_000)
    learning_rate: float = eqx.field(static=True, default=0.05)
    expectation: AbstractExpectation = MonteCarlo(32)
    num_polish_steps: int = eqx.field(static=True, default=20)
    polish_expectation: AbstractExpectation = MonteCarlo(512)
    scatter: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        if self.num_starts < 1 or self.num_steps < 20 or self.num_polish_steps < 0:
            raise BadInputError(
                f"Expected at least one start, 20 steps and no negative number of polishing steps, got "
                f"num_starts={self.num_starts}, num_steps={self.num_steps}, num_polish_steps={self.num_polish_steps}."
            )

    def __call__(
        self, model: AbstractModel, family: AbstractFamily[Params], evidence: Evidence, *, first: Params, key: Key
    ) -> Optimum:
        """Optimise the free energy of one observation.

        Args:
            model: gives p(x, z).
            family: searched; it must be differentiable in its parameters.
            evidence: the observation.
            first: one of the starts.
            key: random key.
        """
        start_key, adam_key, polish_key, compare_key = jr.split(key, 4)
        standard, unravel = ravel_pytree(family.init())

        def energy(flat: Float[Array, " p"], expectation: AbstractExpectation, key: Key) -> Energy:
            return FreeEnergy(model, expectation)(family(unravel(flat)), evidence, key=key)

        noise = self.scatter * jr.normal(start_key, (self.num_starts, standard.size), standard.dtype)
        starts = (
            (standard[None, :] + noise).at[:2].set(jnp.stack([ravel_pytree(first)[0], standard])[: self.num_starts])
        )
        ends, paths = jax.vmap(lambda flat, key: self._descend(energy, flat, key))(
            starts, jr.split(adam_key, self.num_starts)
        )
        candidates = ends
        if self.num_polish_steps:
            polished = jax.vmap(lambda flat: self._polish(energy, flat, polish_key))(ends)
            candidates = jnp.concatenate([ends, polished])
        energies = jax.vmap(lambda flat: energy(flat, self.polish_expectation, compare_key))(candidates)
        energies = jnp.where(jnp.isfinite(energies), energies, jnp.inf)
        best = jnp.argmin(energies)
        by_start = jnp.min(energies.reshape(-1, self.num_starts), axis=0)
        window = self.num_steps // 10
        path = paths[best % self.num_starts]
        before, last = jnp.mean(path[-2 * window : -window]), jnp.mean(path[-window:])
        return Optimum(
            candidates[best],
            (before - last) / jnp.maximum(jnp.abs(last), 1.0),
            jnp.max(by_start) - jnp.min(by_start),
            best >= self.num_starts,
        )

    def _descend(self, energy, flat: Float[Array, " p"], key: Key) -> tuple[Float[Array, " p"], Float[Array, " steps"]]:
        optimizer = optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.num_steps, alpha=1e-3))

        def body(carry, step_key: Key):
            flat, state = carry
            value, gradient = jax.value_and_grad(energy)(flat, self.expectation, step_key)
            updates, state = optimizer.update(gradient, state, flat)
            return (flat + updates, state), value

        (flat, _), path = jax.lax.scan(body, (flat, optimizer.init(flat)), jr.split(key, self.num_steps))
        return flat, path

    def _polish(self, energy, flat: Float[Array, " p"], key: Key) -> Float[Array, " p"]:
        def fixed(flat: Float[Array, " p"]) -> Energy:
            return energy(flat, self.polish_expectation, key)

        # Backtracking costs one evaluation a try, where a zoom search would differentiate at each.
        search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
        optimizer = optax.lbfgs(linesearch=search)

        def body(carry, _):
            flat, state = carry
            value, gradient = jax.value_and_grad(fixed)(flat)
            updates, state = optimizer.update(gradient, state, flat, value=value, grad=gradient, value_fn=fixed)
            return (flat + updates, state), None

        (flat, _), _ = jax.lax.scan(body, (flat, optimizer.init(flat)), None, length=self.num_polish_steps)
        return flat
