"""Recognition networks of whole paths: what `Direct` needs for amortized structured smoothing.

    direct form:    R_t, S_t and mu_t are outputs of the network
    product form:   q(z_{1:T}) ~ s(z_{1:T}) prod_t N(z_t; m_t, C_t)

In the product form the network reads off each observation what it says about its own state, m_t and C_t, and a chain s with
learned linear dynamics makes the path smooth; a missing observation contributes no factor. Where the model is linear and
Gaussian the exact posterior has this form, with s the prior.
"""

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from numpyro.distributions.transforms import LowerCholeskyTransform

from ...core import AbstractEngine
from ...distributions import (
    AbstractRecursion,
    BlockPrecision,
    BlockTridiagonalParams,
    GaussianMoments,
    PathGaussian,
    PathNatural,
    Sequential,
    natural_markov,
)
from ...nn import MLP, AbstractRecurrent
from ...objectives import PathEvidence
from ...results import BadInputError
from ...typing import Any, Array, Bool, Float, Key


def sequence_inputs(evidence: PathEvidence) -> Float[Array, "time n"]:
    """What a recognition network reads: observations with zeros where missing, the mask of what is known, and a_{t-1}.

    n = 2 m + a; the first step has no action before it and reads zeros. Where measurements bring their own noise its Cholesky
    factor follows, row by row below the diagonal, then the logarithm of the diagonal, with zeros where the measurement is missing:
    n = 2 m + a + m (m + 1) / 2. Beyond the end of a padded sequence everything is zero.
    """
    values, known = _observed_inputs(evidence)
    parts = [jnp.where(known > 0.0, values, 0.0), known, _actions_before(evidence, values)]
    if evidence.noise is not None:
        parts.append(_noise_inputs(evidence.noise, known > 0.0))
    return jnp.where(evidence.inside[:, None], jnp.concatenate(parts, axis=1), 0.0)


def _noise_inputs(noise: Float[Array, "time m m"], known: Bool[Array, "time m"]) -> Float[Array, "time k"]:
    """The factors of what is known as unconstrained vectors."""
    both = known[:, :, None] & known[:, None, :]
    eye = jnp.eye(noise.shape[-1], dtype=noise.dtype)
    return jax.vmap(lambda factor: jnp.asarray(LowerCholeskyTransform().inv(factor)))(jnp.where(both, noise, eye[None]))


def _actions_before(evidence: PathEvidence, like: Array) -> Float[Array, "time a"]:
    leaves = [
        jnp.reshape(leaf, (evidence.time - 1, -1)).astype(like.dtype) for leaf in jax.tree.leaves(evidence.actions)
    ]
    if not leaves:
        return jnp.zeros((evidence.time, 0), like.dtype)
    actions = jnp.where(evidence.inside[1:, None], jnp.concatenate(leaves, axis=1), 0.0)
    return jnp.concatenate([jnp.zeros((1, actions.shape[1]), like.dtype), actions])


def _observed_inputs(evidence: PathEvidence) -> tuple[Float[Array, "time m"], Float[Array, "time m"]]:
    """Observations as they stand, and 1 where they are known."""
    leaves = [jnp.reshape(leaf, (evidence.time, -1)) for leaf in jax.tree.leaves(evidence.observations)]
    values = jnp.concatenate([leaf.astype(jnp.result_type(leaf, float)) for leaf in leaves], axis=1)
    if evidence.observed is None:
        known = jnp.ones_like(values)
    else:
        masks = [jnp.reshape(leaf, (evidence.time, -1)) for leaf in jax.tree.leaves(evidence.observed)]
        known = jnp.concatenate(masks, axis=1).astype(values.dtype)
    return values, known


class AbstractSequenceNetwork(eqx.Module):
    """Maps a sequence of vectors to a sequence of vectors of the same length."""

    @abc.abstractmethod
    def __call__(
        self, inputs: Float[Array, "time n"], inside: Bool[Array, " time"] | None = None
    ) -> Float[Array, "time k"]:
        """Outputs, one for each step.

        Args:
            inputs: zeros at steps that are padding.
            inside: which steps exist; None if all do. What comes out for them does not depend on the others.
        """


