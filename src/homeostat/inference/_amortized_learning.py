"""Learning a model and what an engine learns (an encoder, an update network) by the free energy of data.

    lambda_k = engine's estimate after k iterations on x
    phi   <- phi   - optimizer(grad_phi   mean_x sum_k a_k F(lambda_k(phi); theta))
    theta <- theta - optimizer(grad_theta mean_x sum_k b_k F(lambda_k; theta))

The weights a (for the engine) and b (for the model) say which iterations teach: every one, the last, or the first. Iterative
amortized inference averages over iterations for the engine and teaches the model by the last, which is variational expectation
maximisation with a learned E-step; with `Direct` and one iteration it is the variational autoencoder.
"""

import itertools
from collections.abc import Callable
from typing import Generic, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jax.flatten_util import ravel_pytree

from ..core import AbstractEngine, AbstractFamily, AbstractLearner, AbstractModel, check_differentiable, check_fields
from ..distributions import AbstractExpectation, MonteCarlo
from ..objectives import AbstractWeighting, Evidence, FreeEnergy, FreeEnergyTerms, Unweighted, Weighted
from ..results import BadInputError
from ..typing import Any, Array, Bool, Float, Int, Key, Params, PyTree, Scalar
from ._iteration_weights import AbstractIterationWeights, AllIterations, LastIteration
from ._start import standard_start
from .engines import AbstractFeedbackEngine, feedback_at


@final
class ModelWithEngine(eqx.Module):
    """A generative model with an engine whose numbers are learned beside it.

    Attributes:
        model: p(x, z).
        engine: finds q.
        family: of q, where it has numbers that all observations share and that are learned too (`ConditionalFlow`).
    """

    model: AbstractModel
    engine: AbstractEngine
    family: AbstractFamily | None = None

    def __check_init__(self):
        check_fields(self)


class Failure(NamedTuple):
    """The first update that had to be refused because something was not finite; the numbers before it are kept.

    Attributes:
        step: number of the update, counted from 0; -1 if there was none.
        distortion: whether the distortion was at fault.
        rate: whether a rate was.
        gradient: whether a gradient was (and the terms were finite).
    """

    step: Int[Array, ""]
    distortion: Bool[Array, ""]
    rate: Bool[Array, ""]
    gradient: Bool[Array, ""]


class FreeEnergyDescentState(NamedTuple):
    """What training carries on.

    Attributes:
        learned: the model with its engine.
        optimizer: the optimiser's state.
        weighting: the weighting's state.
        step: number of updates done.
        failure: why updates stopped, if they did.
    """

    learned: ModelWithEngine
    optimizer: optax.OptState
    weighting: PyTree
    step: Int[Array, ""]
    failure: Failure


class DescentMetrics(NamedTuple):
    """What one update measured: means over the batch, at the last iteration.

    Attributes:
        free_energy_nats: distortion plus rate, an upper bound on -log p(x) on average, whatever the weighting.
        distortion_nats: E_q[-log p(x | z)].
        rate_nats: KL(q || p), summed over levels.
        weighted_nats: what was descended.
        failed_step: number of the update at which training stopped because something was not finite; -1 otherwise.
    """

    free_energy_nats: Scalar
    distortion_nats: Scalar
    rate_nats: Scalar
    weighted_nats: Scalar
    failed_step: Scalar


