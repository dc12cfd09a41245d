"""Law suites: run them on your own family, model, engine, filter, controller, agent, environment or learner.

Each takes an object and what is needed to run it, a key that is split over the laws, and `tolerances`, which say how close is close
enough; it raises `AssertionError` with a sentence about the first law that does not hold. The library's own members pass them in
its tests.
"""

from ._agent import check_agent as check_agent, check_controller as check_controller
from ._assertions import (
    assert_close as assert_close,
    assert_finite as assert_finite,
    assert_same_structure as assert_same_structure,
    assert_zero_mean as assert_zero_mean,
    check_transforms as check_transforms,
)
from ._engine import check_engine as check_engine
from ._environment import check_environment as check_environment
from ._family import check_family as check_family, check_normalisation as check_normalisation
from ._filter import check_belief as check_belief, check_filter as check_filter
from ._learner import check_learner as check_learner
from ._model import check_model as check_model, check_sequential_model as check_sequential_model
from ._objective import (
    check_expectation as check_expectation,
    check_objective as check_objective,
    check_tightening as check_tightening,
)
from ._smoother import check_smoother as check_smoother
from ._tolerances import Tolerances as Tolerances
