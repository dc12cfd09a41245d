"""Acting while learning: worlds, the agent of the moment and a replay buffer as one loader of experience.

Every update reads a batch from the buffer; between updates the worlds are stepped with what has been learned so far, in the ratio that was
asked. All of it is carried as arrays from update to update, inside one compiled loop.
"""

import math
from fractions import Fraction
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from .._scan import scan
from ..control import Segment
from ..environments import AbstractWorlds
from ..results import BadInputError
from ..train import AbstractLoader
from ..typing import Array, Bool, Float, Int, Key, PyTree, Scalar
from ._flat import flat_state, to_action
from ._soft_actor_critic import Episodes, Experience, SoftActorCritic, SoftActorCriticState


class ActingState(NamedTuple):
    """What acting carries from step to step.

    Attributes:
        worlds: their state.
        state: what agents see of every world, flat.
        over: whether its episode has ended, so that the next step begins another one.
        agents: state of the agent in every world.
        replay: the buffer.
        running_return: of every episode so far.
        running_steps: likewise.
        finished: episodes that ended since the last update.
        turns: times that all worlds were stepped since the first update.
    """

    worlds: PyTree
    state: Float[Array, "worlds n"]
    over: Bool[Array, " worlds"]
    agents: PyTree
    replay: Any
    running_return: Float[Array, " worlds"]
    running_steps: Int[Array, " worlds"]
    finished: Episodes
    turns: Int[Array, ""]


@final
class Acting(eqx.Module):
    """How experience is gathered.

    Attributes:
        worlds: where.
        learner: makes the agent of the moment, and says how long segments are.
        batch_size: segments in a batch.
        capacity: steps that the buffer holds, of all worlds together.
        warmup: steps by the prior over actions before the first update, of all worlds together.
        updates_per_turn: updates for each time that all worlds are stepped: n or 1 / n.
    """

    worlds: AbstractWorlds
    learner: SoftActorCritic
    batch_size: int = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    warmup: int = eqx.field(static=True)
    updates_per_turn: Fraction = eqx.field(static=True)

    @property
    def segment_steps(self) -> int:
        """Steps in a segment."""
        return self.learner.returns.num_steps + 1

    def buffer(self) -> Any:
        """Functions of the replay buffer."""
        import flashbax

        return flashbax.make_trajectory_buffer(
            add_batch_size=self.worlds.num_worlds,
            sample_batch_size=self.batch_size,
            sample_sequence_length=self.segment_steps,
            period=1,
            min_length_time_axis=self.segment_steps,
            max_length_time_axis=self.capacity // self.worlds.num_worlds,
        )

    def begin(self, *, key: Key) -> ActingState:
        """Worlds at their beginning, and a buffer that the warm-up has filled."""
        worlds_key, agents_key, walk_key = jr.split(key, 3)
        num = self.worlds.num_worlds
        worlds, observation = self.worlds.init(key=worlds_key)
        learned = self.learner.init(key=agents_key)
        agents = self._fresh(learned, agents_key)
        state = self._see(observation)
        none, nothing = jnp.zeros(num, jnp.int32), jnp.zeros(num, jnp.float32)
        now = ActingState(
            worlds, state, jnp.zeros(num, bool), agents, None, nothing, none, _no_episodes(), jnp.zeros((), jnp.int32)
        )
        row = jax.eval_shape(lambda key: self._turn(now, learned, key=key, random=True)[1], key)
        example = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), row)
        now = now._replace(replay=self.buffer().init(example))
        turns = math.ceil(self.warmup / num)
        walk = lambda now, key: (self.turn(now, learned, key=key, random=True), None)  # noqa: E731
        now, _ = scan(walk, now, jr.split(walk_key, turns))
        # What the prior earned is no record of what is learned.
        return now._replace(turns=jnp.zeros((), jnp.int32), finished=_no_episodes())

    def next(self, now: ActingState, learned: SoftActorCriticState, *, key: Key) -> tuple[Experience, ActingState]:
        """Act as often as is due, and draw a batch."""
        act_key, draw_key = jr.split(key)
        ratio = self.updates_per_turn
        if ratio >= 1:
            due = learned.step % int(ratio) == 0
            now = jax.lax.cond(due, lambda now: self.turn(now, learned, key=act_key), lambda now: now, now)
        else:
            walk = lambda now, key: (self.turn(now, learned, key=key), None)  # noqa: E731
            now, _ = scan(walk, now, jr.split(act_key, int(1 / ratio)))
        # The library broadcasts freely, which is forbidden in tests of this one.
        with jax.numpy_rank_promotion("allow"):
            segments = self.buffer().sample(now.replay, draw_key).experience
        return Experience(segments, now.finished), now._replace(finished=_no_episodes())

    def turn(self, now: ActingState, learned: SoftActorCriticState, *, key: Key, random: bool = False) -> ActingState:
        """Step all worlds once, and remember it."""
        now, row = self._turn(now, learned, key=key, random=random)
        replay = self.buffer().add(now.replay, jax.tree.map(lambda leaf: leaf[:, None], row))
        return now._replace(replay=replay)

    def _turn(
        self, now: ActingState, learned: SoftActorCriticState, *, key: Key, random: bool
    ) -> tuple[ActingState, Segment]:
        act_key, step_key, fresh_key = jr.split(key, 3)
        agent, num = self.learner.agent(learned), self.worlds.num_worlds

        def decide(agent_state: PyTree, state: Array, key: Key) -> tuple[Array, Scalar, PyTree]:
            if random:
                policy, after = learned.learned.prior(state), agent_state
                action = policy.sample(key)
            else:
                decision, after = agent.act(agent_state, state, key=key)
                action, policy = decision.action, decision.info.distribution
            return action, policy.log_prob(action), after

        actions, log_probs, agents = jax.vmap(decide)(now.agents, now.state, jr.split(act_key, num))
        # Whoever chose, the buffer is of one type.
        actions, log_probs = jax.tree.map(_small, jax.lax.stop_gradient((actions, log_probs)))
        sent = jax.vmap(lambda a: to_action(self.worlds.action_spec, a))(actions)
        worlds, step = self.worlds.step(now.worlds, sent, key=step_key)
        row = Segment(now.state, actions, step.reward, step.terminal, step.truncated, log_probs, now.over)
        over = step.terminal | step.truncated
        returns, steps = now.running_return + step.reward, now.running_steps + ~now.over
        finished = Episodes(
            now.finished.count + jnp.sum(over, dtype=jnp.int32),
            now.finished.total_return + jnp.sum(jnp.where(over, returns, 0.0)),
            now.finished.total_steps + jnp.sum(jnp.where(over, steps, 0), dtype=jnp.int32),
        )
        # What an agent remembers of an episode it forgets when another one begins.
        fresh = self._fresh(learned, fresh_key)
        agents = jax.tree.map(lambda new, old: jnp.where(_along(now.over, old), new, old), fresh, agents)
        after = ActingState(
            worlds,
            self._see(step.observation),
            over,
            agents,
            now.replay,
            jnp.where(over, 0.0, returns),
            jnp.where(over, 0, steps),
            finished,
            now.turns + 1,
        )
        return after, row

    def _fresh(self, learned: SoftActorCriticState, key: Key) -> PyTree:
        agent = self.learner.agent(learned)
        return jax.vmap(lambda k: agent.init(key=k))(jr.split(key, self.worlds.num_worlds))

    def _see(self, observation: PyTree) -> Float[Array, "worlds n"]:
        spec = self.worlds.observation_spec
        return jax.vmap(lambda one: flat_state(spec, one))(observation)


