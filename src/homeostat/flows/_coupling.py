"""Normalizing flows as families: Gaussians bent by invertible maps, for posteriors that no Gaussian fits.

    z_0 ~ N(mu, sigma^2),   z = T(z_0),   log q(z) = log N(T^-1(z); mu, sigma^2) + log |det dT^-1 / dz|

T is a stack of coupling layers: half of the variables, with a network of theirs, scales and shifts the other half. Sampling
and the density of any given point are both one pass and both exact, so a bound may sample first and ask for the density of the
sample afterwards, and may be differentiated through both. (The inverse autoregressive layers of Kingma et al. (2016) sample as
fast, but the density of a given point costs them one pass for every variable.) The maps come from `flowjax`.
"""

from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
from flowjax.bijections import AbstractBijection, Affine, Chain, Coupling, Flip, Scan, TriangularAffine
from jax.flatten_util import ravel_pytree
from numpyro.distributions import constraints
from paramax import NonTrainable

from ..core import AbstractFamily
from ..distributions import DiagonalGaussian, DiagonalGaussianParams, FullGaussian
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key, Nonlinearity, Params, PyTree, Scalar


class FlowParams(NamedTuple):
    """Every learnable number of a flow, in one vector."""

    weights: Float[Array, " k"]


class ConditionalFlowParams(NamedTuple):
    """What an encoder says of one observation to a flow whose weights all observations share."""

    loc: Float[Array, " d"]
    log_scale: Float[Array, " d"]
    context: Float[Array, " c"]


@final
class FlowDistribution(dist.Distribution):
    """T(z_0) with z_0 ~ N(loc, exp(log_scale)^2); samples are differentiable in everything.

    Args:
        bijection: T, from `flowjax.bijections`, over vectors.
        loc: mean of z_0.
        log_scale: log standard deviation of z_0.
        condition: what T depends on besides z_0, or None.
    """

    pytree_data_fields = ("arrays", "loc", "log_scale", "condition")
    pytree_aux_fields = ("static",)

    def __init__(
        self,
        bijection: AbstractBijection,
        loc: Float[Array, " d"],
        log_scale: Float[Array, " d"],
        condition: Float[Array, " c"] | None = None,
        *,
        validate_args: bool | None = None,
    ):
        # JAX sees only the arrays of a distribution; what else is in the map (functions, sizes) is part of its type.
        self.arrays, self.static = eqx.partition(bijection, eqx.is_array)
        self.loc, self.log_scale, self.condition = loc, log_scale, condition
        super().__init__(batch_shape=(), event_shape=jnp.shape(loc), validate_args=validate_args)

    @property
    def bijection(self) -> AbstractBijection:
        """T."""
        return eqx.combine(self.arrays, self.static)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real_vector

    @property
    def has_rsample(self) -> bool:
        return True

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*sample d"]:
        if sample_shape:
            draw = self.sample
            for _ in sample_shape:
                draw = jax.vmap(draw)
            return draw(jr.split(key, sample_shape))
        noise = jr.normal(key, self.event_shape, self.loc.dtype)
        return self.bijection.transform(self.loc + jnp.exp(self.log_scale) * noise, self.condition)

    def log_prob(self, value: Float[Array, " d"]) -> Scalar:
        start, log_volume = self.bijection.inverse_and_log_det(value, self.condition)
        base = dist.Normal(self.loc, jnp.exp(self.log_scale), validate_args=False)
        return jnp.sum(base.log_prob(start)) + log_volume


