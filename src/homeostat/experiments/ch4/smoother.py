"""Structured variational smoothing against the Kalman smoother, and on counts against the Laplace and a particle smoother.

Gaussian posteriors with block-tridiagonal precision in two ways: found for each sequence by natural-gradient steps, and
read off a sequence at once by a recognition network of product form, which is learned on sequences of the same system. On a
linear-Gaussian system both are compared with the exact smoother; on linear dynamics seen through Poisson counts with many
paths drawn by a particle smoother.

Scales: `smoke` has short sequences; `small` and `paper` those below, `paper` with longer training.
"""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ... import viz
from ...core import AbstractMarkovModel, AbstractSmoother
from ...inference import EnergyDescent, ModelWithEngine, RauchTungStriebel, sample_sequence, smoothing_descent
from ...inference.engines import Direct, PathNaturalGradient, PathNewton
from ...inference.filters import Particle
from ...inference.smoothers import ParticleSmoother, ProductForm, Structured
from ...models.sequential import LinearDynamics, LinearGaussian, PoissonEmission, StateSpace
from ...objectives import Neighbours, PathEvidence
from ...runs import AtMost, Between, Claim, Minutes, RunContext
from ...typing import Array, Key
from ..kit import EVERYWHERE, Method, Training, at, measure, only, printed, scales, train
from ._linear_systems import StateMoments, smoothed_moments

