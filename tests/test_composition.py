"""Does everything compose? The star in the quick suite, the cross-product among the slow tests.

Star: every engine with one canonical problem, every family with an engine that can move it, every objective with one
canonical engine. Pairs that a method is not defined for must refuse by `BadInputError`, in the star and in the product.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import catalogue
from homeostat.control import ActionSequences, GaussianPlan, ModelPredictive, SquashedPlan
from homeostat.inference import infer
from homeostat.inference.engines import AbstractSamplingEngine
from homeostat.inference.filters import VariationalFilter
from homeostat.results import BadInputError
from homeostat.testing import assert_close, assert_finite
from optima import marginals, optimum
from tolerances import ALGEBRA, AUTODIFF, DESCENT

STEPS = 3

ITERATIONS = {
    "direct": 1,
    "cross entropy": 60,
    "path integral": 60,
    "exhaustive": 1,
    "path natural gradient": 20,
    "path Newton": 5,
}
"""Steps after which an engine should have solved its canonical problem, where they are not a thousand."""

NEARLY = {"squashed Gaussian", "ladder", "normalizing flow", "conditional flow", "categorical", "categorical plan"}
"""Families on which a descent ends near the minimum and not at it: along sampled gradients, or towards infinite logits."""


def compose(engine_name, family_name, key):
    """Run a named engine on a named family to the best member, or see it refused where `catalogue.REFUSED` says so."""
    case = catalogue.problem(catalogue.FAMILIES[family_name]())
    family = case.family
    engine = catalogue.ENGINES[engine_name](family)
    if (engine_name, family_name) in catalogue.REFUSED:
        with pytest.raises(BadInputError, match="Expected a .* family"):
            start(engine, case, key)
        return
    steps = ITERATIONS.get(engine_name, 1000)
    posterior = infer(case.objective, engine, family, case.args, key=key, num_steps=steps)
    assert_finite((posterior.params, posterior.energy_nats), f"{engine_name} on {family_name}")
    best, tolerance = optimum(case), DESCENT if family_name in NEARLY else AUTODIFF
    if isinstance(engine, AbstractSamplingEngine):
        if family_name == "delta":
            # A point mass has no spread to draw other candidates from.
            assert_close(posterior.params, family.init(), 0.0, "a point mass stays")
            return
        # Not the best distribution: the best point.
        assert best.expected_nats(posterior.params) < best.lowest_nats + DESCENT
        return
    reached = best.energy_nats(posterior.params)
    if engine_name == "exhaustive" and family_name == "categorical":
        tolerance = AUTODIFF
    if engine_name == "exhaustive" and family_name == "categorical plan":
        # The factors of the exact joint are its marginals.
        np.testing.assert_allclose(reached, best.energy_nats(marginals(case)), atol=ALGEBRA)
        return
    assert best.minimum_nats - tolerance < reached < best.minimum_nats + tolerance


def start(engine, case, key):
    """The first step of an engine, as far as shapes go."""
    params = case.family.init()
    state = engine.init(case.objective, case.family, params, case.args)
    eqx.filter_eval_shape(lambda k: engine.step(case.objective, case.family, params, case.args, state, key=k), key)


@pytest.mark.parametrize("engine", catalogue.ENGINES)
def test_star_of_engines(engine, key):
    compose(engine, catalogue.CANONICAL_FAMILY.get(engine, "full Gaussian"), key)


@pytest.mark.parametrize("family", catalogue.FAMILIES)
def test_star_of_families(family, key):
    compose("gradient", family, key)


@pytest.mark.parametrize("name", catalogue.OBJECTIVES)
def test_star_of_objectives_is_finite(name, key):
    case = catalogue.OBJECTIVES[name]()
    engine = catalogue.ENGINES["cross entropy"](case.family)
    posterior = infer(case.objective, engine, case.family, case.args, key=key, num_steps=STEPS)
    assert_finite((posterior.params, posterior.energy_nats), name)


@pytest.mark.parametrize(("engine", "family"), sorted(catalogue.REFUSED))
def test_refusals(engine, family, key):
    compose(engine, family, key)


@pytest.mark.slow
@pytest.mark.parametrize("family", catalogue.FAMILIES)
@pytest.mark.parametrize("engine", catalogue.ENGINES)
def test_product_of_engines_and_families(engine, family, key, request):
    if (engine, family) == ("cross entropy", "normalizing flow"):
        reason = (
            "a flow is fitted by a search, which leaves it too wide: its draws are 0.08 nats above the lowest energy"
        )
        request.applymarker(pytest.mark.xfail(reason=reason))
    compose(engine, family, key)


@pytest.mark.slow
@pytest.mark.parametrize("engine", catalogue.ENGINES)
@pytest.mark.parametrize("name", catalogue.OBJECTIVES)
def test_product_of_engines_and_objectives_is_finite(engine, name, key):
    case = catalogue.OBJECTIVES[name]()
    # Whether a pair is refused depends on the kind of family, and for a network at each level on its size: this one's parameters
    # do not divide among its levels.
    kind = next(label for label, build in catalogue.FAMILIES.items() if type(build()) is type(case.family))
    method = catalogue.ENGINES[engine](case.family)
    if (engine, kind) in catalogue.REFUSED or (engine, name) == ("levelwise iterative", "path free energy"):
        with pytest.raises(BadInputError, match="Expected a .* family"):
            start(method, case, key)
        return
    posterior = infer(case.objective, method, case.family, case.args, key=key, num_steps=STEPS)
    assert_finite((posterior.params, posterior.energy_nats), f"{engine} on {name}")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["diagonal Gaussian", "full Gaussian"])
@pytest.mark.parametrize("engine", catalogue.ENGINES)
def test_product_of_engines_and_filters(engine, family, key):
    members = catalogue.FAMILIES[family]()
    filter_ = VariationalFilter(catalogue.ENGINES[engine](members), members, STEPS)
    case = catalogue.FILTERS["variational"]()

    @eqx.filter_jit
    def cycle(k):
        update_key, predict_key = jax.random.split(k)
        belief, info = filter_.update(case.model, filter_.init(case.model), case.observation, key=update_key)
        return filter_.predict(case.model, belief, case.action, key=predict_key), info

    if (engine, family) in catalogue.REFUSED:
        with pytest.raises(BadInputError, match="Expected a .* family"):
            cycle(key)
        return
    assert_finite(cycle(key), f"{engine} in a filter on {family}")


PLANS = {
    "numbers": lambda: GaussianPlan(1, 3),
    "bounded numbers": lambda: SquashedPlan(1, 3),
    "sequences": lambda: ActionSequences(jnp.array([[-1.0], [0.0], [1.0]]), 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("controller", catalogue.CONTROLLERS)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("engine", ["gradient", "natural gradient", "cross entropy", "path integral", "exhaustive"])
def test_product_of_engines_and_plans(engine, plan, controller, key):
    case, plans = catalogue.CONTROLLERS[controller](), PLANS[plan]()
    chosen = catalogue.ENGINES[engine](plans.family)
    planner = ModelPredictive(case.controller.objective, chosen, plans, num_steps=STEPS)
    act = eqx.filter_jit(lambda k: planner.act(case.context, planner.init(), key=k))
    discrete = plan == "sequences"
    undefined = {"exhaustive": not discrete, "gradient": discrete, "natural gradient": plan != "numbers"}
    if undefined.get(engine, False):
        with pytest.raises(BadInputError, match="Expected a .* family"):
            act(key)
        return
    decision, _ = act(key)
    assert decision.action.shape == (1,)
    assert_finite(decision, f"{engine} planning {plan} for {controller}")
