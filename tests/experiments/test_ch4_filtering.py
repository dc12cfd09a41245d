"""Parts of the experiments on filters and smoothers: exact answers, units of the prediction, bounds of whole sequences."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat import viz
from homeostat.distributions import FullGaussian
from homeostat.experiments import Registry
from homeostat.experiments.ch4 import linear, nonlinear, parallel, smoother
from homeostat.experiments.ch4._linear_methods import difference, one_step
from homeostat.experiments.ch4._linear_systems import dense_joint, random_system
from homeostat.experiments.ch4._prediction_units import (
    InPredictionUnits,
    Preconditioned,
    direct_engine,
    from_units,
    num_params,
    to_units,
    update_engine,
)
from homeostat.experiments.ch4._systems import build_system, simulate
from homeostat.experiments.kit import Training, only
from homeostat.inference import ModelWithFilter, filter
from homeostat.inference.engines import Estimate, Iterative, LogGradient
from homeostat.inference.filters import Kalman, VariationalFilter
from tolerances import ALGEBRA, AUTODIFF

EXPERIMENTS = {"linear": linear, "nonlinear": nonlinear, "smoother": smoother, "parallel": parallel}


@pytest.fixture(scope="module")
def sequence():
    return eqx.filter_jit(partial(random_system, 1, 1, 1, 4, key=jr.key(5)))(missing=0.3)


# ------------------------------------------------------------------------------------------------------ exact answers


def test_the_dense_joint_is_what_the_kalman_filter_finds(key):
    build = eqx.filter_jit(partial(random_system, 2, 2, 1, 4, key=jr.key(3)))
    sequence = build(missing=0.3)
    assert jnp.any(jnp.isnan(sequence.observations))
    assert jnp.linalg.norm(sequence.model.dynamics.matrix, 2) < 1.0
    found = filter(Kalman(), sequence.model, sequence.observations, sequence.actions, key=key)
    exact = dense_joint(sequence)
    np.testing.assert_allclose(found.beliefs.loc, exact.filtered.mean, atol=ALGEBRA)
    np.testing.assert_allclose(found.beliefs.covariance, exact.filtered.covariance, atol=ALGEBRA)
    np.testing.assert_allclose(found.info.free_energy_nats, exact.filtered.energy_nats, atol=ALGEBRA)
    # The last step has seen everything.
    np.testing.assert_allclose(exact.smoothed.mean[-1], exact.filtered.mean[-1], atol=ALGEBRA)
    assert np.all(np.linalg.eigvalsh(exact.filtered.covariance - exact.smoothed.covariance) > -ALGEBRA)
    none = difference(Kalman(), sequence, exact, key=key)
    assert none.largest < ALGEBRA
    shifted = exact._replace(filtered=exact.filtered._replace(mean=exact.filtered.mean + 0.1))
    assert difference(Kalman(), sequence, shifted, key=key).mean == pytest.approx(0.1)


def test_one_step_errors_of_the_exact_filter_have_unit_size(sequence, key):
    found = filter(Kalman(), sequence.model, sequence.observations, sequence.actions, key=key)
    mean, spread, white = one_step(sequence.model, found.predictions, sequence.observations)
    seen = ~jnp.isnan(sequence.observations)
    np.testing.assert_allclose((white * spread)[seen], (sequence.observations - mean)[seen], atol=ALGEBRA)
    # -log p(x_t | x_{<t}) from mean and deviation.
    expected = 0.5 * white**2 + jnp.log(spread) + 0.5 * jnp.log(2.0 * jnp.pi)
    np.testing.assert_allclose(found.info.free_energy_nats[seen[:, 0]], expected[seen], atol=ALGEBRA)


# ---------------------------------------------------------------------------------------------- units of the prediction


def test_units_of_the_prediction_are_turned_back():
    prediction = dist.MultivariateNormal(jnp.arange(3.0), scale_tril=jnp.eye(3) + 0.3 * jnp.tril(jnp.ones((3, 3)), -1))
    inner = jr.normal(jr.key(0), (num_params(3),))

    @jax.jit
    def there_and_back(flat):
        return from_units(flat, 3, prediction), to_units(from_units(flat, 3, prediction), 3, prediction)

    flat, back = there_and_back(inner)
    np.testing.assert_allclose(back, inner, atol=ALGEBRA)
    start, _ = there_and_back(jnp.zeros_like(inner))
    family = FullGaussian(3)
    found = family(type(family.init())(start[:3], start[3:]))
    np.testing.assert_allclose(found.mean, prediction.mean, atol=ALGEBRA)
    np.testing.assert_allclose(found.scale_tril, prediction.scale_tril, atol=ALGEBRA)
    assert flat.shape == inner.shape


class ExactAnswer(eqx.Module):
    """What an update network should learn of scalar systems: 1 + G from the logarithm of the second gradient."""

    decades: float
    first_log_rate: float

    def __call__(self, inputs):
        curvature = jnp.exp(self.decades * inputs[3])
        log_ratio = -0.5 * jnp.log1p(curvature)
        return jnp.stack([log_ratio - self.first_log_rate, jnp.zeros(()), log_ratio])


def test_an_update_in_units_of_the_prediction_can_be_a_kalman_update(key):
    """The exact answer is a function of the gradient alone, the same for every system; small gradients are read otherwise."""
    decades, rule = 20.0, Preconditioned(1)
    network = ExactAnswer(decades, rule.first_log_rate)
    engine = InPredictionUnits(Iterative(network, (Estimate(), LogGradient(decades)), rule), 1)
    method = VariationalFilter(engine, FullGaussian(1), 1)
    sequence = eqx.filter_jit(partial(random_system, 1, 1, 1, 4, key=jr.key(5)))()
    found = filter(method, sequence.model, sequence.observations, sequence.actions, key=key)
    exact = filter(Kalman(), sequence.model, sequence.observations, sequence.actions, key=key)
    np.testing.assert_allclose(found.beliefs.loc, exact.beliefs.loc, atol=AUTODIFF)
    np.testing.assert_allclose(found.beliefs.scale_tril, exact.beliefs.scale_tril, atol=AUTODIFF)
    np.testing.assert_allclose(found.info.free_energy_nats, exact.info.free_energy_nats, atol=AUTODIFF)


@pytest.mark.parametrize("label", ["avf", "direct"])
def test_learned_filters_start_near_the_prediction_and_stay_finite(label, key):
    system = build_system("volatility", 3, 4)
    build = {"avf": partial(update_engine, 1, 8, 1), "direct": partial(direct_engine, 1, 1, 8, 1)}[label]
    method = nonlinear.variational(system, build(key=key), 1)
    values = jnp.asarray([[0.1], [40.0], [0.0]])
    found = filter(method, system.model, values, key=key)
    assert jnp.all(jnp.isfinite(found.beliefs.scale_tril))
    assert jnp.abs(found.beliefs.loc[0] - found.predictions.loc[0]) < 5.0


# --------------------------------------------------------------------------------------------------- training, bounds


def test_an_optimizer_for_the_filter_leaves_the_model(key):
    system = build_system("volatility", 3, 4)
    both = ModelWithFilter(system.model, nonlinear.variational(system, update_engine(1, 4, 1, key=key), 1))
    params = eqx.filter(both, eqx.is_inexact_array)
    optimizer = only(lambda both: both.filter, Training(10, 2, 0.1).optimizer())
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    after = optax.apply_updates(params, updates)
    assert eqx.tree_equal(after.model, params.model)
    moved = jax.tree.map(lambda a, b: jnp.all(a != b), after.filter, params.filter)
    assert all(jax.tree.leaves(moved))


def test_systems_emit_what_they_say(key):
    for name, size in (("growth", 1), ("volatility", 1), ("lorenz", 3), ("pendulum", 16)):
        system = build_system(name, 3, 4)
        drawn = eqx.filter_eval_shape(partial(simulate, system, 2, 3), key=key)
        assert drawn.states.shape == (2, 3, system.dim)
        assert np.prod(drawn.observations.shape[2:]) == system.observed == size
        assert len(system.states) == system.dim


# ------------------------------------------------------------------------------------------------ figures, the group


def test_figures_show_every_method_and_coordinate():
    time = np.arange(6.0)[:, None] * np.ones((1, 2))
    before, after = (
        viz.BeliefBand("prediction", time, 0.2 + 0.0 * time),
        viz.BeliefBand("update", time, 0.1 + 0.0 * time),
    )
    figure = viz.plot_prediction_update(before, after, time, names=("first", "second"))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["first", "second"]
    figure = viz.plot_posterior_bands([before, after], names=("first", "second"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["prediction", "update"]
    sizes = np.asarray([100.0, 1_000.0])
    figure = viz.plot_cost([viz.CostCurve("sequential", sizes, 1e-5 * sizes)], label="steps")
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata() / line.get_xdata(), 1e-5)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_scale_has_its_configuration_and_its_claims(name):
    registry = Registry()
    (summary,) = registry.find(f"ch4/{name}")
    loaded = registry.load(summary)
    assert all(claim.id.startswith(f"{name}/") for claim in loaded.claims)
    assert loaded.asserted("small") and loaded.asserted("paper")
    smoke, small = (loaded.config.for_scale(scale) for scale in ("smoke", "small"))
    assert smoke != small
    assert summary.minutes.smoke < summary.minutes.small < summary.minutes.paper


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke_runs_keep_their_claims(name, tmp_path):
    from homeostat.cli import main

    assert main(["run", f"ch4/{name}", "--scale", "smoke", "--out", str(tmp_path / "run")]) == 0
