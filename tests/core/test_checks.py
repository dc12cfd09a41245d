"""Mistaken arguments are refused where they are passed, also without the import hook that checks types in these tests."""

from collections.abc import Iterator

import jax.numpy as jnp
import jaxtyping
import optax
import pytest

from homeostat.control import ActionSequences, ModelPredictive
from homeostat.distributions import DiagonalGaussian, MonteCarlo
from homeostat.inference import ModelWithEngine, free_energy_descent, infer
from homeostat.inference.engines import CrossEntropy, Gradient, StopGradient
from homeostat.inference.filters import Kalman, VariationalFilter
from homeostat.objectives import ExpectedFreeEnergy, FreeEnergy, Unweighted, Weighted
from homeostat.results import BadInputError
from problems import evidence, linear_model

FAMILY = DiagonalGaussian(2)
ENGINE = Gradient(optax.sgd(0.1))


@pytest.fixture(autouse=True)
def as_users_run_it() -> Iterator[None]:
    """Types are not checked by anything else."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def energy() -> FreeEnergy:
    return FreeEnergy(linear_model())


MISTAKES = {
    "an objective for a model": (lambda: FreeEnergy(energy()), "AbstractModel as `model` of FreeEnergy, got FreeEnergy"),
    "an objective for a model, in a learner": (
        lambda: free_energy_descent(ModelWithEngine(energy(), ENGINE), FAMILY, optax.adam(1e-3)),
        "AbstractModel as `model` of ModelWithEngine, got FreeEnergy",
    ),
    "a family for an expectation": (lambda: FreeEnergy(linear_model(), FAMILY), "AbstractExpectation as `expectation`"),
    "a class for an object": (lambda: FreeEnergy(linear_model(), MonteCarlo), "got the class MonteCarlo itself"),
    "a model for a free energy": (lambda: Weighted(linear_model(), Unweighted()), "FreeEnergy as `free_energy`"),
    "a family for an engine": (lambda: VariationalFilter(FAMILY, FAMILY), "AbstractEngine as `engine`"),
    "a family for an engine, in an engine": (lambda: StopGradient(FAMILY), "AbstractEngine as `engine` of StopGradient"),
    "a filter for a preference": (lambda: ExpectedFreeEnergy(Kalman()), "AbstractPreference as `preference`"),
    "a family for a plan": (
        lambda: ModelPredictive(energy(), CrossEntropy(), ActionSequences(jnp.arange(3))),
        "AbstractPlanEnergy as `objective`",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistaken_part_is_refused(build, message):
    with pytest.raises(BadInputError, match=message):
        build()


@pytest.mark.parametrize("place", ["objective", "engine", "family"])
def test_infer_refuses_mistaken_arguments(place, key):
    arguments = {"objective": energy(), "engine": ENGINE, "family": FAMILY, place: linear_model()}
    with pytest.raises(BadInputError, match=f"as the {place}, got LinearModel"):
        infer(**arguments, args=evidence(), key=key)
