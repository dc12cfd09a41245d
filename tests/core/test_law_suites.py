"""The law suites find faults: each member here breaks one law, and the suite must say which."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
import pytest

import catalogue
from catalogue import EAGER, STRICT
from homeostat.core import (
    AbstractController,
    AbstractEngine,
    AbstractFamily,
    AbstractFilter,
    AbstractGaussianBelief,
    AbstractLearner,
    AbstractMarkovModel,
    AbstractObjective,
    Decision,
    FilterInfo,
    PlanningContext,
    Points,
    StepInfo,
)
from homeostat.distributions import FullGaussian
from homeostat.objectives import FreeEnergy
from homeostat.testing import (
    check_controller,
    check_engine,
    check_expectation,
    check_family,
    check_filter,
    check_learner,
    check_model,
    check_normalisation,
    check_objective,
    check_tightening,
    check_transforms,
)


class Scale(NamedTuple):
    log_scale: jax.Array


class ScaleFamily(AbstractFamily[Scale]):
    """Gaussians of mean zero: a correct family to spoil."""

    reparameterized = True

    def init(self):
        return Scale(jnp.zeros(2))

    def __call__(self, params):
        return dist.Normal(jnp.zeros(2), jnp.exp(params.log_scale)).to_event(1)

    def fit(self, samples, weights):
        return Scale(0.5 * jnp.log(weights @ samples**2 + 1e-12))


class UnweightedFit(ScaleFamily):
    def fit(self, samples, weights):
        return Scale(0.5 * jnp.log(jnp.mean(samples**2, axis=0) + 1e-12))


class DegenerateFit(ScaleFamily):
    def fit(self, samples, weights):
        return Scale(0.5 * jnp.log(weights @ samples**2) + 0.0 * jnp.log(jnp.ptp(samples, axis=0)))


class WrongScale(dist.Normal):
    """Draws with twice the spread that its density has."""

    def sample(self, key, sample_shape=()):
        return self.loc + 2.0 * (super().sample(key, sample_shape) - self.loc)


class SampleFamily(ScaleFamily):
    def __call__(self, params):
        return WrongScale(jnp.zeros(2), jnp.exp(params.log_scale)).to_event(1)


class WrongMass(dist.Normal):
    """A density of mass two."""

    def log_prob(self, value):
        return super().log_prob(value) + jnp.log(2.0)


def test_correct_members_pass(key):
    check_family(ScaleFamily(), key=key, tolerances=STRICT)
    check_filter(Tracker(), MODEL, jnp.zeros(1), jnp.ones(1), key=key, tolerances=STRICT)
    check_controller(Steady(), PlanningContext(MODEL, Tracker(), Point(jnp.ones(1))), key=key, tolerances=STRICT)
    check_learner(Descent(), jnp.ones(2), key=key, tolerances=STRICT)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (UnweightedFit(), "maximises the weighted likelihood|ignores points of no weight"),
        (DegenerateFit(), "of equal points"),
        (SampleFamily(), "the score of samples has mean zero"),
    ],
)
def test_families(family, message, key):
    with pytest.raises(AssertionError, match=message):
        check_family(family, key=key, tolerances=STRICT)


def test_normalisation(key):
    with pytest.raises(AssertionError, match="the density integrates to one"):
        check_normalisation(WrongMass(jnp.zeros(1), 1.0).to_event(1), key=key)


class Spread(catalogue.LinearModel):
    """Observations with twice the spread that their density has."""

    def emission(self, state):
        return WrongScale(jnp.zeros(3), jnp.exp(0.1 * self.weights @ state)).to_event(1)


@pytest.mark.parametrize(("kind", "message"), [(Spread, "mean score")])
def test_models(kind, message, key):
    linear = catalogue.linear_model()
    model = kind(linear.weights, linear.prior_mean, linear.prior_factor, linear.noise)
    with pytest.raises(AssertionError, match=message):
        check_model(model, key=key, tolerances=STRICT)


class Loose(AbstractObjective):
    """A functional above the expectation of its parts."""

    inner: FreeEnergy

    def pointwise(self, value, args, *, key):
        return self.inner.pointwise(value, args, key=key)

    def __call__(self, distribution, args, *, key):
        return self.inner(distribution, args, key=key) + 1.0


class Lopsided(Loose):
    def curvature(self, value, args, *, key):
        return jnp.triu(jnp.ones((2, 2)))


def test_objectives(key):
    case = catalogue.problem(FullGaussian(2))
    for check in (check_expectation, check_tightening):
        with pytest.raises(AssertionError, match=r"E_q\[U \+ log q\]"):
            check(Loose(case.objective), case.family, case.args, key=key)
    with pytest.raises(AssertionError, match="the curvature is symmetric"):
        check_objective(Lopsided(case.objective), case.family, case.args, key=key)


class Uphill(AbstractEngine):
    optimizer: optax.GradientTransformation = optax.sgd(-1e-3)

    def init(self, objective, family, params, args):
        return self.optimizer.init(params)

    def step(self, objective, family, params, args, state, *, key):
        energy, gradient = jax.value_and_grad(lambda p: objective(family(p), args, key=key))(params)
        updates, state = self.optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, StepInfo(energy)


class Forgetful(Uphill):
    """Its state changes its type after the first step."""

    def init(self, objective, family, params, args):
        return jnp.zeros((), jnp.int32)

    def step(self, objective, family, params, args, state, *, key):
        return params, state + 0.5, StepInfo(objective(family(params), args, key=key))


@pytest.mark.parametrize(
    ("engine", "message"), [(Uphill(), "expected a lower energy"), (Forgetful(), "preserves the state's structure")]
)
def test_engines(engine, message, key):
    case = catalogue.problem(FullGaussian(2))
    with pytest.raises(AssertionError, match=message):
        check_engine(engine, case.objective, case.family, case.args, key=key, tolerances=STRICT)


class Point(AbstractGaussianBelief):
    """A standard Gaussian about a point."""

    finite = False
    loc: jax.Array

    @property
    def scale_tril(self):
        return jnp.eye(1)

    def sample(self, *, key):
        return self.loc + jr.normal(key, (1,))

    def points(self, *, key):
        return Points(jnp.stack([self.loc - 1.0, self.loc + 1.0]), jnp.full(2, 0.5))

    def entropy(self):
        return 0.5 * jnp.log(2.0 * jnp.pi * jnp.e)


class Narrow(Point):
    def sample(self, *, key):
        return self.loc + 0.5 * jr.normal(key, (1,))


class Tracker(AbstractFilter):
    """Moves half the way to every observation, and stays where nothing was observed."""

    def init(self, model, *, key=None):
        return Point(jnp.zeros(1))

    def predict(self, model, belief, action, *, key):
        return type(belief)(belief.loc + action)

    def update(self, model, belief, observation, *, key):
        error = jnp.where(jnp.isnan(observation), 0.0, observation - belief.loc)
        return type(belief)(belief.loc + 0.5 * error), FilterInfo(0.5 * jnp.sum(model.scale * error**2))


class Careless(Tracker):
    """Takes what is missing for a number."""

    def update(self, model, belief, observation, *, key):
        return type(belief)(0.5 * (belief.loc + observation)), FilterInfo(jnp.zeros(()))


class Overconfident(Tracker):
    def init(self, model, *, key=None):
        return Narrow(jnp.zeros(1))


class Broken(Tracker):
    def update(self, model, belief, observation, *, key):
        return belief, FilterInfo(jnp.log(-jnp.ones(())))


class Walk(AbstractMarkovModel):
    """z' ~ N(z + a, 1), x ~ N(z, s^2)."""

    scale: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def transition(self, state, action):
        return dist.Normal(state + action, 1.0).to_event(1)

    def emission(self, state):
        return dist.Normal(state, self.scale).to_event(1)


