"""Unconstrained numbers that a linear-Gaussian model is made of: what an optimiser moves."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...results import BadInputError
from ...typing import Array, Float
from ._linear_dynamics import LinearDynamics
from ._linear_gaussian import LinearGaussian

LEAST_NOISE = 1e-3
"""Least deviation of an output's noise, in the unit of the data: without one the likelihood has no bound, as where a state
explains the data without error. The same as in expectation maximisation."""


class AbstractModelParameters(eqx.Module):
    """Parameters in which every real number is allowed, above their bounds; all leaves that are not whole numbers are moved."""

    @abc.abstractmethod
    def model(self) -> LinearGaussian:
        """The model that they say."""

    def lowest(self) -> "AbstractModelParameters":
        """Lower bounds, in the place of the parameters; -inf where there is none."""
        return jax.tree.map(lambda leaf: np.full(np.shape(leaf), -np.inf), self)


@final
class LinearGaussianParameters(AbstractModelParameters):
    """All of a `LinearGaussian` with `LinearDynamics`, noises by factors with the logarithm on their diagonal.

    The basis of the state is not fixed: there are d^2 directions along which the likelihood stays, which does not disturb a
    quasi-Newton method.

    Attributes:
        matrix: A, [d, d].
        control: B, [d, a].
        scale_tril: L, [d, d].
        emission_matrix: C, [m, d].
        emission_offset: d, [m].
        emission_scale_tril: R^(1/2), [m, m].
        initial_mean: m, [d].
        initial_scale_tril: P^(1/2), [d, d].
        start_is_learned: whether m and P are; one sequence says nothing about P.
    """

    matrix: Float[Array, "d d"]
    control: Float[Array, "d a"]
    scale_tril: Float[Array, "d d"]
    emission_matrix: Float[Array, "m d"]
    emission_offset: Float[Array, " m"]
    emission_scale_tril: Float[Array, "m m"]
    initial_mean: Float[Array, " d"]
    initial_scale_tril: Float[Array, "d d"]
    start_is_learned: bool = eqx.field(static=True)

    @classmethod
    def of(cls, model: LinearGaussian, *, start_is_learned: bool) -> "LinearGaussianParameters":
        """The parameters of a model.

        Raises:
            BadInputError: its dynamics are not `LinearDynamics`, have an offset, or leave a coordinate without noise.
        """
        dynamics = model.dynamics
        if not isinstance(dynamics, LinearDynamics):
            raise BadInputError(f"Expected LinearDynamics, got {type(dynamics).__name__}: `discretise` them first.")
        if np.any(np.diagonal(dynamics.scale_tril) <= 0.0) or np.any(dynamics.offset != 0.0):
            raise BadInputError(
                "Expected noise in each coordinate of the state, and no offset c: put it into the emission's."
            )
        return cls(
            dynamics.matrix,
            dynamics.control,
            log_diagonal(dynamics.scale_tril),
            model.emission_matrix,
            model.emission_offset,
            log_diagonal(model.emission_scale_tril),
            model.initial_mean,
            log_diagonal(model.initial_scale_tril),
            start_is_learned,
        )

    def model(self) -> LinearGaussian:
        mean, factor = self.initial_mean, exp_diagonal(self.initial_scale_tril)
        if not self.start_is_learned:
            mean, factor = jax.lax.stop_gradient((mean, factor))
        return LinearGaussian(
            mean,
            factor,
            LinearDynamics(self.matrix, self.control, exp_diagonal(self.scale_tril)),
            self.emission_matrix,
            exp_diagonal(self.emission_scale_tril),
            self.emission_offset,
        )

    def lowest(self) -> "LinearGaussianParameters":
        where = lambda tree: (tree.scale_tril, tree.emission_scale_tril, tree.initial_scale_tril)  # noqa: E731
        return eqx.tree_at(where, super().lowest(), tuple(map(least_noise, where(self))))


def log_diagonal(scale_tril: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """A factor, with the logarithm of its diagonal."""
    return jnp.tril(scale_tril, -1) + jnp.diag(jnp.log(jnp.diagonal(scale_tril)))


def exp_diagonal(unconstrained: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The factor of which `log_diagonal` makes this."""
    return jnp.tril(unconstrained, -1) + jnp.diag(jnp.exp(jnp.diagonal(unconstrained)))


def least_noise(unconstrained: Float[Array, "n n"]) -> np.ndarray:
    """Lower bounds for what `log_diagonal` makes: of the diagonal, of nothing else."""
    bound = np.full(np.shape(unconstrained), -np.inf)
    np.fill_diagonal(bound, np.log(LEAST_NOISE))
    return bound
