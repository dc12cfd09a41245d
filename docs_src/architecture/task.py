"""A new task: sensors that all follow one quantity, each with a gain and a noise that are learned."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from homeostat import infer
from homeostat.core import AbstractModel
from homeostat.data import AbstractRows, ArrayRows, permutation
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import ModelWithEngine, free_energy_descent
from homeostat.inference.engines import NaturalGradient
from homeostat.objectives import AbstractWeighting, Evidence, FreeEnergy, Unweighted
from homeostat.results import BadInputError
from homeostat.train import InMemoryLoader
from homeostat.workflow import AbstractFitted, AbstractOptions, AbstractTask, Outcome, fit, make_optimizer


@final
class Sensors(AbstractModel):
    """z ~ N(0, 1), x_i ~ N(g_i z, sigma_i^2); gains g and log sigma are learned."""

    gains: jax.Array
    log_sigma: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def emission(self, state):
        return dist.Normal(self.gains * state, jnp.exp(self.log_sigma)).to_event(1)


class Description(NamedTuple):
    """What of the data the model must know."""

    sensors: int
    fingerprint: int
    likelihood: str = "gaussian"


class System(NamedTuple):
    """What is trained."""

    options: AbstractOptions
    description: Description
    learned: ModelWithEngine
    weighting: AbstractWeighting = Unweighted()

    def learner(self):
        return free_energy_descent(self.learned, FullGaussian(1), make_optimizer(self.options), Cubature())


class FittedSensors(AbstractFitted[AbstractRows, System]):
    """What the sensors say of the quantity."""

    def open(self, data, *, message=None):
        return self.task.open(data, message=message)

    def energies(self, rows, *, key):
        """Means and free energies of the posteriors of all rows."""
        model, engine = self.selected.learned.model, self.selected.learned.engine

        def one(row):
            found = infer(FreeEnergy(model, Cubature()), engine, FullGaussian(1), Evidence(row), key=key, num_steps=1)
            return found.params.loc, found.energy_nats

        return jax.jit(jax.vmap(one))(jnp.asarray(np.concatenate([*rows.chunks(4096)])))

    def infer(self, data, *, key, out=None, on_progress=None):
        mean, energy = self.energies(self.open(data), key=key)
        return Outcome({"free_energy_nats": float(energy.mean())}, {"mean": np.asarray(mean)})

    def evaluate(self, data, *, key, on_progress=None):
        return Outcome(self.infer(data, key=key).numbers, {})

    def sample(self, number, *, key):
        model = self.selected.learned.model
        states = jax.vmap(model.initial().sample)(jax.random.split(key, number))
        return Outcome({}, {"sample": np.asarray(jax.vmap(lambda z: model.emission(z).sample(key))(states))})

    def beginning(self, data):
        return data

    def measure(self, data, train, context, *, key):
        return dict(self.evaluate(data, key=key).numbers)

    def report(self, data, context, *, key):
        context.say(f"gains {np.asarray(self.selected.learned.model.gains).round(2).tolist()}")


@final
@dataclass(frozen=True)
class SensorsTask(AbstractTask[AbstractRows, System]):
    """Sensors of one quantity."""

    name: ClassVar[str] = "sensors"
    unit: ClassVar[str] = "row"
    per: ClassVar[str] = "row"
    options: AbstractOptions = AbstractOptions(learning_rate=0.03, steps=600, batch_size=64, validate_every=100)

    def check(self):
        if self.options.steps < 1:
            raise BadInputError(f"Expected at least one update, got steps={self.options.steps}.")

    def open(self, data, *, message=None):
        return data if isinstance(data, AbstractRows) else ArrayRows(data, "the sensors")

    def describe(self, data, train):
        return Description(data.shape[0], data.fingerprint())

    def announce(self, description, train, validation):
        return [f"{len(train)} rows of {description.sensors} sensors"]

    def build(self, description, *, key):
        model = Sensors(jnp.ones(description.sensors), jnp.zeros(description.sensors))
        return System(self.options, description, ModelWithEngine(model, NaturalGradient(rate=1.0)))

    def loader(self, system, train, seed):
        rows = np.concatenate([*train.chunks(4096)])
        return InMemoryLoader(rows, self.options.batch_size, lambda epoch: permutation(len(rows), seed, epoch))

    def offset_nats(self, system, train):
        return 0.0

    def score(self, system, selected, data, *, key):
        return self.fitted(system, selected).evaluate(data, key=key).numbers["free_energy_nats"]

    def fitted(self, system, selected):
        return FittedSensors(self, system, selected)


key = jax.random.key(0)
truth = Sensors(jnp.asarray([2.0, -1.0, 0.5]), jnp.log(jnp.asarray([0.5, 0.2, 1.0])))
covariance = np.outer(truth.gains, truth.gains) + np.diag(np.exp(2.0 * truth.log_sigma))
rows = np.random.default_rng(0).multivariate_normal(np.zeros(3), covariance, size=2000).astype(np.float32)
fitted = fit(SensorsTask(), rows[:1600], key=key)
learned = fitted.evaluate(rows[1600:], key=key).numbers["free_energy_nats"]
exact = -dist.MultivariateNormal(jnp.zeros(3), jnp.asarray(covariance)).log_prob(jnp.asarray(rows[1600:])).mean()
print(fitted.selected.learned.model.gains, learned, exact)
assert abs(learned - exact) < 0.02
