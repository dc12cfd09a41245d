"""Gaussians over whole paths whose precision is block-tridiagonal, kept as its Cholesky factor.

    z_{1:T} ~ N(mu, Lambda^{-1}),   Lambda = R R^T,   R_{t,t} = R_t lower triangular,   R_{t+1,t} = S_t

Lambda is block-tridiagonal exactly when the path is a Markov chain. Read backwards,

    p(z_t | z_{t+1}) = N(mu_t + G_t (z_{t+1} - mu_{t+1}), (R_t R_t^T)^{-1}),   G_t = -R_t^{-T} S_t^T,

so sampling, marginals and lag-one covariances are one backward pass, the density and the entropy none at all: O(T).

References:
    Archer, Park, Buesing, Cunningham and Paninski, "Black box variational inference for state space models", 2015.
"""

from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions import constraints
from numpyro.distributions.transforms import LowerCholeskyTransform

from ..core import AbstractFamily
from ..results import BadInputError
from ..typing import Array, Float, Int, Key, Scalar
from ._closed_forms import GaussianMoments
from ._matrix_normal_inverse_wishart import positive_tria
from ._recursions import AbstractRecursion, BlockFactor, BlockPrecision, Sequential

_LOG_TWO_PI = 1.8378770664093453


class PathMarginals(NamedTuple):
    """Moments of a path, step by step and between neighbours.

    Attributes:
        loc: E[z_t], [time, d].
        scale_tril: lower Cholesky factors of Cov(z_t), [time, d, d].
        gains: G_t of E[z_t | z_{t+1}], [time - 1, d, d].
        conditional_trils: lower Cholesky factors of Cov(z_t | z_{t+1}), [time - 1, d, d].
    """

    loc: Float[Array, "time d"]
    scale_tril: Float[Array, "time d d"]
    gains: Float[Array, "steps d d"]
    conditional_trils: Float[Array, "steps d d"]

    @property
    def covariance(self) -> Float[Array, "... time d d"]:
        """Cov(z_t), [time, d, d]."""
        return self.scale_tril @ _transpose(self.scale_tril)

    @property
    def cross_covariances(self) -> Float[Array, "... steps d d"]:
        """Cov(z_{t+1}, z_t) = Cov(z_{t+1}) G_t^T, [time - 1, d, d]."""
        return self.covariance[..., 1:, :, :] @ _transpose(self.gains)

    @property
    def pairs(self) -> GaussianMoments:
        """The joint Gaussians of (z_{t+1}, z_t), in this order, on a leading axis [time - 1]."""
        later, gained = self.scale_tril[1:], self.gains @ self.scale_tril[1:]
        upper = jnp.concatenate([later, jnp.zeros_like(later)], axis=2)
        lower = jnp.concatenate([gained, self.conditional_trils], axis=2)
        loc = jnp.concatenate([self.loc[1:], self.loc[:-1]], axis=1)
        return GaussianMoments(loc, jnp.concatenate([upper, lower], axis=1))


class PathNatural(NamedTuple):
    """Natural parameters of a path: b = Lambda mu and Lambda.

    Attributes:
        shift: b, [time, d].
        precision: Lambda.
    """

    shift: Float[Array, "time d"]
    precision: BlockPrecision


