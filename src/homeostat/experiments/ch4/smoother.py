"""Structured variational smoothing against the Kalman smoother, and on counts against the Laplace and a particle smoother.

Gaussian posteriors with block-tridiagonal precision in two ways: found for each sequence by natural-gradient steps, and
read off a sequence at once by a recognition network of product form, which is learned on sequences of the same system. On a
linear-Gaussian system both are compared with the exact smoother; on linear dynamics seen through Poisson counts with many
paths drawn by a particle smoother.

Scales: `smoke` has short sequences; `small` and `paper` those below, `paper` with longer training.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ... import viz
from ...core import AbstractMarkovModel
from ...inference import ModelWithEngine, RauchTungStriebel, sample_sequence, smooth
from ...inference.engines import Direct, PathNaturalGradient, PathNewton
from ...inference.filters import Particle
from ...inference.smoothers import ParticleSmoother, ProductForm, SmoothingDescent, Structured
from ...models.sequential import LinearDynamics, LinearGaussian, PoissonEmission, StateSpace
from ...objectives import Neighbours, PathEvidence
from ...results import BadInputError
from ...typing import Array, Float, Key
from .._claims import AtMost, Between, Claim
from .._protocol import AbstractRunContext, Minutes
from ._common import Training, mean_and_error, printed

SOURCE = "abstract on a structured variational smoother for nonlinear state-space models, with thresholds set for this library"
MINUTES = Minutes(smoke=0.3, small=4.0, paper=40.0)
_MEAN = "difference of smoothed means from the Kalman smoother's, root mean square over that of the state"
_COVARIANCE = (
    "difference of smoothed covariances from the Kalman smoother's, relative in Frobenius norm, mean over steps"
)
_BOUND = "free energy per step less the exact -log p(x) per step"
_COUNTS = "Poisson counts: difference of smoothed means from the particle smoother's"
_LAPLACE = "Poisson counts: free energy per step of the Laplace smoother less that of the structured one"
_EVERYWHERE = ("smoke", "small", "paper")
_AT_SMOKE = ("smoke",)
CLAIMS = (
    Claim("smoother/mean", SOURCE, f"natural gradient: {_MEAN}", "ratio", AtMost(0.01), scales=_EVERYWHERE),
    Claim("smoother/covariance", SOURCE, f"natural gradient: {_COVARIANCE}", "ratio", AtMost(0.01), scales=_EVERYWHERE),
    Claim("smoother/bound", SOURCE, f"natural gradient: {_BOUND}", "nats", Between(-0.01, 0.01), scales=_EVERYWHERE),
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
    training: Training = field(default_factory=lambda: Training(2_000, 16, 1e-2, 1e-3))
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

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                length=10,
                num_train=32,
                num_test=2,
                training=Training(50, 8, 2e-2, 0.1),
                num_iterations=5,
                num_particles=100,
            )
        if scale == "paper":
            return cls(
                length=200, num_train=20_000, num_test=64, num_particles=10_000,
                training=Training(20_000, 32, 3e-3, 1e-3),
            )  # fmt: skip
        return cls()


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    linear_key, counts_key = jr.split(key)
    linear(config, context, key=linear_key)
    counts(config, context, key=counts_key)


def dynamics() -> LinearDynamics:
    """A damped rotation, a quarter of a turn in ten steps, with correlated noise."""
    angle = 2.0 * np.pi / 40.0
    turn = 0.97 * np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return LinearDynamics(jnp.asarray(turn, float), None, jnp.asarray([[0.3, 0.0], [0.1, 0.25]]))


def linear_system() -> LinearGaussian:
    """Two states, seen in two mixtures with unequal noise."""
    return LinearGaussian(
        jnp.zeros(2), jnp.eye(2), dynamics(), jnp.asarray([[1.0, 0.5], [-0.3, 1.0]]), jnp.diag(jnp.asarray([0.5, 0.8]))
    )


def counting_system(counted: int) -> StateSpace:
    """The same dynamics, seen as counts whose log rates are mixtures of the states, about one a step."""
    angles = jnp.arange(counted) * (2.0 * jnp.pi / counted)
    mixing = 0.7 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    return StateSpace(linear_system().initial, dynamics(), PoissonEmission.linear(mixing, jnp.zeros(counted)))


# ------------------------------------------------------------------------------------------------------------- linear


class Linear(NamedTuple):
    """A smoother beside the exact one on unseen sequences, [sequences].

    Attributes:
        mean: relative difference of means.
        covariance: relative difference of covariances.
        gap_nats: free energy per step less the exact one.
    """

    mean: Float[Array, " sequences"]
    covariance: Float[Array, " sequences"]
    gap_nats: Float[Array, " sequences"]


def linear(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """The linear-Gaussian half."""
    data_key, test_key, train_key, score_key = jr.split(key, 4)
    model = linear_system()
    unseen = drawn(model, config.num_test, config.length, key=test_key)
    network = recognition(
        config, context, model, drawn(model, config.num_train, config.length, key=data_key), train_key
    )
    methods = {
        "natural gradient": Structured(PathNaturalGradient(), config.num_iterations),
        "recognition network": Structured(Direct(network), 1),
    }
    rows = []
    for (label, method), claim in zip(methods.items(), ("", "amortized-"), strict=True):
        stage = f"linear-{label.replace(' ', '-')}"
        found = context.stage(stage, partial(against_kalman, method, model, unseen), key=score_key)
        for name, value in zip(("mean", "covariance", "bound"), found, strict=True):
            context.measure(f"smoother/{claim}{name}", *mean_and_error(value))
        rows.append((label, *(printed(mean_and_error(value), 5) for value in found)))
    context.table(
        "linear",
        ("smoother", "mean (ratio)", "covariance (ratio)", "free energy less exact (nats per step)"),
        rows,
        caption=f"{config.num_test} unseen sequences of {config.length} steps of a linear-Gaussian system, against the Kalman smoother. "
        f"The recognition network was trained on {config.num_train} other sequences.",
    )


def drawn(model: AbstractMarkovModel, num: int, length: int, *, key: Key) -> Float[Array, "num time m"]:
    """Observations of so many sequences."""
    return jax.vmap(lambda k: sample_sequence(model, length, key=k).observations.astype(float))(jr.split(key, num))


def recognition(
    config: Config, context: AbstractRunContext, model: LinearGaussian, seen: Float[Array, "num time m"], key: Key
) -> ProductForm:
    """Learn a recognition network of product form; the model stays as it is."""

    def build(key: Key) -> ProductForm:
        return ProductForm.networks(model.observation_dim, model.dim, width=config.width, depth=config.depth, key=key)

    def fit(key: Key) -> ProductForm:
        build_key, fit_key = jr.split(key)
        adam = config.training.optimizer()
        labels = lambda both: ModelWithEngine(  # noqa: E731
            jax.tree.map(lambda _: "still", both.model), jax.tree.map(lambda _: "moved", both.engine)
        )
        learner = SmoothingDescent(
            ModelWithEngine(model, Direct(eqx.filter_jit(build)(key=build_key))),
            optax.multi_transform({"still": optax.set_to_zero(), "moved": adam}, labels),
            # Exact for this model, so that nothing but the choice of sequences is random.
            expectation=Neighbours(),
        )
        evidence = jax.vmap(lambda values: PathEvidence.of(values, None))(seen)
        training = config.training
        result = context.fit(
            "recognition", learner, evidence, num_steps=training.num_steps, batch_size=training.batch_size, key=fit_key,
            every=min(100, training.num_steps),
        )  # fmt: skip
        if (failed := int(result.state.failed_step)) >= 0:
            raise BadInputError(
                f"Expected training of the recognition network to stay finite, got a value that was not at update {failed}: "
                "choose a smaller learning rate."
            )
        return result.state.learned.engine.encoder

    return context.stage("recognition", fit, key=key, like=lambda: build(jr.key(0)))


def against_kalman(
    method: Structured, model: LinearGaussian, unseen: Float[Array, "sequences time m"], *, key: Key
) -> Linear:
    """Relative differences, sequence by sequence."""

    @eqx.filter_jit
    def every(method: Structured, unseen: Array) -> Linear:
        def one(values: Array) -> Linear:
            exact = smooth(RauchTungStriebel(), model, values, throw=False)
            found = method.smooth(model, values, key=key, throw=False)
            norm = lambda matrix: jnp.sqrt(jnp.sum(matrix**2, axis=(1, 2)))  # noqa: E731
            shift = found.beliefs.loc - exact.beliefs.loc
            spread = norm(found.beliefs.covariance - exact.beliefs.covariance) / norm(exact.beliefs.covariance)
            return Linear(
                jnp.sqrt(jnp.mean(shift**2) / jnp.mean(exact.beliefs.loc**2)),
                jnp.mean(spread),
                (found.free_energy_nats + exact.log_evidence_nats) / values.shape[0],
            )

        return jax.lax.map(one, unseen)

    return every(method, unseen)


# ------------------------------------------------------------------------------------------------------------- counts


class Counts(NamedTuple):
    """Smoothed counts, [sequences].

    Attributes:
        mean_deviations: root mean square difference of means from the particle smoother's, in its standard deviations.
        variance_ratios: mean absolute relative difference of variances from the particle smoother's.
        energy_nats: free energy per step, by many sampled paths; for the particle smoother its estimate of -log p(x) / T.
        mean: smoothed means of the first sequence, [time, d].
        deviation: their standard deviation.
    """

    mean_deviations: Float[Array, " sequences"]
    variance_ratios: Float[Array, " sequences"]
    energy_nats: Float[Array, " sequences"]
    mean: Float[Array, "time d"]
    deviation: Float[Array, "time d"]


def counts(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """The half with Poisson observations."""
    test_key, reference_key, score_key = jr.split(key, 3)
    model = counting_system(config.counted)
    sequences = jax.vmap(lambda k: sample_sequence(model, config.length, key=k))(jr.split(test_key, config.num_test))
    values = sequences.observations
    paths = context.stage("counts-particle", partial(by_particles, config, model, values), key=reference_key)
    methods = {
        "structured": Structured(PathNaturalGradient(), config.num_iterations),
        "Laplace": Structured(PathNewton(), config.num_iterations),
    }
    found = {
        label: context.stage(
            f"counts-{label.lower()}", partial(against_particles, method, model, values, paths), key=score_key
        )
        for label, method in methods.items()
    }
    structured, laplace = found["structured"], found["Laplace"]
    context.measure("smoother/counts-mean", *mean_and_error(structured.mean_deviations))
    context.measure("smoother/counts-laplace", *mean_and_error(laplace.energy_nats - structured.energy_nats))
    columns = ("mean_deviations", "variance_ratios", "energy_nats")
    rows = [
        (label, *(printed(mean_and_error(getattr(of, name)), 4) for name in columns)) for label, of in found.items()
    ]
    rows.append(("particle", "0", "0", printed(mean_and_error(paths.energy_nats), 4)))
    context.table(
        "counts",
        ("smoother", "mean (posterior sd)", "variance (ratio)", "free energy (nats per step)"),
        rows,
        caption=f"{config.num_test} sequences of {config.length} steps of {config.counted} Poisson counters. Differences are those from a "
        f"particle smoother with {config.num_particles:,} particles and paths, which have an error of their own; its last entry is "
        "an estimate of -log p(x) per step.",
    )
    context.figure(
        "counts",
        viz.plot_posterior_bands(
            [
                viz.BeliefBand("structured", np.asarray(structured.mean), np.asarray(structured.deviation)),
                viz.BeliefBand("Laplace", np.asarray(laplace.mean), np.asarray(laplace.deviation)),
                viz.BeliefBand("particle", np.asarray(paths.mean[0]), np.sqrt(np.asarray(paths.variance[0]))),
            ],
            np.asarray(sequences.states[0]),
            names=("first state", "second state"),
        ),
        caption="States behind the counts of one sequence: smoothed means with bands of two standard deviations.",
    )


class Paths(NamedTuple):
    """Moments of the particle smoother, leading axis sequences.

    Attributes:
        mean: [sequences, time, d].
        variance: [sequences, time, d].
        energy_nats: estimate of -log p(x) / T.
    """

    mean: Float[Array, "sequences time d"]
    variance: Float[Array, "sequences time d"]
    energy_nats: Float[Array, " sequences"]


def by_particles(config: Config, model: StateSpace, values: Array, *, key: Key) -> Paths:
    """The reference: forward filtering and backward simulation."""
    smoother = ParticleSmoother(Particle(config.num_particles), config.num_particles)

    @eqx.filter_jit
    def every(values: Array) -> Paths:
        def one(inputs: tuple[Array, Key]) -> Paths:
            found = smooth(smoother, model, inputs[0], key=inputs[1], throw=False)
            variance = jnp.diagonal(found.covariance, axis1=1, axis2=2)
            return Paths(found.mean, variance, -found.log_evidence_nats / inputs[0].shape[0])

        return jax.lax.map(one, (values, jr.split(key, values.shape[0])))

    return every(values)


def against_particles(method: Structured, model: StateSpace, values: Array, paths: Paths, *, key: Key) -> Counts:
    """One smoother against the reference."""

    @eqx.filter_jit
    def every(method: Structured, values: Array, paths: Paths) -> Counts:
        def one(inputs: tuple[Array, Paths]) -> tuple[Array, Array, Array, Array, Array]:
            observations, reference = inputs
            found = method.smooth(model, observations, key=key, throw=False)
            loc, variance = found.beliefs.loc, jnp.sum(found.beliefs.scale_tril**2, axis=2)
            deviation = (loc - reference.mean) / jnp.sqrt(reference.variance)
            return (
                jnp.sqrt(jnp.mean(deviation**2)),
                jnp.mean(jnp.abs(variance / reference.variance - 1.0)),
                found.free_energy_nats / observations.shape[0],
                loc,
                jnp.sqrt(variance),
            )

        deviations, ratios, energies, loc, spread = jax.lax.map(one, (values, paths))
        return Counts(deviations, ratios, energies, loc[0], spread[0])

    return every(method, values, paths)
