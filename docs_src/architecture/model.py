"""A new model: where is a source, given its distances to three beacons?"""

from typing import final

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from homeostat import infer
from homeostat.core import AbstractModel
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference.engines import NaturalGradient
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.testing import check_model


@final
class Beacons(AbstractModel):
    """z ~ N(0, I) in the plane, x_i ~ N(|z - b_i|, sigma^2).

    Attributes:
        places: b, one row a beacon, in metres.
        scale: sigma, in metres.
    """

    places: jax.Array
    scale: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(2), 1.0).to_event(1)

    def emission(self, state):
        distances = jnp.sqrt(jnp.sum((state - self.places) ** 2, axis=1))
        return dist.Normal(distances, self.scale).to_event(1)


key = jax.random.key(0)
model = Beacons(jnp.asarray([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]]), jnp.asarray(0.2))
check_model(model, key=key)
evidence = Evidence(model.emission(jnp.asarray([0.7, -0.4])).sample(key))
posterior = infer(
    FreeEnergy(model, Cubature()), NaturalGradient(rate=0.5), FullGaussian(2), evidence, key=key, num_steps=40
)
# The evidence by sums over a fine grid.
axis = jnp.linspace(-5.0, 5.0, 1001)
grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
joint = jax.vmap(lambda z: model.initial().log_prob(z) + model.emission(z).log_prob(evidence.observation))(grid)
log_evidence = jax.scipy.special.logsumexp(joint) + 2.0 * jnp.log(axis[1] - axis[0])
weights = jax.nn.softmax(joint)
np.testing.assert_allclose(posterior.params.loc, weights @ grid, atol=0.02)
assert -0.01 < posterior.energy_nats + log_evidence < 0.05, "the bound is nearly tight"