@final
class BlockTridiagonal(dist.Distribution):
    """N(mu, (R R^T)^{-1}) over paths [time, d] (see the module).

    Attributes:
        loc: mu, [time, d].
        diagonal: R_t, lower triangular with positive diagonals, [time, d, d].
        coupling: S_t, [time - 1, d, d].
        recursion: in which order the chain is worked through.
    """

    arg_constraints: ClassVar = {}
    reparametrized_params: ClassVar = ["loc", "diagonal", "coupling"]
    pytree_data_fields = ("loc", "diagonal", "coupling")
    pytree_aux_fields = ("recursion",)

    def __init__(
        self,
        loc: Float[Array, "time d"],
        diagonal: Float[Array, "time d d"],
        coupling: Float[Array, "steps d d"],
        recursion: AbstractRecursion = Sequential(),
        *,
        validate_args: bool | None = None,
    ):
        self.loc, self.diagonal, self.coupling, self.recursion = loc, diagonal, coupling, recursion
        super().__init__(batch_shape=(), event_shape=jnp.shape(loc), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, 2)

    @classmethod
    def from_natural(cls, natural: PathNatural, recursion: AbstractRecursion = Sequential()) -> "BlockTridiagonal":
        """The Gaussian with Lambda mu = b; NaN where Lambda is not positive definite."""
        factor = recursion.cholesky(natural.precision)
        return cls(_solve(factor, natural.shift, recursion), factor.diagonal, factor.coupling, recursion)

    @property
    def factor(self) -> BlockFactor:
        """R, the Cholesky factor of the precision."""
        return BlockFactor(self.diagonal, self.coupling)

    @property
    def natural(self) -> PathNatural:
        """b and Lambda."""
        precision = precision_of(self.factor)
        return PathNatural(precision.times(self.loc), precision)

    @property
    def gains(self) -> Float[Array, "steps d d"]:
        """G_t = -R_t^{-T} S_t^T."""
        return -jax.vmap(lambda r, s: solve_triangular(r, s.T, lower=True, trans=1))(self.diagonal[:-1], self.coupling)

    def sample(self, key: Key | None, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*shape time d"]:
        noise = jr.normal(key, (*sample_shape, *self.event_shape), self.loc.dtype)
        gains = self.gains

        def one(eps: Array) -> Array:
            return self.loc + self.recursion.affine(gains, _solve_transposed(self.diagonal, eps))

        for _ in sample_shape:
            one = jax.vmap(one)
        return one(noise)

    def log_prob(self, value: Float[Array, "*shape time d"]) -> Float[Array, "*shape"]:
        def one(path: Array) -> Scalar:
            whitened = _multiply_transposed(self.factor, path - self.loc)
            return self._log_determinant - 0.5 * (jnp.sum(whitened**2) + path.size * _LOG_TWO_PI)

        for _ in range(jnp.ndim(value) - 2):
            one = jax.vmap(one)
        return one(jnp.asarray(value))

    def entropy(self) -> Scalar:
        return 0.5 * self.loc.size * (1.0 + _LOG_TWO_PI) - self._log_determinant

    @property
    def _log_determinant(self) -> Scalar:
        """log |R|, half of that of the precision."""
        return jnp.sum(jnp.log(jnp.diagonal(self.diagonal, axis1=1, axis2=2)))

    @property
    def mean(self) -> Float[Array, "time d"]:
        return self.loc

    @property
    def variance(self) -> Float[Array, "time d"]:
        return jnp.sum(self.marginals().scale_tril ** 2, axis=-1)

    def marginals(self) -> PathMarginals:
        """Moments of every step and of neighbours, in one backward pass."""
        gains = self.gains
        eye = jnp.broadcast_to(jnp.eye(self.event_shape[1], dtype=self.loc.dtype), self.diagonal.shape)
        roots = jax.vmap(lambda r, one: solve_triangular(r, one, lower=True, trans=1))(self.diagonal, eye)
        trils = jax.vmap(positive_tria)(roots)
        return PathMarginals(self.loc, self.recursion.marginals(gains, trils), gains, trils[:-1])

    def cut(self, length: Int[Array, ""] | int) -> "BlockTridiagonal":
        """The same parameters for the first `length` steps; the others become independent standard normals.

        For padded sequences: what lies beyond the end is then neither coupled to the path nor uncertain in a way that counts.
        """
        inside = jnp.arange(self.event_shape[0]) < length
        eye = jnp.eye(self.event_shape[1], dtype=self.loc.dtype)
        return BlockTridiagonal(
            jnp.where(inside[:, None], self.loc, 0.0),
            jnp.where(inside[:, None, None], self.diagonal, eye[None]),
            jnp.where(inside[1:, None, None], self.coupling, 0.0),
            self.recursion,
            validate_args=False,
        )


def natural_markov(
    initial: GaussianMoments,
    matrices: Float[Array, "steps d d"],
    offsets: Float[Array, "steps d"],
    scale_trils: Float[Array, "steps d d"],
) -> PathNatural:
    """b and Lambda of the path of z_1 ~ N(m, L_1 L_1^T), z_{t+1} = A_t z_t + c_t + L_t eps.

        Lambda_tt = Q_{t-1}^{-1} + A_t^T Q_t^{-1} A_t,   Lambda_{t+1,t} = -Q_t^{-1} A_t,   b_t = Q_{t-1}^{-1} c_{t-1} - A_t^T Q_t^{-1} c_t

    with Q_0 = L_1 L_1^T and c_0 = m. Nothing is factorised here, so a chain may grow: its Cholesky factor would lose all digits, while
    with what observations add to the diagonal it has one.
    """
    whitened = jax.vmap(lambda tril, matrix: solve_triangular(tril, matrix, lower=True))
    trils = jnp.concatenate([initial.scale_tril[None], scale_trils])
    moved = whitened(scale_trils, matrices)
    roots = whitened(trils, jnp.broadcast_to(jnp.eye(trils.shape[1], dtype=trils.dtype), trils.shape))
    diagonal = (_transpose(roots) @ roots).at[:-1].add(_transpose(moved) @ moved)
    means = whitened(trils, jnp.concatenate([initial.loc[None], offsets]))
    shift = jnp.einsum("tji,tj->ti", roots, means).at[:-1].add(-jnp.einsum("tji,tj->ti", moved, means[1:]))
    return PathNatural(shift, BlockPrecision(diagonal, -_transpose(roots[1:]) @ moved))


def precision_of(factor: BlockFactor) -> BlockPrecision:
    """Lambda = R R^T."""
    diagonal = factor.diagonal @ _transpose(factor.diagonal)
    diagonal = diagonal.at[1:].add(factor.coupling @ _transpose(factor.coupling))
    return BlockPrecision(diagonal, factor.coupling @ _transpose(factor.diagonal[:-1]))


class BlockTridiagonalParams(NamedTuple):
    """Unconstrained parameters of a path.

    Attributes:
        loc: mu, [time, d].
        scale_vectors: R_t, row by row below the diagonal, then the logarithm of the diagonal, [time, d (d + 1) / 2].
        coupling: S_t, [time - 1, d, d].
    """

    loc: Float[Array, "time d"]
    scale_vectors: Float[Array, "time k"]
    coupling: Float[Array, "steps d d"]


@final
class PathGaussian(AbstractFamily[BlockTridiagonalParams]):
    """Gaussian Markov paths, N(mu, (R R^T)^{-1}) with R block-bidiagonal.

    Attributes:
        length: T, steps of a path.
        dim: d, variables of each step.
        minimum_scale: standard deviation added (in quadrature) to every variable in `fit`.
        recursion: in which order the chain is worked through.

    References:
        Archer et al., "Black box variational inference for state space models", 2015, Sec. 3.
    """

    reparameterized: ClassVar[bool] = True
    length: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    minimum_scale: float = eqx.field(static=True, default=1e-6)
    recursion: AbstractRecursion = Sequential()

    def __check_init__(self):
        if self.length < 1 or self.dim < 1:
            raise BadInputError(
                f"Expected paths of at least one step of at least one variable, got length={self.length}, dim={self.dim}."
            )

    def init(self) -> BlockTridiagonalParams:
        entries = self.dim * (self.dim + 1) // 2
        return BlockTridiagonalParams(
            jnp.zeros((self.length, self.dim)),
            jnp.zeros((self.length, entries)),
            jnp.zeros((self.length - 1, self.dim, self.dim)),
        )

    def __call__(self, params: BlockTridiagonalParams) -> BlockTridiagonal:
        diagonal = jax.vmap(LowerCholeskyTransform())(params.scale_vectors)
        # Not validated: non-finite parameters travel to `infer`, which reports them in a sentence.
        return BlockTridiagonal(params.loc, diagonal, params.coupling, self.recursion, validate_args=False)

    def params_of(self, distribution: BlockTridiagonal) -> BlockTridiagonalParams:
        """The parameters of a member."""
        vectors = jax.vmap(LowerCholeskyTransform().inv)(distribution.diagonal)
        return BlockTridiagonalParams(distribution.loc, vectors, distribution.coupling)

    def from_natural(self, natural: PathNatural) -> BlockTridiagonalParams:
        """The parameters of the member with these natural parameters."""
        return self.params_of(BlockTridiagonal.from_natural(natural, self.recursion))

    def fit(self, samples: Float[Array, "samples time d"], weights: Float[Array, " samples"]) -> BlockTridiagonalParams:
        """Regression of every z_t on z_{t+1}, which is the maximum-likelihood fit of a Markov chain."""
        loc = jnp.tensordot(weights, samples, axes=1)
        centred = samples - loc[None]
        floor = self.minimum_scale**2 * jnp.eye(self.dim, dtype=loc.dtype)
        covariance = jnp.einsum("n,nti,ntj->tij", weights, centred, centred) + floor[None]
        crossed = jnp.einsum("n,nti,ntj->tij", weights, centred[:, :-1], centred[:, 1:])
        gains = _transpose(jnp.linalg.solve(covariance[1:], _transpose(crossed)))
        rest = jnp.concatenate([covariance[:-1] - gains @ _transpose(crossed), covariance[-1:]])
        rest = jnp.linalg.cholesky(0.5 * (rest + _transpose(rest)))
        eye = jnp.broadcast_to(jnp.eye(self.dim, dtype=loc.dtype), rest.shape)
        roots = jax.vmap(lambda tril, one: solve_triangular(tril, one, lower=True))(rest, eye)
        diagonal = jnp.linalg.cholesky(_transpose(roots) @ roots)
        coupling = -_transpose(_transpose(diagonal[:-1]) @ gains)
        return self.params_of(BlockTridiagonal(loc, diagonal, coupling, self.recursion, validate_args=False))


def require_path(family: AbstractFamily) -> PathGaussian:
    """The family, if it is one of paths."""
    if not isinstance(family, PathGaussian):
        raise BadInputError(
            f"Expected a PathGaussian family, got {type(family).__name__}: this method works on whole paths."
        )
    return family


def _transpose(matrices: Float[Array, "... n m"]) -> Float[Array, "... m n"]:
    return jnp.swapaxes(matrices, -1, -2)


def _solve(factor: BlockFactor, shift: Float[Array, "time d"], recursion: AbstractRecursion) -> Float[Array, "time d"]:
    """Lambda^{-1} b: a forward and a backward substitution."""
    whitened = jax.vmap(lambda r, b: solve_triangular(r, b, lower=True))(factor.diagonal, shift)
    forward = -jax.vmap(lambda r, s: solve_triangular(r, s, lower=True))(factor.diagonal[1:], factor.coupling)
    middle = jnp.flip(recursion.affine(jnp.flip(forward, 0), jnp.flip(whitened, 0)), 0)
    gains = -jax.vmap(lambda r, s: solve_triangular(r, s.T, lower=True, trans=1))(factor.diagonal[:-1], factor.coupling)
    return recursion.affine(gains, _solve_transposed(factor.diagonal, middle))


def _solve_transposed(diagonal: Float[Array, "time d d"], path: Float[Array, "time d"]) -> Float[Array, "time d"]:
    return jax.vmap(lambda r, b: solve_triangular(r, b, lower=True, trans=1))(diagonal, path)


def _multiply_transposed(factor: BlockFactor, path: Float[Array, "time d"]) -> Float[Array, "time d"]:
    """R^T times a path."""
    result = jnp.einsum("tij,ti->tj", factor.diagonal, path)
    return result.at[:-1].add(jnp.einsum("tij,ti->tj", factor.coupling, path[1:]))