class _AbstractFlow(AbstractFamily[Params]):
    """A family whose `fit` is a search by Adam."""

    reparameterized: ClassVar[bool] = True
    bijection: eqx.AbstractVar[AbstractBijection]
    fit_steps: eqx.AbstractVar[int]
    fit_rate: eqx.AbstractVar[float]

    @property
    def dim(self) -> int:
        """Number of variables."""
        return self.bijection.shape[0]

    def _search(self, start: Params, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> Params:
        """Adam on the weighted log likelihood."""
        # Adam divides by the size of the gradient: its floor keeps rounding errors at an optimum from being taken for slopes.
        rate = optax.cosine_decay_schedule(self.fit_rate, max(self.fit_steps, 1))
        optimizer = optax.adam(rate, eps=1e-3)

        def loss(params: Params) -> Scalar:
            return -(weights @ jax.vmap(self(params).log_prob)(samples))

        def body(carry: tuple[Params, optax.OptState], _: None) -> tuple[tuple[Params, optax.OptState], None]:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None  # pyright: ignore[reportReturnType]

        (params, _), _ = jax.lax.scan(body, (start, optimizer.init(start)), None, length=self.fit_steps)  # pyright: ignore[reportArgumentType]
        return params


@final
class NormalizingFlow(_AbstractFlow[FlowParams]):
    """A flow whose every weight is a parameter of the distribution, for one posterior at a time.

    A Gaussian with any covariance comes last, z = m + L g(z_0), so the family holds every Gaussian; it starts at the standard
    one, with g the identity.

    Attributes:
        bijection: the map at the start; in it the networks' last layers are zero.
        fit_steps: number of Adam steps of `fit`.
        fit_rate: their first learning rate, which falls to zero along a cosine.
        minimum_scale: standard deviation added (in quadrature) to the covariance from which `fit` starts.

    References:
        Rezende and Mohamed, "Variational inference with normalizing flows", ICML 2015; Dinh, Sohl-Dickstein and Bengio,
        "Density estimation using Real NVP", ICLR 2017, for the layers.
    """

    bijection: Chain
    fit_steps: int = eqx.field(static=True)
    fit_rate: float = eqx.field(static=True)
    minimum_scale: float = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        *,
        num_layers: int = 4,
        width: int = 32,
        transformer: AbstractBijection | None = None,
        activation: Nonlinearity = jax.nn.tanh,
        fit_steps: int = 300,
        fit_rate: float = 1e-2,
        minimum_scale: float = 1e-6,
        key: Key,
    ):
        """Build the map.

        Args:
            dim: number of variables, at least two.
            num_layers: number of coupling layers.
            width: hidden units of each layer's network.
            transformer: map of one variable, steered by the network: `flowjax.bijections.Affine()` if None. A smooth one
                keeps pathwise gradients unbiased.
            activation: of the networks.
            key: draws the hidden weights.
        """
        layers = _coupling_layers(
            dim, num_layers=num_layers, width=width, transformer=transformer, activation=activation, key=key
        )
        self.bijection = Chain([layers, TriangularAffine(jnp.zeros(dim), jnp.eye(dim))])
        self.fit_steps, self.fit_rate, self.minimum_scale = fit_steps, fit_rate, minimum_scale

    def init(self) -> FlowParams:
        return self._flatten(self.bijection)

    def __call__(self, params: FlowParams) -> Distribution:
        learned, fixed = _partition(self.bijection)
        bijection = eqx.combine(ravel_pytree(learned)[1](params.weights), fixed, is_leaf=_is_fixed)
        zeros = jnp.zeros(self.dim, params.weights.dtype)
        return FlowDistribution(bijection, zeros, zeros, validate_args=False)

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> FlowParams:
        """From the Gaussian with the samples' moments, Adam on the weighted log likelihood: a search, not a closed form."""
        gaussian = FullGaussian(self.dim, self.minimum_scale)
        moments = gaussian.fit(samples, weights)
        start = Chain([self.bijection.bijections[0], TriangularAffine(moments.loc, gaussian.scale_tril(moments))])
        return self._search(self._flatten(start), samples, weights)

    def _flatten(self, bijection: Chain) -> FlowParams:
        return FlowParams(ravel_pytree(_partition(bijection)[0])[0])


