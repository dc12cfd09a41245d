"""A family of your own, checked by the law suite that the library's own families pass."""

from typing import ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from homeostat import AbstractFamily
from homeostat.testing import check_family


class GammaParams(NamedTuple):
    """Logarithm of the mean; the shape of the distribution is fixed."""

    log_mean: jax.Array


@final
class Gamma(AbstractFamily[GammaParams]):
    """Positive variables of fixed shape k = 3: p(x) ~ x^(k-1) exp(-k x / mean)."""

    reparameterized: ClassVar[bool] = True

    def init(self):
        return GammaParams(jnp.zeros(2))

    def __call__(self, params):
        return dist.Gamma(3.0, 3.0 * jnp.exp(-params.log_mean)).to_event(1)

    def fit(self, samples, weights):
        return GammaParams(jnp.log(weights @ samples))


@final
class Careless(AbstractFamily[GammaParams]):
    """The same with a slip: the average of logarithms is not the logarithm of the average."""

    reparameterized: ClassVar[bool] = True
    init, __call__ = Gamma.init, Gamma.__call__

    def fit(self, samples, weights):
        return GammaParams(weights @ jnp.log(samples))


check_family(Gamma(), key=jax.random.key(0))
try:
    check_family(Careless(), key=jax.random.key(0))
except AssertionError as failure:
    print(failure)
else:
    raise AssertionError("The slip was not found.")