MODEL = Walk(jnp.ones(1))


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        (Overconfident(), "samples have the belief's covariance"),
        (Broken(), "finite numbers"),
        (Careless(), "where nothing was observed"),
    ],
)
def test_filters(filter_, message, key):
    with pytest.raises(AssertionError, match=message):
        check_filter(filter_, MODEL, jnp.zeros(1), jnp.ones(1), key=key)


class Steady(AbstractController):
    """Pulls towards zero."""

    def init(self):
        return jnp.zeros(())

    def act(self, context, carry, *, key):
        return Decision(-context.belief.mean, carry), carry + 1.0


class Drifting(Steady):
    def act(self, context, carry, *, key):
        return Decision(-context.belief.mean, carry), jnp.zeros(2)


def test_controllers(key):
    with pytest.raises(AssertionError, match="preserves the carry's structure"):
        check_controller(Drifting(), PlanningContext(MODEL, Overconfident(), Point(jnp.ones(1))), key=key)


class Loss(NamedTuple):
    loss_nats: jax.Array


class Descent(AbstractLearner):
    def init(self, *, key):
        return jr.normal(key, (2,))

    def update(self, state, batch, *, key):
        return state - 0.1 * (state - batch), Loss(jnp.sum((state - batch) ** 2))


class Exploding(Descent):
    def update(self, state, batch, *, key):
        return state / 0.0, Loss(jnp.sum(state) / 0.0)


def test_learners(key):
    with pytest.raises(AssertionError, match="finite numbers"):
        check_learner(Exploding(), jnp.ones(2), key=key)


@pytest.mark.parametrize("tolerances", [STRICT, EAGER])
def test_a_function_that_depends_on_its_evaluations(tolerances, key):
    seen = []

    def impure(x):
        seen.append(None)
        return x * float(len(seen))

    with pytest.raises(AssertionError, match="jit = no jit|vmap = loop"):
        check_transforms(impure, (jnp.ones(2),), (jnp.zeros(2) + 2.0,), tolerances, "impure")


def test_messages_name_the_place(key):
    with pytest.raises(AssertionError, match=r"difference of 1 at \['b'\]"):
        check_transforms(Alternating(), (jnp.ones(()),), (jnp.zeros(()),), STRICT, "alternating")


class Alternating:
    """The second output differs between evaluations."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return {"a": x, "b": x + (self.calls > 1)}
