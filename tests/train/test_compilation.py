"""Programs are compiled once: not again for other batches, later iterations, other weights or other rows to evaluate."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
import pytest

from homeostat.distributions import DiagonalGaussian, MonteCarlo
from homeostat.inference import ModelWithEngine, free_energy_descent, infer
from homeostat.inference.engines import BoundLogScale, Estimate, Gated, Iterative, LogGradient
from homeostat.metrics import evaluate
from homeostat.models.static import Bernoulli, latent_gaussian
from homeostat.nn import MLP
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.train import AbstractLoopCallback, InMemoryLoader, fit

PIXELS, DIM, STEPS = 5, 2, 2
FAMILY = DiagonalGaussian(DIM)
COMPILED = "/jax/core/compile/backend_compile_duration"


class Counter(AbstractLoopCallback):
    """Programs compiled so far, and after each segment of a loop."""

    def __init__(self):
        self.count, self.after = 0, []

    def listen(self, event, seconds, **_):
        self.count += event == COMPILED

    def restore(self, like):
        return None

    def after_segment(self, report, checkpoint):
        self.after.append(self.count)


@pytest.fixture
def programs():
    counter = Counter()
    jax.monitoring.register_event_duration_secs_listener(counter.listen)
    yield counter
    jax.monitoring.unregister_event_duration_listener(counter.listen)


def test_one_program_for_all_batches_iterations_and_evaluations(programs, key):
    model = latent_gaussian(Bernoulli((PIXELS,)), (DIM,), key=key, mapping=partial(MLP, width=4, depth=1))
    engine = Iterative(
        MLP(6 * DIM, 4 * DIM, 4, 1, key=key), (Estimate(), LogGradient()), Gated(), bound=BoundLogScale()
    )
    learner = free_energy_descent(ModelWithEngine(model, engine), FAMILY, optax.adam(1e-2), MonteCarlo(1), STEPS)
    data = jr.bernoulli(key, 0.4, (12, PIXELS)).astype(float)
    # Three batches an epoch: eight segments of two updates go over the ends of epochs.
    learned = fit(learner, InMemoryLoader(data, 4), num_steps=16, every=2, key=key, callback=programs).state.learned
    assert len(programs.after) == 8 and programs.after[0] > 0
    # The first segment compiles the updates, the second what is done between two; from then on there is nothing to compile.
    assert programs.after[1:] == [programs.after[1]] * 7

    def measured(learned, rows, key):
        found = evaluate(
            learned.model, learned.engine, FAMILY, rows, key=key, num_steps=STEPS, num_samples=30, batch_size=4
        )
        return jax.block_until_ready(found.likelihood.log_likelihood_nats)

    def explained(learned, row, key):
        objective = FreeEnergy(learned.model, MonteCarlo(2))
        return infer(objective, learned.engine, FAMILY, Evidence(row), key=key, num_steps=STEPS).params

    explained = eqx.filter_jit(explained)
    others, other_key = 1.0 - data, jr.fold_in(key, 1)
    untrained = ModelWithEngine(model, engine)
    measured(learned, data, key), explained(learned, data[0], key)
    before = programs.count
    measured(untrained, others, other_key), explained(untrained, others[0], other_key)
    assert programs.count == before


def test_more_iterations_are_no_larger_program(key):
    """Iterations are a loop in the program: what is traced does not grow with their number."""
    model = latent_gaussian(Bernoulli((PIXELS,)), (DIM,), key=key, mapping=partial(MLP, width=4, depth=1))
    traced = []

    def network(inputs):
        traced.append(1)
        return jnp.zeros(4 * DIM)

    engine = Iterative(network, (Estimate(), LogGradient()), Gated())

    def traces(num_steps):
        traced.clear()
        run = lambda row: infer(FreeEnergy(model), engine, FAMILY, Evidence(row), key=key, num_steps=num_steps).params  # noqa: E731
        jax.eval_shape(run, jnp.zeros(PIXELS))
        return len(traced)

    assert traces(2) == traces(50)