@final
class ActingLoader(AbstractLoader[ActingState, Experience]):
    """A loader that acts.

    Args:
        worlds: where to act.
        learner: makes the agent of the moment.
        batch_size: segments in a batch.
        capacity: steps that the replay buffer holds, of all worlds together.
        warmup: steps by the prior over actions before the first update, of all worlds together.
        updates_per_step: updates for each step of one world; with several worlds, the updates for each time that all of them are
            stepped must be a whole number, or one in a whole number.

    Raises:
        BadInputError: a number is out of range.
    """

    def __init__(
        self,
        worlds: AbstractWorlds,
        learner: SoftActorCritic,
        *,
        batch_size: int = 256,
        capacity: int = 1_000_000,
        warmup: int = 5_000,
        updates_per_step: float | Fraction = 1,
    ):
        ratio = Fraction(updates_per_step).limit_denominator(10_000) * worlds.num_worlds
        if ratio <= 0 or 1 not in (ratio.numerator, ratio.denominator):
            raise BadInputError(
                f"Expected a whole number of updates, or one update in a whole number, for each time that "
                f"{worlds.num_worlds} worlds are stepped, got {ratio} ({updates_per_step} for each step): choose another ratio or "
                f"number of worlds."
            )
        segment = learner.returns.num_steps + 1
        if batch_size < 1 or capacity < max(warmup, segment * worlds.num_worlds):
            raise BadInputError(
                f"Expected a batch of at least 1, and a buffer for the warm-up and for {segment} steps of each world, got "
                f"batch_size={batch_size}, capacity={capacity}, warmup={warmup}."
            )
        if warmup < (segment + 1) * worlds.num_worlds:
            raise BadInputError(
                f"Expected a warm-up of at least {(segment + 1) * worlds.num_worlds} steps, so that there is a segment to learn "
                f"from, got {warmup}."
            )
        self._acting = Acting(worlds, learner, batch_size, capacity, warmup, ratio)

    def arguments(self) -> Acting:
        """How experience is gathered."""
        return self._acting

    def init(self, *, key: Key) -> ActingState:
        """Act by the prior until there is enough to learn from."""
        return _begin(self._acting, key)

    @staticmethod
    def batch(
        arguments: Acting, read: None, state: ActingState, learner_state: SoftActorCriticState, *, key: Key
    ) -> tuple[Experience, ActingState]:
        return arguments.next(state, learner_state, key=key)

    def persistent(self, state: ActingState) -> PyTree:
        """All of it, with the worlds as they can be restored."""
        return state._replace(worlds=self._acting.worlds.stored(state.worlds))

    def restored(self, initial: ActingState, persistent: ActingState) -> ActingState:
        worlds = self._acting.worlds.restored(initial.worlds, persistent.worlds)
        state = persistent._replace(worlds=worlds)
        if self._acting.worlds.restorable:
            return state
        # The worlds are elsewhere than they were: what is done next is no step of the episodes that were cut.
        return state._replace(
            over=jnp.ones_like(state.over),
            running_return=jnp.zeros_like(state.running_return),
            running_steps=jnp.zeros_like(state.running_steps),
        )


@eqx.filter_jit
def _begin(acting: Acting, key: Key) -> ActingState:
    return acting.begin(key=key)


def _no_episodes() -> Episodes:
    return Episodes(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))


def _small(leaf: Array) -> Array:
    return leaf.astype(jnp.float32 if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.int32)


def _along(flags: Bool[Array, " worlds"], leaf: Array) -> Bool[Array, "..."]:
    return flags.reshape(-1, *[1] * (leaf.ndim - 1))
