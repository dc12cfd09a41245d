"""Targets of critics against sums written out by hand, and what belongs to them: priors, temperatures, ensembles."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat.control import (
    Ahead,
    DivergenceTarget,
    FixedTemperature,
    NStep,
    Retrace,
    Segment,
    UniformPrior,
    default_target,
    dense_critics,
    entropy_target,
    policy_family,
)
from homeostat.core import Bounded
from homeostat.objectives import DualAscent
from homeostat.results import BadInputError
from tolerances import ALGEBRA

DISCOUNT = 0.9
REWARD = np.array([1.0, 2.0, 4.0, 8.0])
VALUE, COST, TAKEN = np.array([10.0, 20.0, 30.0]), np.array([0.5, 0.25, 0.125]), np.array([9.0, 18.0, 27.0])
BEHAVIOUR, POLICY = np.log([0.5, 0.2, 0.4, 0.1]), np.log([0.1, 0.8, 0.3])


def segment(terminal: int = -1, truncated: int = -1) -> Segment:
    """Four steps, one of which may be the last."""
    ends = [np.arange(4) == at for at in (terminal, truncated)]
    rest = jnp.zeros((4, 1)), jnp.zeros((4, 1)), jnp.asarray(REWARD)
    return Segment(*rest, *map(jnp.asarray, ends), jnp.asarray(BEHAVIOUR), jnp.zeros(4, bool))


AHEAD = Ahead(*map(jnp.asarray, (VALUE, COST, TAKEN, POLICY)))


def head(num: int) -> tuple[Segment, Ahead]:
    """The first steps alone."""
    cut = jax.tree.map(lambda leaf: leaf[: num + 1], segment())
    return cut, jax.tree.map(lambda leaf: leaf[:num], AHEAD)


@pytest.mark.parametrize("num", [1, 2, 3])
def test_rewards_of_several_steps_and_the_value_after_them(num):
    expected = sum(DISCOUNT**k * REWARD[k] for k in range(num)) + DISCOUNT**num * VALUE[num - 1]
    expected -= sum(DISCOUNT ** (k + 1) * COST[k] for k in range(num - 1))
    np.testing.assert_allclose(NStep(num)(*head(num), DISCOUNT), expected, atol=ALGEBRA)


def test_the_end_of_a_task_has_no_value_and_a_cut_has():
    for num, make in ((3, NStep), (3, Retrace)):
        returns = make(num)
        np.testing.assert_allclose(returns(segment(terminal=0), AHEAD, DISCOUNT), REWARD[0], atol=ALGEBRA)
        cut = REWARD[0] + DISCOUNT * VALUE[0]
        np.testing.assert_allclose(returns(segment(truncated=0), AHEAD, DISCOUNT), cut, atol=ALGEBRA)
    expected = REWARD[0] + DISCOUNT * (REWARD[1] - COST[0])
    np.testing.assert_allclose(NStep(3)(segment(terminal=1), AHEAD, DISCOUNT), expected, atol=ALGEBRA)


def test_retrace_corrects_by_clipped_ratios():
    """y_0 = r_0 + gamma (V_1 + c_1 (y_1 - Q_1)), with c = lambda min(1, pi / mu)."""
    decay, ratio = 0.7, np.minimum(1.0, np.exp(POLICY - BEHAVIOUR[1:]))
    target = REWARD[2] + DISCOUNT * VALUE[2]
    for k in (1, 0):
        target = REWARD[k] + DISCOUNT * (VALUE[k] + decay * ratio[k] * (target - TAKEN[k]))
    np.testing.assert_allclose(Retrace(3, decay)(segment(), AHEAD, DISCOUNT), target, atol=ALGEBRA)
    np.testing.assert_allclose(Retrace(1, decay)(*head(1), DISCOUNT), NStep(1)(*head(1), DISCOUNT), atol=ALGEBRA)
    with pytest.raises(BadInputError, match="at least one step"):
        Retrace(0)


def test_the_usual_target_is_that_of_the_unit_box_in_every_unit():
    """KL(pi || uniform) = |A| (1 + log 2) is an entropy of -|A| where the box is [-1, 1]."""
    unit, wide = Bounded((3,), -1.0, 1.0), Bounded((3,), -50.0, 50.0)
    np.testing.assert_allclose(entropy_target(-3.0, UniformPrior(unit)(None)), default_target(3), rtol=1e-6)
    in_wide = entropy_target(-3.0 + 3.0 * np.log(50.0), UniformPrior(wide)(None))
    np.testing.assert_allclose(in_wide, default_target(3), rtol=1e-6)
    choice = UniformPrior(Bounded((), 2, 6, True))(None)
    np.testing.assert_allclose(entropy_target(0.0, choice), np.log(5.0), rtol=1e-6)
    assert policy_family(Bounded((), 2, 6, True)).num_classes == 5
    with pytest.raises(BadInputError, match="uniform prior"):
        entropy_target(0.0, dist.Normal(0.0, 1.0))


def test_the_temperature_rises_while_policies_are_too_far_from_the_prior():
    temperature = DivergenceTarget(2.0, DualAscent(optax.sgd(0.1), initial=0.5))
    state = temperature.init()
    np.testing.assert_allclose(temperature.value(state), 0.5, atol=ALGEBRA)
    for divergence, factor in ((3.0, np.exp(0.1)), (1.0, np.exp(-0.1)), (2.0, 1.0)):
        after = temperature.value(temperature.update(jnp.asarray(divergence), state))
        np.testing.assert_allclose(after, 0.5 * factor, atol=ALGEBRA)
    fixed = FixedTemperature(0.2)
    np.testing.assert_allclose(fixed.value(fixed.update(jnp.asarray(3.0), fixed.init())), 0.2, rtol=1e-6)
    with pytest.raises(BadInputError, match="above zero"):
        FixedTemperature(0.0)


def test_an_ensemble_is_its_networks_one_by_one(key):
    critics = dense_critics(3, 2, key=key, num=4, width=5, normalize=True)
    state, action = jnp.arange(3.0), jnp.array([0.5, -1.0])
    together = eqx.filter_jit(critics)(state, action)
    for index in range(4):
        one = jax.tree.map(lambda leaf, i=index: leaf[i] if eqx.is_array(leaf) else leaf, critics.networks)
        np.testing.assert_allclose(together[index], one(jnp.concatenate([state, action]))[0], atol=ALGEBRA)
    choices = dense_critics(3, 4, key=key, num=2, width=5, discrete=True)
    assert eqx.filter_jit(choices)(state, jnp.asarray(3)).shape == (2,)


def test_actions_that_no_policy_has_are_refused():
    with pytest.raises(BadInputError, match="finite bounds"):
        policy_family(Bounded((2,)))
    with pytest.raises(BadInputError, match="one choice"):
        UniformPrior(Bounded((2,), 0, 3, True))
    with pytest.raises(BadInputError, match="at least one critic"):
        dense_critics(3, 2, key=jax.random.key(0), num=0)
