"""Every member of the catalogue obeys the laws of its protocol, and no exported member is missing from it."""

import functools
import importlib
import pkgutil

import jax
import jax.numpy as jnp
import pytest

import catalogue
import homeostat
from catalogue import EAGER, STRICT
from homeostat import core
from homeostat.inference.engines import AbstractSamplingEngine
from homeostat.testing import (
    check_agent,
    check_controller,
    check_engine,
    check_environment,
    check_expectation,
    check_family,
    check_filter,
    check_learner,
    check_model,
    check_objective,
    check_sequential_model,
    check_smoother,
    check_tightening,
)


def members(names):
    """All of them; those whose laws take long are `slow`."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in catalogue.LONG else []) for name in names]


@pytest.fixture(params=[pytest.param(STRICT, id="compiled"), pytest.param(EAGER, id="eager", marks=pytest.mark.slow)])
def tolerances(request):
    """Those of the quick suite, and those with the law that jit = no jit."""
    return request.param


@pytest.mark.parametrize("name", members(catalogue.FAMILIES))
def test_family(name, key, tolerances):
    tolerances = tolerances._replace(optimality=catalogue.OPTIMALITY.get(name, tolerances.optimality))
    check_family(catalogue.FAMILIES[name](), key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.MODELS))
def test_model(name, key, tolerances):
    case = catalogue.MODELS[name]()
    check_model(case.model, action=case.action, key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.SEQUENTIAL_MODELS))
def test_sequential_model(name, key, tolerances):
    case = catalogue.SEQUENTIAL_MODELS[name]()
    check_sequential_model(case.model, action=case.action, key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.OBJECTIVES))
def test_objective(name, key, tolerances):
    case = catalogue.OBJECTIVES[name]()
    check_objective(case.objective, case.family, case.args, key=key, tolerances=tolerances)
    law = check_tightening if name in catalogue.BOUNDS else check_expectation
    law(case.objective, case.family, case.args, key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.ENGINES))
def test_engine(name, key, tolerances):
    family = catalogue.FAMILIES[catalogue.CANONICAL_FAMILY.get(name, "full Gaussian")]()
    case, engine = catalogue.problem(family), catalogue.ENGINES[name](family)

    def expected(params, k):
        """E_q[U], which sampling engines lower."""
        values = jax.vmap(family(params).sample)(jax.random.split(k, 64))
        return jnp.mean(jax.vmap(lambda value: case.objective.pointwise(value, case.args, key=k))(values))

    lowers = expected if isinstance(engine, AbstractSamplingEngine) else None
    check_engine(engine, case.objective, family, case.args, key=key, lowers=lowers, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.FILTERS))
def test_filter(name, key, tolerances):
    case = catalogue.FILTERS[name]()
    check_filter(case.filter, case.model, case.action, case.observation, key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.SMOOTHERS))
def test_smoother(name, key, tolerances):
    case = catalogue.SMOOTHERS[name]()
    check_smoother(
        case.smoother, case.model, case.observations, case.actions, case.per_step, key=key, tolerances=tolerances
    )


@pytest.mark.parametrize("name", members(catalogue.CONTROLLERS))
def test_controller(name, key, tolerances):
    case = catalogue.CONTROLLERS[name]()
    check_controller(case.controller, case.context, key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.AGENTS))
def test_agent(name, key, tolerances):
    case = catalogue.AGENTS[name]()
    check_agent(case.agent, case.observation, key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.ENVIRONMENTS))
def test_environment(name, key, tolerances):
    check_environment(catalogue.ENVIRONMENTS[name](), key=key, tolerances=tolerances)


@pytest.mark.parametrize("name", members(catalogue.LEARNERS))
def test_learner(name, key, tolerances):
    case = catalogue.LEARNERS[name]()
    check_learner(case.learner, case.batch, key=key, tolerances=tolerances)


@functools.cache
def import_everything():
    for module in pkgutil.walk_packages(homeostat.__path__, "homeostat."):
        # Adapters need optional packages; experiments and workflow are not members of anything.
        if not {"adapters", "workflow", "experiments", "cli", "__main__"} & set(module.name.split(".")):
            importlib.import_module(module.name)


def final_members(protocol):
    """Public final classes of the package that fulfil a protocol."""
    import_everything()
    found, waiting = set(), [protocol]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind not in found:
                found.add(kind)
                waiting.append(kind)
    return {
        kind
        for kind in found
        if kind.__module__.startswith("homeostat.")
        # Experiments and presets have parts of their own, which nobody else uses.
        and not kind.__module__.startswith(("homeostat.experiments.", "homeostat.workflow."))
        and getattr(kind, "__final__", False)
        and not kind.__name__.startswith("_")
    }


def catalogued(dictionary, pick):
    return {type(pick(build)) for build in dictionary.values()}


@pytest.mark.parametrize(
    ("protocol", "dictionary", "pick"),
    [
        (core.AbstractFamily, catalogue.FAMILIES, lambda build: build()),
        (core.AbstractModel, catalogue.MODELS, lambda build: build().model),
        (core.AbstractSequentialModel, catalogue.MODELS | catalogue.SEQUENTIAL_MODELS, lambda build: build().model),
        (core.AbstractObjective, catalogue.OBJECTIVES, lambda build: build().objective),
        (core.AbstractEngine, catalogue.ENGINES, lambda build: build(catalogue.FullGaussian(2))),
        (core.AbstractFilter, catalogue.FILTERS, lambda build: build().filter),
        (core.AbstractSmoother, catalogue.SMOOTHERS, lambda build: build().smoother),
        (core.AbstractController, catalogue.CONTROLLERS, lambda build: build().controller),
        (core.AbstractAgent, catalogue.AGENTS, lambda build: build().agent),
        (core.AbstractEnvironment, catalogue.ENVIRONMENTS, lambda build: build()),
        (core.AbstractLearner, catalogue.LEARNERS, lambda build: build().learner),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_member_is_missing(protocol, dictionary, pick):
    missing = final_members(protocol) - catalogued(dictionary, pick)
    assert not missing, f"add a line to the catalogue for {sorted(kind.__qualname__ for kind in missing)}"
