"""Conjugate priors over the parameters of exponential families, as pseudo-observations of a fixed centre.

    log p(theta) = -n sum_k KL(p(x | centre_k) || p(x | theta_k)) + const

Seen as a density of the natural parameters, in which it has its mode at the centre, this is

    Dirichlet(n pi) for probabilities,  beta(n p, n (1 - p)) for shares,  gamma(n lambda, n) for rates (shape and rate), and for
    N(mu, R) the normal-inverse-Wishart with mean m, kappa = n, Psi = n S and nu = n + d + 2,

with pi, p, lambda, m and S those of the centre. It is proper for every n > 0 if nothing about the centre is certain, and the mode
of the posterior is the maximum of the likelihood of the data and of n observations like the centre.

References:
    Diaconis and Ylvisaker, "Conjugate priors for exponential families", 1979, Theorem 1; the normal-inverse-Wishart in
    EM: Fraley and Raftery, "Bayesian regularization for normal mixture estimation and model-based clustering", 2007.
"""

from typing import Generic, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer

from ...results import BadInputError
from ...typing import Array, Coefficient, Float, Scalar

Part = TypeVar("Part")


@final
class ConjugatePrior(eqx.Module, Generic[Part]):
    """Pseudo-observations of a fixed centre, for each distribution of a part of a model (see the module).

    Attributes:
        centre: a part of the same kind and shape.
        count: n > 0, the number of pseudo-observations of each distribution, a row of a transition matrix for instance.
    """

    centre: Part
    count: Coefficient = 1.0

    def __check_init__(self):
        if not isinstance(self.count, Tracer) and isinstance(self.count, float | int | Array) and not self.count > 0.0:
            raise BadInputError(
                f"Expected a positive number of pseudo-observations, got count={self.count}: pass None in place of the prior for "
                f"maximum likelihood."
            )


def pseudo_observations(prior: ConjugatePrior[Part] | None, now: Part) -> tuple[Coefficient, Part]:
    """How many observations a prior adds to the data, and their centre; without one none, of the present part."""
    return (0.0, now) if prior is None else (prior.count, prior.centre)


def most_probable_logits(
    counts: Float[Array, "*rows v"], prior: ConjugatePrior[Array] | None, now: Float[Array, "*rows v"]
) -> Float[Array, "*rows v"]:
    """Normalised log probabilities for counts and a prior on logits; a row that counted nothing is uniform without one."""
    count, centre = pseudo_observations(prior, now)
    return log_of(counts + count * jax.nn.softmax(centre, axis=-1))


def uniform_logits(logits: Float[Array, "*rows v"]) -> Float[Array, "*rows v"]:
    """Equal logits for all that is possible: the centre of a prior that knows nothing."""
    return jnp.where(logits > -jnp.inf, 0.0, -jnp.inf).astype(logits.dtype)


def discrete_divergence(centre: Float[Array, "*rows v"], logits: Float[Array, "*rows v"]) -> Scalar:
    """Sum over rows of KL(centre || logits) in nats; what the centre excludes adds nothing."""
    log_centre, log_now = jax.nn.log_softmax(centre, axis=-1), jax.nn.log_softmax(logits, axis=-1)
    possible = log_centre > -jnp.inf
    return jnp.sum(jnp.where(possible, jnp.exp(log_centre) * (log_centre - jnp.where(possible, log_now, 0.0)), 0.0))


def log_of(weights: Float[Array, "... k"]) -> Float[Array, "... k"]:
    """Normalised log weights, -inf where a weight is zero; rows without any weight become uniform. Gradients stay finite."""
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = jnp.where(total > 0.0, weights, 1.0)
    share = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return jnp.where(share > 0.0, jnp.log(jnp.where(share > 0.0, share, 1.0)), -jnp.inf)
