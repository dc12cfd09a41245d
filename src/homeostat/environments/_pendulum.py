"""The swing-up of a pendulum, as pure functions: the task of Gymnasium's `Pendulum-v1`, which tests hold it against."""

from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEnvironment, Bounded
from ..typing import Array, Float, Scalar

SECONDS = 0.05
"""Of one step."""
MOST_SPEED = 8.0
"""Bound of the speed, in rad/s."""
MOST_TORQUE = 2.0
"""Bound of the action, in N m."""


class PendulumState(NamedTuple):
    """Angle from upright, in rad, and speed, in rad/s."""

    angle: Scalar
    speed: Scalar


@final
class Pendulum(AbstractEnvironment[PendulumState]):
    """Bring a pendulum upright and keep it there, with too little torque to lift it at once; episodes have no end of their own.

        r = -(angle^2 + 0.1 speed^2 + 0.001 torque^2),   angle in [-pi, pi)

    Observed are cosine and sine of the angle, and the speed.

    Attributes:
        gravity: in m/s^2; mass and length are 1 kg and 1 m.

    References:
        Gymnasium, `Pendulum-v1`.
    """

    gravity: float = eqx.field(static=True, default=10.0)

    @property
    def action_spec(self):
        return Bounded((1,), -MOST_TORQUE, MOST_TORQUE)

    @property
    def observation_spec(self):
        return Bounded((3,), (-1.0, -1.0, -MOST_SPEED), (1.0, 1.0, MOST_SPEED))

    def initial(self, *, key):
        angle_key, speed_key = jr.split(key)
        angle = jr.uniform(angle_key, (), minval=-jnp.pi, maxval=jnp.pi)
        return PendulumState(angle, jr.uniform(speed_key, (), minval=-1.0, maxval=1.0))

    def transition(self, state, action, *, key):
        torque = self._torque(action)
        speed = state.speed + (1.5 * self.gravity * jnp.sin(state.angle) + 3.0 * torque) * SECONDS
        speed = jnp.clip(speed, -MOST_SPEED, MOST_SPEED)
        return PendulumState(state.angle + speed * SECONDS, speed)

    def observation(self, state, *, key):
        return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.speed])

    def reward(self, state, action, next_state):
        angle = jnp.mod(state.angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi
        return -(angle**2 + 0.1 * state.speed**2 + 0.001 * self._torque(action) ** 2)

    def terminal(self, state):
        return jnp.zeros((), bool)

    def _torque(self, action: Float[Array, " 1"]) -> Scalar:
        return jnp.clip(self.action_spec.checked(action, "a torque")[0], -MOST_TORQUE, MOST_TORQUE)
