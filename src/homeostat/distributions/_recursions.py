"""Recursions along a chain of vectors, one step after the other or in logarithmic depth.

    affine:     y_T = c_T,   y_t = G_t y_{t+1} + c_t
    marginals:  L_T = D_T,   L_t L_t^T = D_t D_t^T + G_t L_{t+1} L_{t+1}^T G_t^T
    Cholesky:   X_1 = A_1,   X_{t+1} = A_{t+1} - B_t X_t^{-1} B_t^T,   R_t R_t^T = X_t,   S_t = B_t R_t^{-T}

All three are compositions of maps of one closed kind, hence prefix sums: of affine maps, of affine maps with noise, and of maps
X -> P - M (X + N)^{-1} M^T. A composition of the last kind is again one, with W = P_1 + N_2 the Schur complement of what lies
between,

    P = P_2 - M_2 W^{-1} M_2^T,   M = M_2 W^{-1} M_1,   N = N_1 - M_1^T W^{-1} M_1,

which inverts only positive definite matrices. `Parallel` does more arithmetic in fewer steps that depend on one another, which
pays on accelerators and for long chains.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from cuthbertlib.kalman.smoothing import SmootherScanElement, smoothing_operator
from jax.scipy.linalg import solve_triangular

from ..typing import Array, Float
from ._matrix_normal_inverse_wishart import positive_columns, positive_tria


class BlockPrecision(NamedTuple):
    """A symmetric block-tridiagonal matrix.

    Attributes:
        diagonal: A_t, [time, d, d].
        coupling: B_t, the block in row t + 1 and column t, [time - 1, d, d].
    """

    diagonal: Float[Array, "time d d"]
    coupling: Float[Array, "steps d d"]

    def times(self, path: Float[Array, "time d"]) -> Float[Array, "time d"]:
        """The product with a path."""
        result = jnp.einsum("tij,tj->ti", self.diagonal, path)
        result = result.at[1:].add(jnp.einsum("tij,tj->ti", self.coupling, path[:-1]))
        return result.at[:-1].add(jnp.einsum("tij,ti->tj", self.coupling, path[1:]))


class BlockFactor(NamedTuple):
    """Its lower Cholesky factor, which is block-bidiagonal.

    Attributes:
        diagonal: R_t, lower triangular, [time, d, d].
        coupling: S_t, the block in row t + 1 and column t, [time - 1, d, d].
    """

    diagonal: Float[Array, "time d d"]
    coupling: Float[Array, "steps d d"]


class AbstractRecursion(eqx.Module):
    """In which order a chain is worked through; the results are the same."""

    @abc.abstractmethod
    def cholesky(self, precision: BlockPrecision) -> BlockFactor:
        """The Cholesky factor; NaN where the matrix is not positive definite."""

    @abc.abstractmethod
    def affine(self, gains: Float[Array, "steps d d"], offsets: Float[Array, "time d"]) -> Float[Array, "time d"]:
        """y_T = c_T, y_t = G_t y_{t+1} + c_t."""

    @abc.abstractmethod
    def marginals(self, gains: Float[Array, "steps d d"], trils: Float[Array, "time d d"]) -> Float[Array, "time d d"]:
        """L_T = D_T, L_t L_t^T = D_t D_t^T + G_t L_{t+1} L_{t+1}^T G_t^T; lower triangular with positive diagonals."""


@final
class Sequential(AbstractRecursion):
    """One step after the other: the least arithmetic."""

    def cholesky(self, precision: BlockPrecision) -> BlockFactor:
        def body(coupling: Array, inputs: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            diagonal, below = inputs
            factor = jnp.linalg.cholesky(diagonal - coupling @ coupling.T)
            coupling = solve_triangular(factor, below.T, lower=True).T
            return coupling, (factor, coupling)

        start = jnp.zeros_like(precision.diagonal[0])
        padded = jnp.concatenate([precision.coupling, start[None]])
        _, (diagonal, coupling) = jax.lax.scan(body, start, (precision.diagonal, padded))
        return BlockFactor(diagonal, coupling[:-1])

    def affine(self, gains: Float[Array, "steps d d"], offsets: Float[Array, "time d"]) -> Float[Array, "time d"]:
        def body(later: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            gain, offset = inputs
            value = gain @ later + offset
            return value, value

        _, values = jax.lax.scan(body, offsets[-1], (gains, offsets[:-1]), reverse=True)
        return jnp.concatenate([values, offsets[-1:]])

    def marginals(self, gains: Float[Array, "steps d d"], trils: Float[Array, "time d d"]) -> Float[Array, "time d d"]:
        def body(later: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            gain, tril = inputs
            value = positive_tria(jnp.concatenate([tril, gain @ later], axis=1))
            return value, value

        last = positive_columns(trils[-1])
        _, values = jax.lax.scan(body, last, (gains, trils[:-1]), reverse=True)
        return jnp.concatenate([values, last[None]])


@final
class Parallel(AbstractRecursion):
    """Prefix sums: a number of dependent steps that grows with the logarithm of the length.

    References:
        Sarkka and Garcia-Fernandez, "Temporal parallelization of Bayesian smoothers", IEEE Transactions on Automatic Control 66
        (2021); the operator of the marginals is cuthbert's.
    """

    def cholesky(self, precision: BlockPrecision) -> BlockFactor:
        dim, dtype = precision.diagonal.shape[-1], precision.diagonal.dtype
        steps = precision.coupling.shape[0]
        # The first map is constant, so what it adds to its argument does not matter as long as it can be inverted.
        added = jnp.concatenate([jnp.eye(dim, dtype=dtype)[None], jnp.zeros((steps, dim, dim), dtype)])
        through = jnp.concatenate([jnp.zeros((1, dim, dim), dtype), precision.coupling])
        complements = jax.lax.associative_scan(jax.vmap(_compose), (precision.diagonal, through, added))[0]
        factors = jnp.linalg.cholesky(complements)
        solve = jax.vmap(lambda factor, below: solve_triangular(factor, below.T, lower=True).T)
        return BlockFactor(factors, solve(factors[:-1], precision.coupling))

    def affine(self, gains: Float[Array, "steps d d"], offsets: Float[Array, "time d"]) -> Float[Array, "time d"]:
        def compose(later: tuple[Array, Array], earlier: tuple[Array, Array]) -> tuple[Array, Array]:
            return earlier[0] @ later[0], earlier[0] @ later[1] + earlier[1]

        elements = (_ended(gains), offsets)
        return jax.lax.associative_scan(jax.vmap(compose), elements, reverse=True)[1]

    def marginals(self, gains: Float[Array, "steps d d"], trils: Float[Array, "time d d"]) -> Float[Array, "time d d"]:
        elements = SmootherScanElement(jnp.zeros(trils.shape[:-1], trils.dtype), _ended(gains), trils)
        roots = jax.lax.associative_scan(jax.vmap(smoothing_operator), elements, reverse=True).D
        return jax.vmap(positive_columns)(roots)


def _ended(gains: Float[Array, "steps d d"]) -> Float[Array, "time d d"]:
    """Nothing comes after the last vector."""
    return jnp.concatenate([gains, jnp.zeros((1, *gains.shape[1:]), gains.dtype)])


def _compose(first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    between = jnp.linalg.cholesky(first[0] + second[2])
    incoming = solve_triangular(between, first[1], lower=True)
    outgoing = solve_triangular(between, second[1].T, lower=True)
    return second[0] - outgoing.T @ outgoing, outgoing.T @ incoming, first[2] - incoming.T @ incoming