@final
class Stepwise(AbstractSequenceNetwork):
    """The same network at every step, which reads that step and `window` steps before and after it.

    Attributes:
        network: maps [(2 window + 1) n] to [k].
        window: steps on each side; beyond the ends they are zeros.
    """

    network: Callable[[Array], Array]
    window: int = eqx.field(static=True, default=0)

    def __call__(
        self, inputs: Float[Array, "time n"], inside: Bool[Array, " time"] | None = None
    ) -> Float[Array, "time k"]:
        time, size = inputs.shape
        padding = jnp.zeros((self.window, size), inputs.dtype)
        padded = jnp.concatenate([padding, inputs, padding])
        around = [padded[shift : shift + time] for shift in range(2 * self.window + 1)]
        return jax.vmap(self.network)(jnp.concatenate(around, axis=1))


@final
class Bidirectional(AbstractSequenceNetwork):
    """A recurrent network from each end, and a readout of both at every step.

    Attributes:
        forward: reads the past.
        backward: reads the future.
        readout: maps both outputs side by side to [k].
    """

    forward: AbstractRecurrent
    backward: AbstractRecurrent
    readout: Callable[[Array], Array]

    def __call__(
        self, inputs: Float[Array, "time n"], inside: Bool[Array, " time"] | None = None
    ) -> Float[Array, "time k"]:
        exists = jnp.ones(inputs.shape[0], bool) if inside is None else inside

        def run(network: AbstractRecurrent, reverse: bool) -> Array:
            def body(hidden, step):
                x, here = step
                output, moved = network(x, hidden)
                # From its end on a padded sequence is read backwards as if it ended there.
                return jax.tree.map(lambda new, old: jnp.where(here, new, old), moved, hidden), output

            return jax.lax.scan(body, network.init(), (inputs, exists), reverse=reverse)[1]

        both = jnp.concatenate([run(self.forward, False), run(self.backward, True)], axis=1)
        return jax.vmap(self.readout)(both)


