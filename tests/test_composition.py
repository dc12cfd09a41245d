"""Does everything compose? The star in the quick suite, the cross-product among the slow tests.

Star: every engine with one canonical problem, every family with an engine that can move it, every objective with one
canonical engine. Pairs that a method is not defined for must refuse by `BadInputError`, in the star and in the product.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import catalogue
from homeostat.control import ActionSequences, GaussianPlan, ModelPredictive, SquashedPlan
from homeostat.inference import infer
from homeostat.inference.filters import VariationalFilter
from homeostat.results import BadInputError
from homeostat.testing import assert_finite

STEPS = 3


def compose(engine_name, family_name, key, problem=None):
    """Run a named engine on a named family: finite, or refused where `catalogue.REFUSED` says so."""
    case = problem or catalogue.problem(catalogue.FAMILIES[family_name]())
    family = case.family
    engine = catalogue.ENGINES[engine_name](family)
    run = eqx.filter_jit(lambda k: infer(case.objective, engine, family, case.args, key=k, num_steps=STEPS))
    if (engine_name, family_name) in catalogue.REFUSED:
        with pytest.raises(BadInputError, match="Expected a .* family"):
            run(key)
        return
    posterior = run(key)
    assert_finite((posterior.params, posterior.energy_nats), f"{engine_name} on {family_name}")
    moved = jax.tree.map(lambda end, start: bool(jnp.any(end != start)), posterior.params, family.init())
    # A point mass has no spread to draw other candidates from: only sampling engines leave it where it is.
    stuck = family_name == "delta" and engine_name in ("cross entropy", "path integral")
    assert any(jax.tree.leaves(moved)) != stuck


@pytest.mark.parametrize("engine", catalogue.ENGINES)
def test_star_of_engines(engine, key):
    compose(engine, catalogue.CANONICAL_FAMILY.get(engine, "full Gaussian"), key)


@pytest.mark.parametrize("family", catalogue.FAMILIES)
def test_star_of_families(family, key):
    compose("gradient" if family == "delta" else "cross entropy", family, key)


@pytest.mark.parametrize("name", catalogue.OBJECTIVES)
def test_star_of_objectives(name, key):
    case = catalogue.OBJECTIVES[name]()
    engine = catalogue.ENGINES["cross entropy"](case.family)
    posterior = eqx.filter_jit(infer)(case.objective, engine, case.family, case.args, key=key, num_steps=STEPS)
    assert_finite((posterior.params, posterior.energy_nats), name)


@pytest.mark.parametrize(("engine", "family"), sorted(catalogue.REFUSED))
def test_refusals(engine, family, key):
    compose(engine, family, key)


@pytest.mark.slow
@pytest.mark.parametrize("family", catalogue.FAMILIES)
@pytest.mark.parametrize("engine", catalogue.ENGINES)
def test_product_of_engines_and_families(engine, family, key):
    compose(engine, family, key)


@pytest.mark.slow
@pytest.mark.parametrize("engine", catalogue.ENGINES)
@pytest.mark.parametrize("name", catalogue.OBJECTIVES)
def test_product_of_engines_and_objectives(engine, name, key):
    case = catalogue.OBJECTIVES[name]()
    # Whether a pair is refused depends on the kind of family, not on its size.
    kind = next(label for label, build in catalogue.FAMILIES.items() if type(build()) is type(case.family))
    compose(engine, kind, key, case)


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
    if (engine == "exhaustive" and not discrete) or (engine == "natural gradient" and plan != "numbers"):
        with pytest.raises(BadInputError, match="Expected a .* family"):
            act(key)
        return
    decision, _ = act(key)
    assert decision.action.shape == (1,)
    assert_finite(decision, f"{engine} planning {plan} for {controller}")