@final
class FreeEnergyDescent(AbstractLearner[FreeEnergyDescentState, DescentMetrics], Generic[Params]):
    """Descend the mean free energy in the numbers of the model and of the engine together.

    With an engine that detaches its iterations (`Iterative` as it comes) and the default credits, one gradient at each
    estimate serves as training signal of the iteration before and as input of the next; other engines are differentiated
    through as they run.

    Attributes:
        learned: model and engine where learning starts.
        family: of q, unless `learned` brings one.
        optimizer: for every learnable leaf.
        expectation: rule for the expected energy.
        num_steps: K, engine steps on each observation.
        weighting: around the terms of the free energy.
        engine_credit: which iterations teach the engine.
        model_credit: which iterations teach the model.
        start: gives the first estimate; `standard_start` or `start_at_prior`.
        prepare: applied to a batch before it is used, with a key of its own, such as dynamic binarisation.
        unroll: iterations that are compiled one after the other instead of in a loop.

    References:
        Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; Marino, Yue and Mandt, "Iterative amortized
        inference", ICML 2018; Marino (thesis), Algorithm 1 and Sec. 3.3.
    """

    learned: ModelWithEngine
    family: AbstractFamily[Params]
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    expectation: AbstractExpectation = MonteCarlo(1)
    num_steps: int = eqx.field(static=True, default=1)
    weighting: AbstractWeighting = Unweighted()
    engine_weights: AbstractIterationWeights = AllIterations()
    model_weights: AbstractIterationWeights = LastIteration()
    start: Callable[..., PyTree] = eqx.field(static=True, default=standard_start)
    prepare: Callable[..., PyTree] | None = eqx.field(static=True, default=None)
    unroll: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one engine step, got num_steps={self.num_steps}.")
        check_fields(self)
        check_differentiable(FreeEnergy(self.learned.model, self.expectation), self._family(self.learned))

    def init(self, *, key: Key) -> FreeEnergyDescentState:
        fine = jnp.zeros((), bool)
        return FreeEnergyDescentState(
            self.learned,
            self.optimizer.init(eqx.filter(self.learned, eqx.is_inexact_array)),
            self.weighting.init(),
            jnp.zeros((), jnp.int32),
            Failure(jnp.full((), -1, jnp.int32), fine, fine, fine),
        )

    def update(
        self, state: FreeEnergyDescentState, batch: PyTree, *, key: Key
    ) -> tuple[FreeEnergyDescentState, DescentMetrics]:
        prepare_key, key = jr.split(key)
        batch = batch if self.prepare is None else self.prepare(batch, key=prepare_key)
        gradient, terms, weighted = self.gradient(state.learned, batch, weighting=state.weighting, key=key)
        failure = _judge(state, terms, gradient)
        learned, fixed = eqx.partition(state.learned, eqx.is_inexact_array)

        def apply(before: tuple[PyTree, PyTree, PyTree]) -> tuple[PyTree, PyTree, PyTree]:
            learned, optimizer, weighting = before
            updates, optimizer = self.optimizer.update(gradient, optimizer, learned)
            return eqx.apply_updates(learned, updates), optimizer, self.weighting.update(terms, weighting)

        # From a failure on the last good numbers are kept, so that what was trained until then is not lost. A branch costs
        # less than choosing between old and new in every number.
        before = (learned, state.optimizer, state.weighting)
        learned, optimizer, weighting = jax.lax.cond(failure.step < 0, apply, lambda kept: kept, before)
        new = FreeEnergyDescentState(eqx.combine(learned, fixed), optimizer, weighting, state.step + 1, failure)
        rate_nats = jnp.sum(terms.rates_nats)
        metrics = DescentMetrics(
            terms.distortion_nats + rate_nats,
            terms.distortion_nats,
            rate_nats,
            weighted,
            failure.step.astype(terms.distortion_nats.dtype),
        )
        return new, metrics

    def gradient(
        self, learned: ModelWithEngine, batch: PyTree, *, weighting: PyTree, key: Key
    ) -> tuple[ModelWithEngine, FreeEnergyTerms, Scalar]:
        """Gradient in every learnable leaf, mean terms at the last iteration, and what was descended."""
        engine = learned.engine
        reuses = (
            isinstance(engine, AbstractFeedbackEngine)
            and engine.detach is jax.lax.stop_gradient
            # A memory carries gradients from one iteration to the next, which the thrifty path has no place for.
            and not jax.tree.leaves(engine.start())
            and isinstance(self.engine_weights, AllIterations)
            and isinstance(self.model_weights, LastIteration)
            and learned.family is None
        )
        return (self._reusing if reuses else self._differentiating)(learned, batch, weighting, key)

    def _family(self, learned: ModelWithEngine) -> AbstractFamily:
        return self.family if learned.family is None else learned.family

    def _objective(self, model: AbstractModel, weighting: PyTree) -> Weighted:
        return Weighted(FreeEnergy(model, self.expectation), self.weighting, weighting)

    def _starts(self, model: AbstractModel, family: AbstractFamily, num: int, key: Key) -> Float[Array, "batch k"]:
        return jax.vmap(lambda k: ravel_pytree(self.start(model, family, key=k))[0])(jr.split(key, num))

    def _differentiating(
        self, learned: ModelWithEngine, batch: PyTree, weighting: PyTree, key: Key
    ) -> tuple[Any, Any, Any]:
        """Reverse mode through the iterations as the engine runs them."""
        num = jax.tree.leaves(batch)[0].shape[0]
        start_key, *step_keys = jr.split(key, self.num_steps + 1)
        engine_weights = self.engine_weights.weights(self.num_steps)
        model_weights = self.model_weights.weights(self.num_steps)
        unravel = ravel_pytree(self.family.init())[1]

        def run(learned: ModelWithEngine, flat: Array, evidence: Evidence, keys: Array) -> Float[Array, "steps k"]:
            family = self._family(learned).given(learned.model.initial())
            objective = self._objective(learned.model, weighting)
            params, path = unravel(flat), []
            state = learned.engine.init(objective, family, params, evidence)
            for k in range(self.num_steps):
                params, state, _ = learned.engine.step(objective, family, params, evidence, state, key=keys[k])
                path.append(ravel_pytree(params)[0])
            return jnp.stack(path)

        def loss(learned: ModelWithEngine):
            model, fixed = learned.model, _constant(learned.model)
            starts = self._starts(fixed, _constant(self._family(learned)).given(fixed.initial()), num, start_key)
            keys = jnp.stack([jr.split(k, num) for k in step_keys], axis=1)
            paths = jax.vmap(lambda *one: run(learned, *one))(starts, Evidence(batch), keys)

            def measured(model: AbstractModel, flat: Array, key: Key) -> tuple[Scalar, FreeEnergyTerms]:
                family = self._family(learned).given(model.initial())
                objective = self._objective(model, weighting)

                def one(vector: Array, evidence: Evidence, key: Key) -> FreeEnergyTerms:
                    return objective.terms(family(unravel(vector)), evidence, key=key)

                terms = jax.vmap(one)(flat, Evidence(batch), jr.split(key, num))
                value = jnp.mean(jax.vmap(lambda t: self.weighting(t, weighting))(terms))
                return value, jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), terms)

            total, terms, value = jnp.zeros(()), None, None
            for k, (a, b) in enumerate(zip(engine_weights, model_weights, strict=True)):
                last, flat = k == self.num_steps - 1, paths[:, k]
                eval_key = jr.fold_in(start_key, k)
                if not (a or b or last):
                    continue
                if a == b:
                    value, terms = measured(model, flat, eval_key)
                    total += a * value
                    continue
                # Where an iteration teaches the engine nothing, nothing is differentiated through it.
                value, terms = measured(fixed, flat if a else jax.lax.stop_gradient(flat), eval_key)
                total += a * value
                if b:
                    total += b * measured(model, jax.lax.stop_gradient(flat), eval_key)[0]
            return total, (terms, value)

        (_, (terms, value)), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(learned)
        return gradient, terms, value

    def _reusing(self, learned: ModelWithEngine, batch: PyTree, weighting: PyTree, key: Key) -> tuple[Any, Any, Any]:
        """One gradient at every estimate, which teaches the iteration before it and feeds the one after it."""
        num = jax.tree.leaves(batch)[0].shape[0]
        start_key, *keys = jr.split(key, self.num_steps + 2)
        unravel = ravel_pytree(self.family.init())[1]
        model = learned.model
        family, objective = self.family.given(model.initial()), self._objective(model, weighting)
        evidence = Evidence(batch)

        def energy(objective: Weighted, family: AbstractFamily, flat: Array, evidence: Evidence, key: Key):
            terms = objective.terms(family(unravel(flat)), evidence, key=key)
            return self.weighting(terms, weighting), terms

        def slope(flat: Float[Array, "batch k"], key: Key) -> Float[Array, "batch k"]:
            one = jax.grad(lambda *args: energy(objective, family, *args)[0])
            return jax.vmap(one)(flat, evidence, jr.split(key, num))

        trained, fixed = eqx.partition(learned.engine, eqx.is_inexact_array)

        def iterate(flat: Array, gradient: Array, key: Key) -> tuple[Array, Callable]:
            """A proposal, and how its gradient reaches the engine."""

            def propose(trained: PyTree) -> Array:
                engine = eqx.combine(trained, fixed)

                def one(flat: Array, gradient: Array, evidence: Evidence, key: Key) -> Array:
                    feedback = feedback_at(objective, family(unravel(flat)), flat, gradient, evidence, key=key)
                    return engine.propose(feedback, engine.start())[0].astype(flat.dtype)

                return jax.vmap(one)(flat, gradient, evidence, jr.split(key, num))

            return jax.vjp(propose, trained)

        def body(carry, keys):
            flat, gradient, total = carry
            flat, back = iterate(flat, gradient, keys[0])
            gradient = slope(flat, keys[1])
            return (flat, gradient, jax.tree.map(jnp.add, total, back(gradient)[0])), None

        flat = self._starts(model, family, num, start_key)
        carry = (flat, slope(flat, keys[0]), jax.tree.map(jnp.zeros_like, trained))
        pairs = jnp.stack([jnp.stack(pair) for pair in itertools.pairwise(keys)])
        carry, _ = jax.lax.scan(body, carry, pairs[:-1], unroll=min(self.unroll, max(1, self.num_steps - 1)))
        flat, gradient, total = carry
        flat, back = iterate(flat, gradient, pairs[-1, 0])

        def last(learned_model: AbstractModel, flat: Array):
            family, objective = self.family.given(learned_model.initial()), self._objective(learned_model, weighting)
            values, terms = jax.vmap(lambda *args: energy(objective, family, *args))(
                flat, evidence, jr.split(pairs[-1, 1], num)
            )
            return jnp.sum(values), jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), terms)

        learnable, rest = eqx.partition(model, eqx.is_inexact_array)
        (value, terms), (model_gradient, gradient) = jax.value_and_grad(
            lambda learnable, flat: last(eqx.combine(learnable, rest), flat), argnums=(0, 1), has_aux=True
        )(learnable, flat)
        total = jax.tree.map(lambda a, b: (a + b) / (num * self.num_steps), total, back(gradient)[0])
        model_gradient = jax.tree.map(lambda leaf: leaf / num, model_gradient)
        return ModelWithEngine(model_gradient, total), terms, value / num


def _judge(state: FreeEnergyDescentState, terms: FreeEnergyTerms, gradient: PyTree) -> Failure:
    """The first failure so far: an earlier one, or what is not finite now."""
    distortion, rate = ~jnp.isfinite(terms.distortion_nats), ~jnp.all(jnp.isfinite(terms.rates_nats))
    gone = ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]))
    step = jnp.where(distortion | rate | gone, state.step, -1)
    now = Failure(step, distortion, rate, gone & ~distortion & ~rate)
    return jax.tree.map(lambda old, new: jnp.where(state.failure.step >= 0, old, new), state.failure, now)


def _constant(tree: PyTree) -> PyTree:
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)