@final
class ProductForm(eqx.Module):
    """q ~ s prod_t N(z_t; m_t, C_t), with s a linear-Gaussian chain that starts anywhere (see the module).

    Attributes:
        network: maps what was seen to m_t and the Cholesky factor of C_t^{-1}, d + d (d + 1) / 2 outputs.
        matrix: A of the chain, [d, d].
        control: B of the chain, by which a_t moves it, [d, a].
        offset: c of the chain, [d].
        scale_vector: Cholesky factor of its noise (the logarithm of the diagonal last), [d (d + 1) / 2].
        first_loc: mean of its first state, [d].
        first_scale_vector: Cholesky factor of its first state's covariance, likewise.
        recursion: in which order the chain is worked through; `Structured` and `smoothing_descent` put their own in its place.

    References:
        Archer et al., "Black box variational inference for state space models", 2015, Sec. 3.2.
    """

    network: AbstractSequenceNetwork
    matrix: Float[Array, "d d"]
    control: Float[Array, "d a"]
    offset: Float[Array, " d"]
    scale_vector: Float[Array, " k"]
    first_loc: Float[Array, " d"]
    first_scale_vector: Float[Array, " k"]
    recursion: AbstractRecursion = Sequential()

    @classmethod
    def networks(
        cls,
        observed: int,
        dim: int,
        *,
        actions: int = 0,
        noise: int = 0,
        width: int = 32,
        depth: int = 1,
        window: int = 0,
        key: Key,
    ) -> "ProductForm":
        """A multilayer perceptron at every step, and a random walk with unit steps as the chain.

        Args:
            observed: numbers in one observation, m.
            dim: d.
            actions: numbers in one action, a.
            noise: numbers in the noise factor of one measurement, m (m + 1) / 2; 0 for plain observations.
            width: units of a hidden layer.
            depth: hidden layers.
            window: steps before and after that the network reads as well.
            key: for the weights.
        """
        entries = dim * (dim + 1) // 2
        inputs = (2 * observed + actions + noise) * (2 * window + 1)
        network = MLP(inputs, dim + entries, width, depth, key=key)
        zeros, still = jnp.zeros(entries), jnp.zeros(dim)
        return cls(Stepwise(network, window), jnp.eye(dim), jnp.zeros((dim, actions)), still, zeros, still, zeros)

    def __call__(self, evidence: PathEvidence) -> BlockTridiagonalParams:
        dim = self.matrix.shape[0]
        output = _read(self.network, evidence, dim + dim * (dim + 1) // 2)
        moved = _actions_before(evidence, output)[1:]
        if moved.shape[1] != self.control.shape[1]:
            raise BadInputError(
                f"Expected {self.control.shape[1]} numbers in an action, got {moved.shape[1]}: pass actions=... to `networks`."
            )
        centres, vectors = output[:, :dim], output[:, dim:]
        roots = jax.vmap(LowerCholeskyTransform())(vectors)
        known = jnp.any(_observed_inputs(evidence)[1] > 0.0, axis=1)
        precisions = jnp.where(known[:, None, None], roots @ jnp.swapaxes(roots, 1, 2), 0.0)
        steps = evidence.time - 1
        tril = LowerCholeskyTransform()(self.scale_vector)
        # The step beyond the end must not be coupled to the last state: it would say something about it.
        inside = evidence.inside[1:]
        chain = natural_markov(
            GaussianMoments(self.first_loc, LowerCholeskyTransform()(self.first_scale_vector)),
            jnp.where(inside[:, None, None], self.matrix[None], 0.0),
            jnp.where(inside[:, None], self.offset[None, :] + moved @ self.control.T, 0.0),
            jnp.broadcast_to(tril, (steps, dim, dim)),
        )
        shift = chain.shift + jnp.einsum("tij,tj->ti", precisions, centres)
        precision = BlockPrecision(chain.precision.diagonal + precisions, chain.precision.coupling)
        return PathGaussian(evidence.time, dim, recursion=self.recursion).from_natural(PathNatural(shift, precision))


def in_order(engine: AbstractEngine, recursion: AbstractRecursion) -> AbstractEngine:
    """The engine with every product form in it worked through in this order."""

    def ordered(node: Any) -> Any:
        return replace(node, recursion=recursion) if isinstance(node, ProductForm) else node

    return jax.tree.map(ordered, engine, is_leaf=lambda node: isinstance(node, ProductForm))


@final
class DirectForm(eqx.Module):
    """mu_t, R_t and S_t as outputs of a network: any block-tridiagonal posterior, with no structure but what is learned.

    Attributes:
        network: maps what was seen to d + d (d + 1) / 2 + d^2 outputs; the last step's S is not used.
        dim: d.

    References:
        Archer et al., "Black box variational inference for state space models", 2015, Sec. 3.1.
    """

    network: AbstractSequenceNetwork
    dim: int = eqx.field(static=True)

    @classmethod
    def networks(
        cls,
        observed: int,
        dim: int,
        *,
        actions: int = 0,
        noise: int = 0,
        width: int = 32,
        depth: int = 1,
        window: int = 1,
        key: Key,
    ) -> "DirectForm":
        """A multilayer perceptron at every step; arguments as for `ProductForm.networks`."""
        network_key, _ = jr.split(key)
        outputs = dim + dim * (dim + 1) // 2 + dim**2
        # Blocks of random size would multiply along the path: at first the states are all but independent.
        size = (2 * observed + actions + noise) * (2 * window + 1)
        network = MLP(size, outputs, width, depth, key=network_key, output_gain=0.1)
        return cls(Stepwise(network, window), dim)

    def __call__(self, evidence: PathEvidence) -> BlockTridiagonalParams:
        entries = self.dim * (self.dim + 1) // 2
        output = _read(self.network, evidence, self.dim + entries + self.dim**2)
        loc, vectors, blocks = jnp.split(output, [self.dim, self.dim + entries], axis=1)
        return BlockTridiagonalParams(loc, vectors, blocks[:-1].reshape(-1, self.dim, self.dim))


def _read(network: AbstractSequenceNetwork, evidence: PathEvidence, expected: int) -> Float[Array, "time k"]:
    inputs = sequence_inputs(evidence)
    try:
        output = network(inputs, None if evidence.length is None else evidence.inside)
    except TypeError as error:
        if evidence.noise is None:
            raise
        raise BadInputError(
            f"Expected a recognition network of {inputs.shape[1]} inputs at each step, got one that cannot read them: for "
            f"measurements that bring their own noise pass noise=m (m + 1) / 2 to `networks`."
        ) from error
    if output.shape[1] != expected:
        raise BadInputError(f"Expected a recognition network with {expected} outputs, got {output.shape[1]}.")
    return output
