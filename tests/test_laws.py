"""Every member of the catalogue obeys the laws of its protocol, and no exported member is missing from it."""

import catalogue
import pytest
from catalogue import STRICT

from homeostat.testing import (
    check_engine,
    check_expectation,
    check_family,
    check_model,
    check_objective,
    check_tightening,
)


@pytest.mark.parametrize("name", catalogue.FAMILIES)
def test_family(name, key):
    check_family(catalogue.FAMILIES[name](), key=key, tolerances=STRICT)


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_model(name, key):
    case = catalogue.MODELS[name]()
    check_model(case.model, action=case.action, key=key, tolerances=STRICT)


@pytest.mark.parametrize("name", catalogue.OBJECTIVES)
def test_objective(name, key):
    case = catalogue.OBJECTIVES[name]()
    check_objective(case.objective, case.family, case.args, key=key, tolerances=STRICT)
    law = check_tightening if name in catalogue.BOUNDS else check_expectation
    law(case.objective, case.family, case.args, key=key, tolerances=STRICT)


@pytest.mark.parametrize("name", catalogue.ENGINES)
def test_engine(name, key):
    family = catalogue.FAMILIES[catalogue.CANONICAL_FAMILY.get(name, "full Gaussian")]()
    case = catalogue.problem(family)
    check_engine(catalogue.ENGINES[name](family), case.objective, family, case.args, key=key, tolerances=STRICT)
