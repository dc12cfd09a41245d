"""Learning a sequential model and what its filter learns: variational filtering expectation maximisation.

    for t = 1..T:   q_t = engine(F_t, started at p(z_t | h_t)),   z_t ~ q_t,   h_{t+1} = next_carry(h_t, z_t, x_t, a_t)
    phi   <- phi   - optimizer(grad_phi   mean_t sum_k a_k F_t(lambda_{t,k}(phi)))    local to the step
    theta <- theta - optimizer(grad_theta mean_t F_t(lambda_{t,K}; theta))            through the carries h

Once past latents are drawn, inference at t is an optimisation of F_t alone (thesis, Eq. 4.9), so nothing is differentiated
through the inference of earlier steps; the model's own recurrence is. With `detach` the identity, everything is: then a `Direct`
encoder learns as in VRNN, SRNN and SVG.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ..core import AbstractBelief, AbstractFilter, AbstractLearner, AbstractSequentialModel
from ..objectives import AbstractWeighting, FreeEnergyTerms, Unweighted
from ..results import BadInputError
from ..typing import Any, Array, Bool, Int, Key, PyTree, Scalar
from ._amortized_learning import Failure
from ._filter import match_structure
from ._iteration_weights import AbstractIterationWeights, AllIterations
from ._sequence_batch import SequenceBatch, TimeMajor, num_steps, time_major
from ._sequence_step import LossOptions, StepLoss, constant, learned_step
from .filters import VariationalFilter

LearnedFilter = TypeVar("LearnedFilter", bound=AbstractFilter)


@final
class ModelWithFilter(eqx.Module, Generic[LearnedFilter]):
    """A sequential model with a filter, whose numbers (engine, memory) may be learned beside it.

    Attributes:
        model: p(x, z).
        filter: finds the beliefs.
    """

    model: AbstractSequentialModel
    filter: LearnedFilter


class FilteringState(NamedTuple):
    """What training carries on.

    Attributes:
        learned: the model with its filter.
        optimizer: the optimiser's state.
        online: state of the optimiser of the filter, where it learns at every step; None otherwise.
        weighting: the weighting's state.
        step: number of updates done.
        failure: why updates stopped, if they did.
    """

    learned: ModelWithFilter[VariationalFilter]
    optimizer: optax.OptState
    online: optax.OptState | None
    weighting: PyTree
    step: Int[Array, ""]
    failure: Failure


class FilteringMetrics(NamedTuple):
    """What one update measured: means over all steps at which something was observed, at the last iteration.

    Attributes:
        free_energy_nats: distortion plus rate per step; times the number of steps, an upper bound on -log p(x_{1:T}).
        distortion_nats: E_q[-log p(x_t | h_t, z_t)].
        rate_nats: KL(q || p(z_t | h_t)), summed over levels.
        weighted_nats: what was descended, per step.
        failed_step: number of the update at which training stopped because something was not finite; -1 otherwise.
    """

    free_energy_nats: Scalar
    distortion_nats: Scalar
    rate_nats: Scalar
    weighted_nats: Scalar
    failed_step: Scalar


class Progress(NamedTuple):
    """What goes from one chunk of a sequence to the next.

    Attributes:
        beliefs: predictions for the next step, [batch, ...].
        method: the filter, which may learn on the way.
        online: the state of its optimiser.
        models: the numbers of each sequence's own model; None where the learned one serves all.
    """

    beliefs: AbstractBelief
    method: PyTree
    online: optax.OptState | None
    models: PyTree | None


def _as_it_is(function: Callable) -> Callable:
    return function


@final
class FilteringDescent(AbstractLearner[FilteringState, FilteringMetrics]):
    """Variational filtering expectation maximisation with any engine (Algorithm 2), descended in model and filter together.

    Attributes:
        learned: model and filter where learning starts.
        optimizer: for every learnable leaf; for the model's alone if `online` is given. `optax.chain(optax.clip_by_global_norm(c),
            ...)` clips.
        truncation: steps that are differentiated through together; beliefs go on from chunk to chunk, gradients do not, and
            memory does not grow with the length. None for whole sequences.
        weighting: around the terms of the free energy, such as `Annealing`.
        engine_credit: which iterations teach the engine.
        detach: `jax.lax.stop_gradient` keeps inference local to the step; the identity differentiates through everything, as
            encoders that read the past by themselves are trained.
        online: optimiser for the filter at every time step, on the mean over the batch, as in the authors' code.
        prepare: applied to a batch before it is used, with a key of its own, such as a random crop.
        rematerialize: applied to the step before it is looped; `eqx.filter_checkpoint` saves memory for time.

    References:
        Marino (thesis), Algorithm 2 and Eqs. 4.9 to 4.11; Marino, Cvitkovic and Yue, "A general method for amortizing
        variational filtering", NeurIPS 2018.
    """

    learned: ModelWithFilter[VariationalFilter]
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    truncation: int | None = eqx.field(static=True, default=None)
    weighting: AbstractWeighting = Unweighted()
    engine_weights: AbstractIterationWeights = AllIterations()
    detach: Callable[[Array], Array] = eqx.field(static=True, default=jax.lax.stop_gradient)
    online: optax.GradientTransformation | None = eqx.field(static=True, default=None)
    prepare: Callable[..., PyTree] | None = eqx.field(static=True, default=None)
    rematerialize: Callable[[Callable], Callable] = eqx.field(static=True, default=_as_it_is)

    def __check_init__(self):
        if self.learned.filter.num_steps < 1:
            raise BadInputError("Expected a filter with at least one engine step, got num_steps=0.")
        if self.truncation is not None and self.truncation < 1:
            raise BadInputError(f"Expected a truncation of at least one step, got {self.truncation}.")
        if self.online is not None and self.detach is not jax.lax.stop_gradient:
            raise BadInputError(
                "Expected detach=jax.lax.stop_gradient where the filter learns at every step, got another function: "
                "gradients through time would meet a filter that has changed since."
            )

    def init(self, *, key: Key) -> FilteringState:
        fine = jnp.zeros((), bool)
        method = eqx.filter(self.learned.filter, eqx.is_inexact_array)
        return FilteringState(
            self.learned,
            self.optimizer.init(self._arrays(self.learned)),
            None if self.online is None else self.online.init(method),
            self.weighting.init(),
            jnp.zeros((), jnp.int32),
            Failure(jnp.full((), -1, jnp.int32), fine, fine, fine),
        )

    def update(
        self, state: FilteringState, batch: SequenceBatch | PyTree, *, key: Key
    ) -> tuple[FilteringState, FilteringMetrics]:
        prepare_key, key = jr.split(key)
        batch = batch if self.prepare is None else self.prepare(batch, key=prepare_key)
        begin_key, run_key = jr.split(key)
        batch = batch if isinstance(batch, SequenceBatch) else SequenceBatch(batch)
        sequences = time_major(batch, self.truncation)
        num = jax.tree.leaves(sequences.observations)[0].shape[1]
        models = None if batch.models is None else eqx.filter(batch.models, eqx.is_array)
        beliefs = self.begin(state.learned, num, models, key=begin_key)
        state, metrics, _ = self.descend(state, sequences, beliefs, jnp.ones(num, bool), models, key=run_key)
        return state, metrics

    def begin(
        self, learned: ModelWithFilter[VariationalFilter], num: int, models: PyTree | None = None, *, key: Key
    ) -> AbstractBelief:
        """The beliefs before anything was seen, of so many sequences."""
        start = learned.filter.propagation.init

        def one(own: PyTree | None, k: Key) -> AbstractBelief:
            return start(_own(learned.model, own), learned.filter.memory, key=k)

        return jax.vmap(one)(models, jr.split(key, num))

    def descend(
        self,
        state: FilteringState,
        sequences: TimeMajor,
        beliefs: AbstractBelief,
        fresh: Bool[Array, " batch"],
        models: PyTree | None = None,
        *,
        key: Key,
    ) -> tuple[FilteringState, FilteringMetrics, AbstractBelief]:
        """One update from sequences that go on from `beliefs`, or begin anew where `fresh`; also the beliefs at their end."""
        gradient, total, progress = self.gradient(state, sequences, beliefs, fresh, models, key=key)
        count = jnp.maximum(total.count, 1.0)
        gradient, mean = jax.tree.map(lambda leaf: leaf / count, (gradient, total))
        failure = _judge(state, mean.terms, (gradient, progress.method))

        def apply(before: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
            target, _, optimizer, _, weighting = before
            updates, optimizer = self.optimizer.update(gradient, optimizer, target)
            moved = eqx.apply_updates(target, updates)
            return moved, progress.method, optimizer, progress.online, self.weighting.update(mean.terms, weighting)

        target, method = self._arrays(state.learned), eqx.filter(state.learned.filter, eqx.is_inexact_array)
        before = (target, method, state.optimizer, state.online, state.weighting)
        # From a failure on the last good numbers are kept, so that what was trained until then is not lost.
        target, method, optimizer, online, weighting = jax.lax.cond(failure.step < 0, apply, lambda kept: kept, before)
        learned = self._with_arrays(state.learned, target, method)
        rate_nats = jnp.sum(mean.terms.rates_nats)
        metrics = FilteringMetrics(
            mean.terms.distortion_nats + rate_nats,
            mean.terms.distortion_nats,
            rate_nats,
            mean.weighted_nats,
            failure.step.astype(rate_nats.dtype),
        )
        new = FilteringState(learned, optimizer, online, weighting, state.step + 1, failure)
        return new, metrics, progress.beliefs

    def gradient(
        self,
        state: FilteringState,
        sequences: TimeMajor,
        beliefs: AbstractBelief,
        fresh: Bool[Array, " batch"],
        models: PyTree | None = None,
        *,
        key: Key,
    ) -> tuple[PyTree, StepLoss, Progress]:
        """Sums over steps and sequences of the gradient and of what it was taken of, and where the sequences have got to."""
        target = self._arrays(state.learned)
        time = num_steps(sequences)
        size = time if self.truncation is None else min(self.truncation, time)
        method = eqx.filter(state.learned.filter, eqx.is_inexact_array)
        beliefs = self._settled(state, sequences, constant(beliefs), models, key=key)

        def chunk(progress: Progress, inputs: tuple[TimeMajor, Array, Key]) -> tuple[Progress, tuple[PyTree, StepLoss]]:
            steps, fresh, chunk_key = inputs

            def loss(target: PyTree) -> tuple[Scalar, tuple[StepLoss, Progress]]:
                learned = self._with_arrays(state.learned, target, progress.method)
                account, after = self._scan(learned, state.weighting, steps, progress, fresh, key=chunk_key)
                return account.loss, (account, after)

            gradient, (account, after) = jax.grad(loss, has_aux=True)(target)
            return after, (gradient, account)

        progress = Progress(beliefs, method, state.online, models)
        if size == time:
            progress, (gradient, account) = chunk(progress, (sequences, fresh, key))
            return gradient, account, progress
        chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), sequences)
        keys = jr.split(key, time // size)
        first = fresh[None, :] & (jnp.arange(time // size) == 0)[:, None]
        shapes = jax.eval_shape(lambda p: chunk(p, (_at(chunks, 0), fresh, key))[1], progress)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def body(carry: tuple[Progress, PyTree], inputs: Any) -> tuple[tuple[Progress, PyTree], None]:
            after, results = chunk(carry[0], inputs)
            return (after, jax.tree.map(jnp.add, carry[1], results)), None

        (progress, (gradient, account)), _ = jax.lax.scan(body, (progress, zeros), (chunks, first, keys))
        return gradient, account, progress

    def _scan(
        self,
        learned: ModelWithFilter[VariationalFilter],
        weighting: PyTree,
        steps: TimeMajor,
        progress: Progress,
        fresh: Bool[Array, " batch"],
        *,
        key: Key,
    ) -> tuple[StepLoss, Progress]:
        """Sums over the steps of one chunk; differentiable in the model, and in the filter unless it learns online."""
        begin_key, scan_key = jr.split(key)
        num = fresh.shape[0]
        begun = self.begin(learned, num, progress.models, key=begin_key)
        begun = match_structure(begun, progress.beliefs, type(learned.model).__name__)
        beliefs = jax.tree.map(lambda new, old: _choose(fresh, new, old), begun, progress.beliefs)
        run = self.rematerialize(lambda *args: self._step(weighting, progress.models, *args))

        def together(beliefs: AbstractBelief, inputs: Any) -> tuple[AbstractBelief, StepLoss]:
            return run(learned, beliefs, *inputs)

        def online(carry: Progress, inputs: Any) -> tuple[Progress, StepLoss]:
            method = eqx.combine(carry.method, eqx.filter(learned.filter, eqx.is_inexact_array, inverse=True))
            beliefs, account = run(ModelWithFilter(learned.model, method), carry.beliefs, *inputs)
            fixed, past = constant(learned.model), constant(carry.beliefs)

            def local(arrays: PyTree) -> Scalar:
                moved = eqx.combine(arrays, method)
                return run(ModelWithFilter(fixed, moved), past, *inputs)[1].loss

            gradient = jax.tree.map(lambda leaf: leaf / jnp.maximum(account.count, 1.0), jax.grad(local)(carry.method))
            updates, state = self._online().update(gradient, carry.online, carry.method)
            return Progress(beliefs, eqx.apply_updates(carry.method, updates), state, None), account

        inputs = (steps.observations, steps.actions, jr.split(scan_key, num_steps(steps)))
        if self.online is None:
            beliefs, accounts = jax.lax.scan(together, beliefs, inputs)
            end = progress._replace(beliefs=beliefs)
        else:
            end, accounts = jax.lax.scan(online, progress._replace(beliefs=beliefs, models=None), inputs)
            end = end._replace(models=progress.models)
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), accounts), end

    def _step(
        self,
        weighting: PyTree,
        models: PyTree | None,
        learned: ModelWithFilter[VariationalFilter],
        beliefs: AbstractBelief,
        observation: Any,
        action: Any,
        key: Key,
    ) -> tuple[AbstractBelief, StepLoss]:
        """One step of every sequence, summed over them."""
        method = learned.filter
        rule = LossOptions(self.weighting, weighting, self.engine_weights, self.detach)

        def one(own: PyTree, belief: AbstractBelief, x: Any, a: Any, k: Key) -> tuple[AbstractBelief, StepLoss]:
            model = _own(learned.model, own)
            step_key, move_key = jr.split(k)
            account, belief = learned_step(model, method, belief, x, rule, key=step_key)
            return method.propagation.predict(model, belief, a, key=move_key), account

        num = jax.tree.leaves(observation)[0].shape[0]
        beliefs, accounts = jax.vmap(one)(models, beliefs, observation, action, jr.split(key, num))
        return beliefs, jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), accounts)

    def _settled(
        self, state: FilteringState, sequences: TimeMajor, beliefs: AbstractBelief, models: PyTree | None, *, key: Key
    ) -> AbstractBelief:
        """The first beliefs with the data types that later ones have."""
        after, _ = jax.eval_shape(
            lambda b: self._step(state.weighting, models, state.learned, b, *_at(tuple(sequences), 0), key), beliefs
        )
        return match_structure(beliefs, after, type(state.learned.model).__name__)

    def _online(self) -> optax.GradientTransformation:
        return optax.identity() if self.online is None else self.online

    def _arrays(self, learned: ModelWithFilter[VariationalFilter]) -> PyTree:
        """What `optimizer` moves."""
        return eqx.filter(learned if self.online is None else learned.model, eqx.is_inexact_array)

    def _with_arrays(
        self, learned: ModelWithFilter[VariationalFilter], target: PyTree, method: PyTree
    ) -> ModelWithFilter[VariationalFilter]:
        """The learned parts with these numbers; `method` counts where the filter learns online."""
        if self.online is None:
            return eqx.combine(target, learned)
        return ModelWithFilter(eqx.combine(target, learned.model), eqx.combine(method, learned.filter))


def _own(model: AbstractSequentialModel, own: PyTree | None) -> AbstractSequentialModel:
    """The model of one sequence: the learned one, or one like it with numbers of its own."""
    return model if own is None else eqx.combine(own, model)


def _at(tree: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _choose(fresh: Bool[Array, " batch"], new: Array, old: Array) -> Array:
    return jnp.where(fresh.reshape(fresh.shape + (1,) * (new.ndim - 1)), new, old)


def _judge(state: FilteringState, terms: FreeEnergyTerms, numbers: PyTree) -> Failure:
    """The first failure so far: an earlier one, or what is not finite now among terms, gradients and what was learned online."""
    distortion, rate = ~jnp.isfinite(terms.distortion_nats), ~jnp.all(jnp.isfinite(terms.rates_nats))
    gone = ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(numbers)]))
    step = jnp.where(distortion | rate | gone, state.step, -1)
    now = Failure(step, distortion, rate, gone & ~distortion & ~rate)
    return jax.tree.map(lambda old, new: jnp.where(state.failure.step >= 0, old, new), state.failure, now)
