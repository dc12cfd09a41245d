"""Learning through deterministic filters, against a dense Gaussian and against systems that are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from homeostat.inference import (
    ModelWithFilter,
    Parts,
    SequenceBatch,
    Weigh,
    evidence_descent,
    expectation_maximization,
    keep_factors,
)
from homeostat.inference.filters import Extended, Kalman, Particle, Unscented
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.objectives import Unweighted
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, FINITE_DIFFERENCES

TIME = 4


def system(matrix=((0.9, 0.2), (-0.3, 0.7))):
    dynamics = LinearDynamics(jnp.asarray(matrix), jnp.array([[0.5], [1.0]]), jnp.array([[0.6, 0.0], [0.2, 0.4]]))
    factor, emission = jnp.array([[1.2, 0.0], [0.3, 0.8]]), jnp.array([[1.0, 0.5], [0.0, 1.0]])
    noise = jnp.array([[0.5, 0.0], [-0.1, 0.3]])
    return LinearGaussian(jnp.array([0.3, -0.2]), factor, dynamics, emission, noise, jnp.array([0.1, -0.4]))


def dense(model, values, actions):
    """-log N of the known entries, from one covariance over all states."""
    dynamics, dim = model.dynamics, model.dim
    mean, means, rows = model.initial_mean, [], []
    noise = [model.initial_scale_tril] + (TIME - 1) * [dynamics.scale_tril]
    root = jnp.zeros((dim, TIME * dim))
    for t in range(TIME):
        if t:
            mean, root = (
                dynamics.matrix @ mean + dynamics.control @ actions[t - 1] + dynamics.offset,
                dynamics.matrix @ root,
            )
        root = root.at[:, t * dim : (t + 1) * dim].set(noise[t])
        means.append(model.emission_matrix @ mean + model.emission_offset)
        rows.append(model.emission_matrix @ root)
    root, emission = jnp.concatenate(rows), model.emission_scale_tril
    covariance = root @ root.T + jnp.kron(jnp.eye(TIME), emission @ emission.T)
    keep = np.flatnonzero(~np.isnan(values.ravel()))
    residual = (values.ravel() - jnp.concatenate(means))[keep]
    part = covariance[keep][:, keep]
    energy = residual @ jnp.linalg.solve(part, residual) + jnp.linalg.slogdet(part)[1]
    return 0.5 * (energy + len(keep) * jnp.log(2.0 * jnp.pi))


def test_gradients_are_those_of_the_dense_density(key):
    """Two sequences, one shorter and with what is missing in part and as a whole; what lies beyond the end counts nothing."""
    model, keys = system(), jr.split(key, 2)
    values = np.array(jr.normal(keys[0], (2, TIME, 2)))
    values[0, 1, 0] = values[0, 2] = np.nan
    seen, actions = jnp.asarray(values), jr.normal(keys[1], (2, TIME - 1, 1))
    known = values.copy()
    known[1, 3] = np.nan
    batch = SequenceBatch(seen, actions, jnp.array([4, 3]))
    learner = evidence_descent(ModelWithFilter(model, Kalman()), optax.sgd(1.0))
    slope = eqx.filter_jit(learner.problem.slope)(learner.learned, None, batch, Weigh(Unweighted(), None), key=key)

    @jax.jit
    def energy(model):
        return sum(dense(model, x, a) for x, a in zip(known, actions, strict=True)) / 6.0

    value, expected = jax.value_and_grad(energy)(model)
    np.testing.assert_allclose(slope.terms.free_energy_nats, value, rtol=ALGEBRA)
    for got, want in zip(jax.tree.leaves(slope.gradient.model), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, atol=AUTODIFF)


@pytest.mark.parametrize("method", [Extended(), Unscented()], ids=["extended", "unscented"])
def test_approximate_filters_learn_a_linear_model_as_the_exact_one_does(method, key):
    """On a linear model they are exact, so their gradients are those of the density."""
    model, keys = system(), jr.split(key, 2)
    batch = SequenceBatch(jr.normal(keys[0], (2, TIME, 2)), jr.normal(keys[1], (2, TIME - 1, 1)))

    @eqx.filter_jit
    def slope(method):
        learner = evidence_descent(ModelWithFilter(model, method), optax.sgd(1.0))
        return learner.problem.slope(learner.learned, None, batch, Weigh(Unweighted(), None), key=key)

    found, exact = slope(method), slope(Kalman())
    np.testing.assert_allclose(found.weighted_nats, exact.weighted_nats, rtol=ALGEBRA)
    for got, want in zip(jax.tree.leaves(found.gradient.model), jax.tree.leaves(exact.gradient.model), strict=True):
        # A filter may read only the lower triangle of a factor, or all of it; only the lower one is learned.
        np.testing.assert_allclose(
            *(np.tril(leaf) if leaf.shape == (2, 2) else leaf for leaf in (got, want)), atol=AUTODIFF
        )


def test_factors_are_moved_by_shares_of_themselves():
    model, floor = system(), 0.01
    gradient = jax.tree.map(jnp.ones_like, model)
    gradient = eqx.tree_at(lambda m: m.emission_scale_tril, gradient, 100.0 * jnp.ones((2, 2)))
    optimizer = keep_factors(optax.sgd(0.1), floor)
    updates, _ = optimizer.update(gradient, optimizer.init(model), model)
    after = optax.apply_updates(model, updates)
    # d/d log L_ii = L_ii d/d L_ii; below the diagonal nothing is special, above it nothing moves.
    expected = np.array([[0.6 * np.exp(-0.06), 0.0], [0.1, 0.4 * np.exp(-0.04)]])
    np.testing.assert_allclose(after.dynamics.scale_tril, expected, rtol=ALGEBRA)
    floored = np.array([[floor, 0.0], [-10.1, 0.3 * np.exp(-3.0)]])
    np.testing.assert_allclose(after.emission_scale_tril, floored, rtol=ALGEBRA)
    np.testing.assert_allclose(after.dynamics.matrix, model.dynamics.matrix - 0.1, rtol=ALGEBRA)


def test_descent_ends_where_expectation_maximization_does(key):
    """A scalar system, of which all but the unit of the state is learned by either."""
    noise, matrix, one = 0.4 * jnp.eye(1), 0.8 * jnp.eye(1), jnp.eye(1)
    truth = LinearGaussian(jnp.zeros(1), one, LinearDynamics(matrix, None, one), one, noise)
    values = jax.jit(jax.vmap(lambda k: truth.sample(jnp.zeros((39, 0)), key=k).observations))(jr.split(key, 16))
    start = LinearGaussian(jnp.zeros(1), one, LinearDynamics(0.2 * one, None, 0.5 * one), one, one)
    maximum = expectation_maximization(start, values, parts=Parts(emission_noise=True), num_steps=60).log_evidence_nats[
        -1
    ]

    def learnable(learned):
        where = lambda m: (m.model.dynamics.matrix, m.model.dynamics.scale_tril, m.model.emission_scale_tril)  # noqa: E731
        return eqx.tree_at(where, jax.tree.map(lambda _: False, learned), 3 * (True,))

    learner = evidence_descent(ModelWithFilter(start, Kalman()), optax.adam(0.05), learnable)
    arrays, static = eqx.partition(learner.init(key=key), eqx.is_array)

    @jax.jit
    def train(arrays):
        def body(arrays, key):
            state, metrics = learner.update(eqx.combine(arrays, static), values, key=key)
            return eqx.filter(state, eqx.is_array), metrics.free_energy_nats

        return jax.lax.scan(body, arrays, jr.split(key, 150))

    arrays, energies = train(arrays)
    learned = eqx.combine(arrays, static).learned.model
    np.testing.assert_allclose(energies[-1], -maximum / values[..., 0].size, atol=FINITE_DIFFERENCES)
    assert jnp.array_equal(learned.emission_matrix, one)


def test_what_draws_samples_is_refused():
    with pytest.raises(BadInputError, match="draws no samples"):
        evidence_descent(ModelWithFilter(system(), Particle()), optax.sgd(1.0))
    with pytest.raises(BadInputError, match="floor=0"):
        keep_factors(optax.sgd(1.0), 0.0)