SOURCE = "abstract on a structured variational smoother for nonlinear state-space models, with thresholds set for this library"
MINUTES = Minutes(smoke=0.3, small=4.0, paper=40.0)
_MEAN = "difference of smoothed means from the Kalman smoother's, root mean square over that of the state"
_COVARIANCE = (
    "difference of smoothed covariances from the Kalman smoother's, relative in Frobenius norm, mean over steps"
)
_BOUND = "free energy per step less the exact -log p(x) per step"
_COUNTS = "Poisson counts: difference of smoothed means from the particle smoother's"
_LAPLACE = "Poisson counts: free energy per step of the Laplace smoother less that of the structured one"
_AT_SMOKE = ("smoke",)
CLAIMS = (
    Claim("smoother/mean", SOURCE, f"natural gradient: {_MEAN}", "ratio", AtMost(0.01), scales=EVERYWHERE),
    Claim("smoother/covariance", SOURCE, f"natural gradient: {_COVARIANCE}", "ratio", AtMost(0.01), scales=EVERYWHERE),
    Claim("smoother/bound", SOURCE, f"natural gradient: {_BOUND}", "nats", Between(-0.01, 0.01), scales=EVERYWHERE),
    Claim("smoother/amortized-mean", SOURCE, f"recognition network, unseen sequences: {_MEAN}", "ratio", AtMost(0.01)),
    Claim("smoother/amortized-covariance", SOURCE, f"recognition network: {_COVARIANCE}", "ratio", AtMost(0.01)),
    Claim("smoother/amortized-bound", SOURCE, f"recognition network: {_BOUND}", "nats", AtMost(0.01)),
    Claim("smoother/counts-mean", SOURCE, _COUNTS, "posterior standard deviations, root mean square", AtMost(0.1)),
    Claim("smoother/counts-laplace", SOURCE, _LAPLACE, "nats", Between(-1e-3, 0.1)),
    Claim("smoother/amortized-mean", SOURCE, f"recognition network: {_MEAN}", "ratio", AtMost(1.0), scales=_AT_SMOKE),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    length: int = 50
    """Observations in a sequence (count)."""
    num_train: int = 2_000
    """Sequences that the recognition network learns from (count)."""
    num_test: int = 16
    """Unseen sequences (count)."""
    training: Training = Training(2_000, 16, 1e-2, 1e-3)
    """Training of the recognition network."""
    depth: int = 0
    """Its hidden layers; with none it is linear, as the exact answer is (count)."""
    width: int = 32
    """Units in a hidden layer (count)."""
    counted: int = 4
    """Counters of the Poisson observations (count)."""
    num_iterations: int = 15
    """Steps of natural gradient and of Newton's method (count)."""
    num_particles: int = 2_000
    """Particles and paths of the particle smoother (count)."""

    for_scale = scales(
        smoke=at(
            length=10, num_train=32, num_test=2, training=Training(50, 8, 2e-2, 0.1), num_iterations=5,
            num_particles=100,
        ),
        paper=at(
            length=200, num_train=20_000, num_test=64, num_particles=10_000,
            training=Training(20_000, 32, 3e-3, 1e-3),
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    angle = 2.0 * np.pi / 40.0
    turn = 0.97 * np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # A damped rotation, a quarter of a turn in ten steps, with correlated noise, seen in two mixtures with unequal noise.
    dynamics = LinearDynamics(jnp.asarray(turn, float), None, jnp.asarray([[0.3, 0.0], [0.1, 0.25]]))
    mixtures, noise = jnp.asarray([[1.0, 0.5], [-0.3, 1.0]]), jnp.diag(jnp.asarray([0.5, 0.8]))
    model = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, mixtures, noise)
    # Seen as counts whose log rates are mixtures of the states, about one a step.
    angles = jnp.arange(config.counted) * (2.0 * jnp.pi / config.counted)
    rates = PoissonEmission.linear(0.7 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1), jnp.zeros(config.counted))
    linear_key, counts_key = jr.split(key)
    linear(config, context, model, key=linear_key)
    counts(config, context, StateSpace(model.initial, dynamics, rates), key=counts_key)


def drawn(model: AbstractMarkovModel, num: int, length: int, *, key: Key) -> tuple[Array, Array]:
    """States and observations of so many sequences."""
    found = jax.vmap(lambda k: sample_sequence(model, length, key=k))(jr.split(key, num))
    return found.states, found.observations


@eqx.filter_jit
def smoothed(method: AbstractSmoother, model: AbstractMarkovModel, values: Array, *, key: Key) -> StateMoments:
    """Moments of each sequence, and free energies per step."""
    one = lambda inputs: smoothed_moments(method, model, inputs[0], key=inputs[1], throw=False)  # noqa: E731
    found = jax.lax.map(one, (values, jr.split(key, values.shape[0])))
    return found._replace(energy_nats=found.energy_nats[:, 0] / values.shape[1])


def linear(config: Config, context: RunContext, model: LinearGaussian, *, key: Key) -> None:
    """The linear-Gaussian half."""
    data_key, test_key, train_key, score_key = jr.split(key, 4)
    _, unseen = drawn(model, config.num_test, config.length, key=test_key)
    _, seen = drawn(model, config.num_train, config.length, key=data_key)

    def build(key: Key) -> ModelWithEngine:
        depth, width = config.depth, config.width
        return ModelWithEngine(
            model, Direct(ProductForm.networks(model.observation_dim, model.dim, width=width, depth=depth, key=key))
        )

    def learner(learned: ModelWithEngine) -> EnergyDescent:
        # The model stays as it is. Exact for it, so that nothing but the choice of sequences is random.
        optimizer = only(lambda both: both.engine, config.training.optimizer())
        return smoothing_descent(learned, optimizer, expectation=Neighbours())

    evidence = jax.vmap(lambda values: PathEvidence.of(values, None))(seen)
    method = Method("recognition", build, learner, config.training)
    network = train(context, "recognition", method, evidence, key=train_key).learned.engine
    methods = {
        "natural gradient": Structured(PathNaturalGradient(), config.num_iterations),
        "recognition network": Structured(network, 1),
    }
    exact, spread, exact_nats = map(np.asarray, smoothed(RauchTungStriebel(), model, unseen, key=score_key))
    size = lambda matrices: np.linalg.norm(matrices, axis=(2, 3))  # noqa: E731
    rows = []
    for (label, smoother), claim in zip(methods.items(), ("", "amortized-"), strict=True):
        stage = f"linear-{label.replace(' ', '-')}"
        found = context.stage(stage, partial(smoothed, smoother, model, unseen), key=score_key)
        mean, covariance, nats = map(np.asarray, found)
        shift = np.sqrt(np.mean((mean - exact) ** 2, axis=(1, 2)) / np.mean(exact**2, axis=(1, 2)))
        apart = (shift, np.mean(size(covariance - spread) / size(spread), axis=1), nats - exact_nats)
        for name, values in zip(("mean", "covariance", "bound"), apart, strict=True):
            measure(context, f"smoother/{claim}{name}", values)
        rows.append((label, *(printed(values, 5) for values in apart)))
    context.table(
        "linear",
        ("smoother", "mean (ratio)", "covariance (ratio)", "free energy less exact (nats per step)"),
        rows,
        caption=f"{config.num_test} unseen sequences of {config.length} steps of a linear-Gaussian system, against the Kalman smoother. "
        f"The recognition network was trained on {config.num_train} other sequences.",
    )


def counts(config: Config, context: RunContext, model: StateSpace, *, key: Key) -> None:
    """The half with Poisson observations."""
    test_key, reference_key, score_key = jr.split(key, 3)
    states, values = drawn(model, config.num_test, config.length, key=test_key)
    smoothers = {
        "structured": Structured(PathNaturalGradient(), config.num_iterations),
        "Laplace": Structured(PathNewton(), config.num_iterations),
        "particle": ParticleSmoother(Particle(config.num_particles), config.num_particles),
    }
    found = {}
    for label, smoother in smoothers.items():
        one_key = reference_key if label == "particle" else score_key
        each = context.stage(f"counts-{label.lower()}", partial(smoothed, smoother, model, values), key=one_key)
        mean, covariance, nats = map(np.asarray, each)
        found[label] = mean, np.diagonal(covariance, axis1=2, axis2=3), nats
    reference, variance, _ = found["particle"]
    apart = {
        label: np.sqrt(np.mean((mean - reference) ** 2 / variance, axis=(1, 2)))
        for label, (mean, _, _) in found.items()
    }
    measure(context, "smoother/counts-mean", apart["structured"])
    measure(context, "smoother/counts-laplace", found["Laplace"][2] - found["structured"][2])
    rows = []
    for label, (_, own, nats) in found.items():
        told = (apart[label], np.mean(np.abs(own / variance - 1.0), axis=(1, 2)))
        told = ("0", "0") if label == "particle" else (printed(values, 4) for values in told)
        rows.append((label, *told, printed(nats, 4)))
    context.table(
        "counts",
        ("smoother", "mean (posterior sd)", "variance (ratio)", "free energy (nats per step)"),
        rows,
        caption=f"{config.num_test} sequences of {config.length} steps of {config.counted} Poisson counters. Differences are those from a "
        f"particle smoother with {config.num_particles:,} particles and paths, which have an error of their own; its last entry is "
        "an estimate of -log p(x) per step.",
    )
    bands = [viz.BeliefBand(label, mean[0], np.sqrt(own[0])) for label, (mean, own, _) in found.items()]
    context.figure(
        "counts",
        viz.plot_posterior_bands(bands, np.asarray(states[0]), names=("first state", "second state")),
        caption="States behind the counts of one sequence: smoothed means with bands of two standard deviations.",
    )
