"""One line for every member of every protocol; the laws and the compositions run over these dictionaries.

A member that is exported but missing here makes `test_laws.py` fail. Engines are functions of the family they will
move, because networks must know its size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax

from homeostat.agents import ActorCritic, BeliefAgent, Episodes, Experience, PolicyAgent, SoftActorCritic, direct_policy
from homeostat.control import (
    ActionSequences,
    FixedTemperature,
    GaussianPlan,
    ModelPredictive,
    Segment,
    TargetState,
    UniformPrior,
    active_inference,
    dense_critics,
)
from homeostat.core import (
    AbstractAgent,
    AbstractController,
    AbstractEngine,
    AbstractFamily,
    AbstractLearner,
    Bounded,
    PlanningContext,
)
from homeostat.distributions import (
    Categorical,
    Cubature,
    Delta,
    DiagonalGaussian,
    FullGaussian,
    Ladder,
    MonteCarlo,
    PathGaussian,
    SquashedGaussian,
)
from homeostat.flows import ConditionalFlow, NormalizingFlow
from homeostat.inference import (
    IndexedData,
    ModelWithEngine,
    engines,
    free_energy_descent,
    loss_descent,
    predictive_coding_descent,
    variational_em,
)
from homeostat.inference.filters import Kalman
from homeostat.models.sequential import LinearDynamics, StateSpace
from homeostat.models.static import (
    Bernoulli,
    FactorAnalysis,
    Gaussian,
    LearnedLevel,
    OccludedSprites,
    ProbabilisticPCA,
    Skip,
    SparseCoding,
    SparseTemplate,
    SpatialTransformer,
    TemplateChoice,
    latent_gaussian,
    stack_models,
    unit_columns,
)
from homeostat.objectives import (
    ActionProblem,
    ExpectedFreeEnergy,
    FreeEnergy,
    ImportanceWeighted,
    PathEnergy,
    PragmaticEpistemic,
    SoftReturn,
    Unweighted,
    Weighted,
)
from homeostat.testing import Tolerances
from path_problems import path_problem
from problems import (
    BoundedModel as BoundedModel,
    LinearModel as LinearModel,
    MixtureModel as MixtureModel,
    Problem,
    careful_network,
    encoder,
    evidence,
    linear_model,
    mapping,
    mixture_model,
    once,
    problem,
    pulled,
    size,
    two_levels,
)
from sequential_catalogue import (
    FILTERS as FILTERS,
    MARKOV_MODELS,
    SEQUENCE_LEARNERS,
    SEQUENTIAL_MODELS as SEQUENTIAL_MODELS,
    SMOOTHERS as SMOOTHERS,
    FilterCase as FilterCase,
    ModelCase,
    belief,
    linear_gaussian,
    steered,
    steered_filter,
)
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS
from world_catalogue import ENVIRONMENTS as ENVIRONMENTS

STRICT = Tolerances(ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS, eager=None)
"""Tolerances of the laws in these tests, which run in 64-bit."""

EAGER = STRICT._replace(eager=ALGEBRA)
"""The same with the law that jit = no jit."""


FAMILIES: dict[str, Callable[[], AbstractFamily]] = {
    "diagonal Gaussian": lambda: DiagonalGaussian(2),
    "full Gaussian": lambda: FullGaussian(2),
    "delta": lambda: Delta(2),
    "categorical": lambda: Categorical(3),
    "categorical plan": lambda: Categorical(3, (2,)),
    "squashed Gaussian": lambda: SquashedGaussian(2, low=-1.0, high=1.0),
    "ladder": lambda: Ladder(two_levels().levels),
    "normalizing flow": lambda: NormalizingFlow(2, num_layers=1, width=4, key=jr.key(0)),
    "conditional flow": lambda: ConditionalFlow(2, 3, num_layers=1, width=4, key=jr.key(0)),
    "path Gaussian": lambda: PathGaussian(3, 1),
}

ENGINES: dict[str, Callable[[AbstractFamily], AbstractEngine]] = {
    "direct": lambda family: engines.Direct(encoder(family)),
    "iterative": lambda family: engines.Iterative(
        careful_network(2 * size(family)), (engines.Estimate(), engines.LogGradient()), engines.LearnedSGD()
    ),
    "levelwise iterative": lambda family: engines.LevelwiseIterative(
        2 * (engines.Iterative(careful_network(size(family) // 2 * 2), (engines.Estimate(),), engines.LearnedSGD()),),
        (1, 1),
    ),
    "predictive coding": lambda family: engines.PredictiveCoding(optax.sgd(0.05)),
    "gradient": lambda family: engines.Gradient(optax.adam(0.1)),
    "natural gradient": lambda family: engines.NaturalGradient(0.5, 0.3),
    "cross entropy": lambda family: engines.CrossEntropy(),
    "path integral": lambda family: engines.MPPI(),
    "exhaustive": lambda family: engines.Enumerate(),
    "path natural gradient": lambda family: engines.PathNaturalGradient(0.5),
    "path Newton": lambda family: engines.PathNewton(),
    "detached": lambda family: engines.StopGradient(engines.Gradient(optax.adam(0.1))),
    "sequence": lambda family: engines.Chain(
        (engines.Direct(encoder(family)), engines.Gradient(optax.sgd(0.01))), (1,)
    ),
}

LONG = {
    "SVG", "auxiliary particle", "expected free energy, epistemic", "guided particle", "ladder", "normalizing flow", "path free energy",
    "path Gaussian", "path Newton", "path natural gradient", "smoothing descent", "streaming descent",
}  # fmt: skip
"""Members whose laws take long to compile, and which tests of their own cover as well."""

REFUSED = {
    ("natural gradient", "delta"),
    ("natural gradient", "categorical"),
    ("natural gradient", "categorical plan"),
    ("natural gradient", "squashed Gaussian"),
    ("natural gradient", "ladder"),
    ("natural gradient", "normalizing flow"),
    ("natural gradient", "conditional flow"),
    ("natural gradient", "path Gaussian"),
    ("levelwise iterative", "conditional flow"),
    ("levelwise iterative", "full Gaussian"),
    ("levelwise iterative", "categorical"),
    *(("predictive coding", name) for name in FAMILIES if name != "delta"),
    *(("exhaustive", name) for name in FAMILIES if not name.startswith("categorical")),
    *(
        (f"path {method}", name)
        for method in ("natural gradient", "Newton")
        for name in FAMILIES
        if name != "path Gaussian"
    ),
}
"""Pairs of engine and family that raise `BadInputError`, because the method is not defined there."""

OPTIMALITY = {"normalizing flow": 1e-2}
"""Largest gradient that `fit` leaves, for families whose fit is a search."""

CANONICAL_FAMILY: dict[str, str] = {
    "exhaustive": "categorical",
    "levelwise iterative": "diagonal Gaussian",
    "predictive coding": "delta",
    "path natural gradient": "path Gaussian",
    "path Newton": "path Gaussian",
}
"""The family that an engine is tried on in the quick suite; the full Gaussian unless named here."""


def _template(seed: int = 0) -> jax.Array:
    return jax.nn.sigmoid(jr.normal(jr.key(seed), (6, 6)))


def _sprites(seed: int = 0) -> SpatialTransformer:
    return SpatialTransformer(_template(seed), size=12, extent=3.0)


MODELS: dict[str, Callable[[], ModelCase]] = {
    **MARKOV_MODELS,
    "state space": lambda: ModelCase(
        StateSpace(
            dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1),
            LinearDynamics(0.9 * jnp.eye(4), 0.1 * jnp.eye(4), jnp.eye(4)),
            _sprites(),
        ),
        jnp.ones(4),
    ),
    "spatial transformer": lambda: ModelCase(_sprites()),
    "template choice": lambda: ModelCase(TemplateChoice(stack_models((_sprites(0), _sprites(1))), jnp.zeros(2))),
    "occluded sprites": lambda: ModelCase(
        OccludedSprites(
            jnp.stack([_template(0), _template(1)]),
            jnp.array([1.0, 0.5]),
            jnp.array([0, 1]),
            jnp.zeros(()),
            size=12,
            extent=3.0,
        )
    ),
    "sparse template": lambda: ModelCase(
        SparseTemplate(_template(), 0.1 * jr.normal(jr.key(1), (3, 6, 6)), size=12, extent=3.0)
    ),
    "latent Gaussian": lambda: ModelCase(latent_gaussian(Gaussian((5,)), (2,), key=jr.key(0), mapping=mapping)),
    "latent Gaussian, three levels": lambda: ModelCase(
        latent_gaussian(
            Bernoulli((5,)), (2, 1, 2), key=jr.key(0), mapping=mapping, units=2, wiring=Skip(), top=LearnedLevel
        )
    ),
    "factor analysis": lambda: ModelCase(FactorAnalysis(jr.normal(jr.key(2), (4, 2)), jnp.arange(4.0), -jnp.ones(4))),
    "probabilistic PCA": lambda: ModelCase(
        ProbabilisticPCA(jr.normal(jr.key(2), (4, 2)), jnp.arange(4.0), -jnp.ones(()))
    ),
    "sparse coding": lambda: ModelCase(SparseCoding(unit_columns(jr.normal(jr.key(2), (4, 6))))),
    "linear (of the tests)": lambda: ModelCase(linear_model()),
    "mixture (of the tests)": lambda: ModelCase(mixture_model()),
    "bounded (of the tests)": lambda: ModelCase(BoundedModel(linear_model().weights, jnp.ones(3))),
    "steered (of the tests)": lambda: ModelCase(steered(), jnp.ones(())),
}


def _cost(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.sum((state - 1.0) ** 2) + 0.1 * action**2


def _plan_problem(objective: Any) -> Problem:
    """Plans of three numbers for the steered point, judged from an uncertain start."""
    return Problem(objective, DiagonalGaussian(3), PlanningContext(steered(), steered_filter(), belief()))


def _beside_two_levels(objective: Any) -> Problem:
    return Problem(objective, DiagonalGaussian(2), evidence())


def _action_problem() -> ActionProblem:
    """Two critics that disagree about actions in a square."""
    prior = UniformPrior(Bounded((2,), -1.0, 1.0))
    return ActionProblem(jnp.ones(3), dense_critics(3, 2, key=jr.key(6), width=4), jnp.asarray(0.5), prior(None))


OBJECTIVES: dict[str, Callable[[], Problem]] = {
    "free energy": lambda: problem(FullGaussian(2)),
    "free energy of a choice": lambda: problem(Categorical(3)),
    "free energy of two levels": lambda: _beside_two_levels(FreeEnergy(two_levels(), Cubature())),
    "weighted": lambda: _beside_two_levels(Weighted(FreeEnergy(two_levels(), Cubature()), Unweighted())),
    "importance weighted": lambda: Problem(ImportanceWeighted(linear_model(), 16), FullGaussian(2), evidence()),
    "path free energy": lambda: Problem(*path_problem(PathGaussian(3, 2))),
    "path energy": lambda: _plan_problem(PathEnergy(_cost)),
    "soft return": lambda: Problem(SoftReturn(MonteCarlo(2)), SquashedGaussian(2), _action_problem()),
    "expected free energy": lambda: _plan_problem(ExpectedFreeEnergy(TargetState(jnp.ones(2), 0.5))),
    "expected free energy, epistemic": lambda: _plan_problem(
        ExpectedFreeEnergy(TargetState(jnp.ones(2), 0.5), functional=PragmaticEpistemic())
    ),
}

BOUNDS = {"importance weighted"}
"""Objectives that are tighter than the expectation of their parts."""


class ControllerCase(NamedTuple):
    """A controller, and what it plans from."""

    controller: AbstractController
    context: PlanningContext


def _driven_cost(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.sum((state - 1.0) ** 2) + 0.1 * jnp.sum(action**2)


def _context() -> PlanningContext:
    return PlanningContext(linear_gaussian(), Kalman(), belief())


CONTROLLERS: dict[str, Callable[[], ControllerCase]] = {
    "model predictive": lambda: ControllerCase(
        ModelPredictive(PathEnergy(_driven_cost), engines.CrossEntropy(64, 8), GaussianPlan(1, 3), num_steps=2),
        _context(),
    ),
    "active inference": lambda: ControllerCase(
        active_inference(TargetState(jnp.ones(2), 0.5), ActionSequences(jnp.array([[-1.0], [0.0], [1.0]]), 2)),
        _context(),
    ),
}


class AgentCase(NamedTuple):
    """An agent and something for it to see."""

    agent: AbstractAgent
    observation: jax.Array


AGENTS: dict[str, Callable[[], AgentCase]] = {
    "belief": lambda: AgentCase(
        BeliefAgent(linear_gaussian(), Kalman(), CONTROLLERS["active inference"]().controller), jnp.ones(1)
    ),
    "policy": lambda: AgentCase(
        PolicyAgent(pulled(), engines.Gradient(optax.adam(0.1)), SquashedGaussian(2), num_steps=3), jnp.ones(2)
    ),
}


class LearnerCase(NamedTuple):
    """A learner and one batch for it."""

    learner: AbstractLearner
    batch: Any


def _observations(count: int = 4) -> jax.Array:
    return jr.normal(jr.key(5), (count, 3))


def _distance(module: Any, batch: Any, *, key: Any) -> Any:
    return jnp.mean((module[None, :] - batch) ** 2)


def _starts(count: int = 4) -> Any:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), FullGaussian(2).init())


def _soft_actor_critic() -> LearnerCase:
    """A direct policy of one number, and segments of two steps."""
    family, prior = SquashedGaussian(1), UniformPrior(Bounded((1,), -1.0, 1.0))
    engine = direct_policy(family, 2, key=jr.key(7), width=4)
    learned = ActorCritic(engine, family, prior, dense_critics(2, 1, key=jr.key(8), width=4))
    adam, flags = optax.adam(1e-3), jnp.zeros((4, 2), bool)
    states, actions = jr.normal(jr.key(9), (4, 2, 2)), jr.uniform(jr.key(9), (4, 2, 1))
    segments = Segment(states, actions, actions[:, :, 0], flags, flags, jnp.zeros((4, 2)), flags)
    zero = jnp.zeros((), jnp.int32)
    experience = Experience(segments, Episodes(zero, jnp.zeros(()), zero))
    return LearnerCase(SoftActorCritic(learned, FixedTemperature(0.1), adam, adam), experience)


LEARNERS: dict[str, Callable[[], LearnerCase]] = {
    **{name: lambda build=build: LearnerCase(*build()) for name, build in SEQUENCE_LEARNERS.items()},
    "free-energy descent": lambda: LearnerCase(
        free_energy_descent(
            ModelWithEngine(linear_model(), engines.Gradient(optax.sgd(0.01))),
            FullGaussian(2),
            optax.adam(1e-3),
            Cubature(),
        ),
        _observations(),
    ),
    "loss descent": lambda: LearnerCase(loss_descent(_distance, jnp.ones(3), optax.adam(1e-3)), _observations()),
    "predictive coding": lambda: LearnerCase(
        predictive_coding_descent(
            linear_model(), optax.adam(1e-3), engines.PredictiveCoding(optax.sgd(0.05)), num_steps=5
        ),
        _observations(),
    ),
    "soft actor-critic": _soft_actor_critic,
    "variational EM": lambda: LearnerCase(
        variational_em(linear_model(), _starts(), engines.NaturalGradient(0.5), FullGaussian(2), optax.adam(1e-3)),
        IndexedData(_observations(), jnp.arange(4)),
    ),
}

for cases in (FAMILIES, MODELS, SEQUENTIAL_MODELS, OBJECTIVES, FILTERS, CONTROLLERS, ENVIRONMENTS, LEARNERS):
    cases.update(once(cases))