@final
class ConditionalFlow(_AbstractFlow[ConditionalFlowParams]):
    """A flow whose weights are shared and learned, and whose parameters an encoder gives: (mu, log sigma, context).

    The encoder's mu and sigma make the Gaussian z_0 and its context enters the network of every layer, as in inverse
    autoregressive flows. The weights are leaves of the family: take their gradient with `equinox.filter_grad` in the family.
    At the start T is the identity, the family that of diagonal Gaussians, and the context without effect.

    Attributes:
        bijection: T, given a context.
        fit_steps: number of Adam steps of `fit`, which leaves the weights as they are.
        fit_rate: their first learning rate, which falls to zero along a cosine.
        minimum_scale: floor of the standard deviations from which `fit` starts.

    References:
        Kingma et al., "Improved variational inference with inverse autoregressive flow", NeurIPS 2016, Algorithm 1, with
        coupling layers in place of autoregressive ones (see the module).
    """

    bijection: Scan
    fit_steps: int = eqx.field(static=True)
    fit_rate: float = eqx.field(static=True)
    minimum_scale: float = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        context_size: int,
        *,
        num_layers: int = 4,
        width: int = 32,
        transformer: AbstractBijection | None = None,
        activation: Nonlinearity = jax.nn.tanh,
        fit_steps: int = 300,
        fit_rate: float = 1e-2,
        minimum_scale: float = 1e-6,
        key: Key,
    ):
        """Build the map.

        Args:
            dim: number of variables, at least two.
            context_size: how many numbers an encoder passes to the layers.
            num_layers: number of coupling layers.
            width: hidden units of each layer's network.
            transformer: see `NormalizingFlow`.
            activation: of the networks.
            key: draws the hidden weights.
        """
        if context_size < 1:
            raise BadInputError(f"Expected a context of at least one number, got context_size={context_size}.")
        self.bijection = _coupling_layers(
            dim,
            num_layers=num_layers,
            width=width,
            transformer=transformer,
            activation=activation,
            context_size=context_size,
            key=key,
        )
        self.fit_steps, self.fit_rate, self.minimum_scale = fit_steps, fit_rate, minimum_scale

    @property
    def context_size(self) -> int:
        """Length of the context."""
        assert self.bijection.cond_shape is not None
        return self.bijection.cond_shape[0]

    def init(self) -> ConditionalFlowParams:
        zeros = jnp.zeros(self.dim)
        return ConditionalFlowParams(zeros, zeros, jnp.zeros(self.context_size))

    def __call__(self, params: ConditionalFlowParams) -> Distribution:
        return FlowDistribution(self.bijection, params.loc, params.log_scale, params.context, validate_args=False)

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> ConditionalFlowParams:
        """From the best Gaussian beneath a context of zero, Adam on the weighted log likelihood: a search."""
        context = jnp.zeros(self.context_size, samples.dtype)
        beneath = jax.vmap(lambda z: self.bijection.inverse(z, context))(samples)
        moments: DiagonalGaussianParams = DiagonalGaussian(self.dim, self.minimum_scale).fit(beneath, weights)
        start = ConditionalFlowParams(moments.loc, moments.log_scale, context)
        return self._search(start, samples, weights)


def _coupling_layers(
    dim: int,
    *,
    num_layers: int,
    width: int,
    transformer: AbstractBijection | None,
    activation: Nonlinearity,
    context_size: int | None = None,
    key: Key,
) -> Scan:
    """A stack of coupling layers with one hidden layer each, the order of the variables reversed in between.

    The last layers of the networks are zero, so that every layer starts as the transformer itself, by default the identity.
    """
    if dim < 2:
        raise BadInputError(f"Expected a flow over at least two variables, got dim={dim}: use `DiagonalGaussian`.")
    if num_layers < 1 or width < 1:
        raise BadInputError(
            f"Expected at least one layer and one hidden unit, got num_layers={num_layers} and width={width}."
        )
    scalar = Affine() if transformer is None else transformer

    def layer(layer_key: Key) -> Chain:
        coupling = Coupling(
            layer_key,
            transformer=scalar,
            untransformed_dim=dim // 2,
            dim=dim,
            cond_dim=context_size,
            nn_width=width,
            nn_depth=1,
            nn_activation=activation,
        )
        last = lambda c: (c.conditioner.layers[-1].weight, c.conditioner.layers[-1].bias)  # noqa: E731
        return Chain([eqx.tree_at(last, coupling, replace_fn=jnp.zeros_like), Flip((dim,))])

    return Scan(eqx.filter_vmap(layer)(jr.split(key, num_layers)))


def _is_fixed(node: PyTree) -> bool:
    return isinstance(node, NonTrainable)


def _partition(bijection: AbstractBijection) -> tuple[PyTree, PyTree]:
    """What is learned of a map, and the rest, to which belongs what flowjax marks as fixed."""
    return eqx.partition(bijection, eqx.is_inexact_array, is_leaf=_is_fixed)
