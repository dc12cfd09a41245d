"""Learning a sequential model and what its filter learns: variational filtering expectation maximisation.

    for t = 1..T:   q_t = engine(F_t, started at p(z_t | h_t)),   z_t ~ q_t,   h_{t+1} = next_carry(h_t, z_t, x_t, a_t)
    phi   <- phi   - optimizer(grad_phi   mean_t sum_k a_k F_t(lambda_{t,k}(phi)))    local to the step
    theta <- theta - optimizer(grad_theta mean_t F_t(lambda_{t,K}; theta))            through the carries h

Once past latents are drawn, inference at t is an optimisation of F_t alone (thesis, Eq. 4.9), so nothing is differentiated
through the inference of earlier steps; the model's own recurrence is. With `detach` the identity, everything is: then a `Direct`
encoder learns as in VRNN, SRNN and SVG.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ..._scan import scan
from ...core import AbstractBelief, AbstractFilter, AbstractSequentialModel, check_fields, check_kind
from ...models.sequential import with_own_noise
from ...objectives import AbstractWeighting, FreeEnergy, FreeEnergyTerms, Unweighted, Weighted
from ...results import BadInputError
from ...typing import Array, Bool, Carry, Key, Observation, PyTree, Scalar
from .._filter import HINT
from .._unroll import constant
from ..filters import VariationalFilter
from ..filters._offline import length_of
from ..filters._variational import StepProblem, step_problem
from ._energy_descent import AbstractProblem, EnergyDescent, Slope, Weigh, everything
from ._iteration_loss import AbstractIterationWeights, AllIterations, LastIteration, Posed, iteration_loss
from ._sequence_batch import SequenceBatch, StreamBatch, TimeMajor, time_major

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

    def __check_init__(self):
        check_fields(self)


class StepLoss(NamedTuple):
    """What steps of filtering contribute; zero where nothing was observed.

    Attributes:
        loss: its gradient is what is learned from.
        terms: of the free energy, at the last iteration.
        weighted_nats: the weighted free energy.
        count: 1.0 for each step at which anything was observed.
    """

    loss: Scalar
    terms: FreeEnergyTerms
    weighted_nats: Scalar
    count: Scalar


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
class Filtering(AbstractProblem):
    """Free energies of the steps of a variational filter along sequences."""

    truncation: int | None = eqx.field(static=True, default=None)
    engine_weights: AbstractIterationWeights = AllIterations()
    detach: Callable[[Array], Array] = eqx.field(static=True, default=jax.lax.stop_gradient)
    online: optax.GradientTransformation | None = eqx.field(static=True, default=None)
    rematerialize: Callable[[Callable], Callable] = eqx.field(static=True, default=_as_it_is)
    num_streams: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.truncation is not None and self.truncation < 1:
            raise BadInputError(f"Expected a truncation of at least one step, got {self.truncation}.")
        if self.num_streams is not None and self.num_streams < 1:
            raise BadInputError(f"Expected at least one stream, got num_streams={self.num_streams}.")
        if self.online is not None and self.detach is not jax.lax.stop_gradient:
            raise BadInputError(
                "Expected detach=jax.lax.stop_gradient where the filter learns at every step, got another function: "
                "gradients through time would meet a filter that has changed since."
            )

    def init(self, learned: ModelWithFilter[VariationalFilter], *, key: Key) -> tuple[PyTree, AbstractBelief | None]:
        method = eqx.filter(learned.filter, eqx.is_inexact_array)
        online = None if self.online is None else self.online.init(method)
        if self.num_streams is None:
            return online, None
        return online, _begin(learned, self.num_streams, None, key=key)

    def slope(
        self, learned: ModelWithFilter[VariationalFilter], carry: Any, batch: Any, weigh: Weigh, *, key: Key
    ) -> Slope:
        begin_key, run_key = jr.split(key)
        online, beliefs = carry
        if beliefs is None:
            batch = batch if isinstance(batch, SequenceBatch) else SequenceBatch(batch)
            sequences = time_major(batch, self.truncation)
            models = None if batch.models is None else eqx.filter(batch.models, eqx.is_array)
            fresh = jnp.ones(jax.tree.leaves(sequences.observations)[0].shape[1], bool)
            start = _begin(learned, fresh.shape[0], models, key=begin_key)
        else:
            batch = batch if isinstance(batch, StreamBatch) else StreamBatch(batch)
            sequences, models, start = time_major(batch), None, beliefs
            fresh = self._fresh(batch)
        method = eqx.filter(learned.filter, eqx.is_inexact_array)
        progress = Progress(constant(start), method, online, models)
        gradient, total, progress = self._chunks(learned, weigh, sequences, progress, fresh, key=run_key)
        count = jnp.maximum(total.count, 1.0)
        gradient, mean = jax.tree.map(lambda leaf: leaf / count, (gradient, total))
        moved = None if self.online is None else ModelWithFilter(_nothing(learned.model), progress.method)
        after = progress.online, None if beliefs is None else progress.beliefs
        return Slope(gradient, mean.terms, mean.weighted_nats, after, moved)

    def _fresh(self, batch: StreamBatch) -> Bool[Array, " streams"]:
        num, time = jax.tree.leaves(batch.observations)[0].shape[:2]
        if num != self.num_streams:
            raise BadInputError(f"Expected the next piece of {self.num_streams} streams, got {num}.")
        if self.truncation is not None and time % self.truncation:
            raise BadInputError(
                f"Expected pieces of a multiple of {self.truncation} steps, the truncation, got {time}."
            )
        return jnp.zeros(num, bool) if batch.fresh is None else batch.fresh

    def _chunks(
        self,
        learned: ModelWithFilter[VariationalFilter],
        weigh: Weigh,
        sequences: TimeMajor,
        progress: Progress,
        fresh: Bool[Array, " batch"],
        *,
        key: Key,
    ) -> tuple[PyTree, StepLoss, Progress]:
        """Sums over steps and sequences of the gradient and of what it was taken of, and where the sequences have got to."""
        time = length_of(sequences)
        size = time if self.truncation is None else min(self.truncation, time)
        target = eqx.filter(learned, eqx.is_inexact_array)
        if self.online is not None:
            target = ModelWithFilter(target.model, _nothing(target.filter))

        def chunk(progress: Progress, inputs: Any) -> tuple[Progress, tuple[PyTree, StepLoss]]:
            steps, fresh, chunk_key = inputs

            def loss(target: PyTree) -> tuple[Scalar, tuple[StepLoss, Progress]]:
                now = eqx.combine(target, ModelWithFilter(learned.model, eqx.combine(progress.method, learned.filter)))
                total, after = self._scan(now, weigh, steps, progress, fresh, key=chunk_key)
                return total.loss, (total, after)

            gradient, (total, after) = jax.grad(loss, has_aux=True)(target)
            return after, (gradient, total)

        if size == time:
            progress, (gradient, total) = chunk(progress, (sequences, fresh, key))
            return gradient, total, progress
        chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), sequences)
        keys = jr.split(key, time // size)
        first = fresh[None, :] & (jnp.arange(time // size) == 0)[:, None]
        one = jax.tree.map(lambda leaf: leaf[0], chunks)
        shapes = jax.eval_shape(lambda p: chunk(p, (one, fresh, key))[1], progress)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def body(carry: tuple[Progress, PyTree], inputs: Any) -> tuple[tuple[Progress, PyTree], None]:
            after, results = chunk(carry[0], inputs)
            return (after, jax.tree.map(jnp.add, carry[1], results)), None

        (progress, (gradient, total)), _ = scan(body, (progress, zeros), (chunks, first, keys), name=NAME, hint=HINT)
        return gradient, total, progress

    def _scan(
        self,
        learned: ModelWithFilter[VariationalFilter],
        weigh: Weigh,
        steps: TimeMajor,
        progress: Progress,
        fresh: Bool[Array, " batch"],
        *,
        key: Key,
    ) -> tuple[StepLoss, Progress]:
        """Sums over the steps of one chunk; differentiable in the model, and in the filter unless it learns online."""
        begin_key, scan_key = jr.split(key)
        models = progress.models
        begun = _begin(learned, fresh.shape[0], models, key=begin_key)
        beliefs = jax.tree.map(lambda new, old: _choose(fresh, new, old), begun, progress.beliefs)
        run = self.rematerialize(lambda *args: self._step(weigh, models, *args))

        def together(beliefs: AbstractBelief, inputs: Any) -> tuple[AbstractBelief, StepLoss]:
            return run(learned, beliefs, *inputs)

        def online(carry: Progress, inputs: Any) -> tuple[Progress, StepLoss]:
            assert self.online is not None
            method = eqx.combine(carry.method, learned.filter)
            beliefs, total = run(ModelWithFilter(learned.model, method), carry.beliefs, *inputs)
            fixed, past = constant(learned.model), constant(carry.beliefs)

            def local(arrays: PyTree) -> Scalar:
                return run(ModelWithFilter(fixed, eqx.combine(arrays, method)), past, *inputs)[1].loss

            gradient = jax.tree.map(lambda leaf: leaf / jnp.maximum(total.count, 1.0), jax.grad(local)(carry.method))
            updates, state = self.online.update(gradient, carry.online, carry.method)
            return Progress(beliefs, eqx.apply_updates(carry.method, updates), state, models), total

        inputs = (steps.observations, steps.actions, jr.split(scan_key, length_of(steps)))
        name = f"{NAME} of {type(learned.model).__name__}"
        if self.online is None:
            beliefs, totals = scan(together, beliefs, inputs, name=name, hint=HINT)
            end = progress._replace(beliefs=beliefs)
        else:
            end, totals = scan(online, progress._replace(beliefs=beliefs), inputs, name=name, hint=HINT)
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), totals), end

    def _step(
        self,
        weigh: Weigh,
        models: PyTree | None,
        learned: ModelWithFilter[VariationalFilter],
        beliefs: AbstractBelief,
        observation: Any,
        action: Any,
        key: Key,
    ) -> tuple[AbstractBelief, StepLoss]:
        """One step of every sequence, summed over them."""
        method = learned.filter

        def one(own: PyTree, belief: AbstractBelief, x: Any, a: Any, k: Key) -> tuple[AbstractBelief, StepLoss]:
            model = _own(learned.model, own)
            step_key, move_key = jr.split(k)
            loss, belief = self._learned_step(model, method, belief, x, weigh, key=step_key)
            return method.propagation.predict(model, belief, a, key=move_key), loss

        num = jax.tree.leaves(observation)[0].shape[0]
        beliefs, losses = jax.vmap(one)(models, beliefs, observation, action, jr.split(key, num))
        return beliefs, jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), losses)

    def _learned_step(
        self,
        model: AbstractSequentialModel,
        method: VariationalFilter,
        belief: AbstractBelief,
        observation: Observation,
        weigh: Weigh,
        *,
        key: Key,
    ) -> tuple[StepLoss, AbstractBelief]:
        """Inference on one observation: what it contributes, and the belief after it."""
        model, observation = with_own_noise(model, observation)
        each_key, draw_key = jr.split(key)
        weights = self.engine_weights.weights(method.num_steps), LastIteration().weights(method.num_steps)

        def posed(problem: StepProblem) -> Posed:
            objective = Weighted(FreeEnergy(problem.model, method.expectation), weigh.weighting, weigh.state)
            return Posed(objective, method.family.given(problem.evidence.prior), problem.evidence)

        def one(carry: Carry, memory: PyTree, past_key: Key) -> tuple[StepLoss, PyTree, PyTree]:
            start_key, run_key = jr.split(past_key)
            cut = constant((model, carry, memory), self.detach)
            problem = step_problem(*cut, observation, method.memory)
            run, observed = posed(problem), problem.observed
            start = method.start(problem.model, run.family, key=start_key)
            start = jax.tree.map(self.detach, start)
            # The same step once more with nothing cut off, which is where the model learns.
            live = posed(step_problem(model, carry, memory, observation))
            found = iteration_loss(run, live, method.engine, start, weigh, weights, key=run_key, observed=observed)
            loss = StepLoss(found.loss, found.terms, found.weighted_nats, jnp.ones_like(found.weighted_nats))
            loss = jax.tree.map(lambda leaf: jnp.where(observed, leaf, 0.0), loss)
            return loss, jax.tree.map(self.detach, found.params), problem.evidence.context.memory

        losses, params, memory = method.propagation.map(one, belief, key=each_key)
        # Several pasts are an average over them (Eq. 4.5); one past may come without an axis.
        average = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0) if jnp.ndim(losses.loss) else leaf, losses)
        belief = method.propagation.posterior(model, method.family, belief, params, memory, observation, key=draw_key)
        return average, belief


NAME = "what is carried from step to step"


def filtering_descent(
    learned: ModelWithFilter[VariationalFilter],
    optimizer: optax.GradientTransformation,
    truncation: int | None = None,
    weighting: AbstractWeighting = Unweighted(),
    engine_weights: AbstractIterationWeights = AllIterations(),
    detach: Callable[[Array], Array] = jax.lax.stop_gradient,
    online: optax.GradientTransformation | None = None,
    prepare: Callable[..., PyTree] | None = None,
    rematerialize: Callable[[Callable], Callable] = _as_it_is,
    num_streams: int | None = None,
) -> EnergyDescent:
    """A learner by variational filtering expectation maximisation with any engine (Algorithm 2), in model and filter together.

    Batches are `SequenceBatch`, or arrays [batch, time, ...].

    Args:
        learned: model and filter where learning starts.
        optimizer: for every learnable leaf; for the model's alone if `online` is given. `optax.chain(optax.clip_by_global_norm(c),
            ...)` clips.
        truncation: steps that are differentiated through together; beliefs go on from chunk to chunk, gradients do not, and
            memory does not grow with the length. None for whole sequences.
        weighting: around the terms of the free energy, such as `Annealing`.
        engine_weights: weights of the iterations in what the engine learns from.
        detach: `jax.lax.stop_gradient` keeps inference local to the step; the identity differentiates through everything, as
            encoders that read the past by themselves are trained.
        online: optimiser for the filter at every time step, on the mean over the batch, as in the authors' code.
        prepare: applied to a batch before it is used, with a key of its own, such as a random crop.
        rematerialize: applied to the step before it is looped; `eqx.filter_checkpoint` saves memory for time.
        num_streams: if given, batches are `StreamBatch`, pieces of so many long sequences: each update goes on from the beliefs
            where the one before ended. Gradients do not cross pieces; memory and time of an update depend on the piece alone.

    References:
        Marino (thesis), Algorithm 2 and Eqs. 4.9 to 4.11; Marino, Cvitkovic and Yue, "A general method for amortizing
        variational filtering", NeurIPS 2018.
    """
    check_kind(learned, ModelWithFilter, "what is learned")
    check_kind(learned.filter, VariationalFilter, "`filter` of ModelWithFilter")
    if learned.filter.num_steps < 1:
        raise BadInputError("Expected a filter with at least one engine step, got num_steps=0.")
    problem = Filtering(truncation, engine_weights, detach, online, rematerialize, num_streams)
    learnable = everything if online is None else _model_only
    return EnergyDescent(learned, problem, optimizer, weighting, prepare, learnable)


def _begin(learned: ModelWithFilter[VariationalFilter], num: int, models: PyTree | None, *, key: Key) -> AbstractBelief:
    """The beliefs before anything was seen, of so many sequences."""
    start = learned.filter.propagation.init

    def one(own: PyTree | None, k: Key) -> AbstractBelief:
        return start(_own(learned.model, own), learned.filter.memory, key=k)

    return jax.vmap(one)(models, jr.split(key, num))


def _model_only(learned: ModelWithFilter[VariationalFilter]) -> ModelWithFilter:
    return ModelWithFilter(everything(learned.model), jax.tree.map(lambda _: False, learned.filter))


def _nothing(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda _: None, tree)


def _own(model: AbstractSequentialModel, own: PyTree | None) -> AbstractSequentialModel:
    """The model of one sequence: the learned one, or one like it with numbers of its own."""
    return model if own is None else eqx.combine(own, model)


def _choose(fresh: Bool[Array, " batch"], new: Array, old: Array) -> Array:
    return jnp.where(fresh.reshape(fresh.shape + (1,) * (new.ndim - 1)), new, old)
