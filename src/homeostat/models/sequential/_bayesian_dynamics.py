"""Linear dynamics with a posterior over their parameters."""

from typing import final

import equinox as eqx
import jax.numpy as jnp

from ...distributions import MatrixNormalInverseWishart
from ...results import BadInputError
from ...typing import Array, Distribution, Float, Key, Scalar
from ._linear_dynamics import LinearDynamics


@final
class BayesianLinearDynamics(eqx.Module):
    """z' = W (z, u, 1) + eps with a matrix-normal inverse-Wishart belief about W = [A B c] and the noise.

    Called like any dynamics it gives the posterior predictive, a multivariate Student-t. It learns online with `update`.

    Attributes:
        belief: posterior over [A B c] and the noise covariance; without an offset, over [A B].
        action_dim: a.
    """

    belief: MatrixNormalInverseWishart
    action_dim: int = eqx.field(static=True)

    def __check_init__(self):
        expected = self.belief.dim + self.action_dim
        if self.belief.num_regressors not in (expected, expected + 1):
            raise BadInputError(
                f"Expected a belief over {expected} or {expected + 1} regressors (state, action and perhaps a constant), "
                f"got {self.belief.num_regressors}."
            )

    @classmethod
    def prior(
        cls,
        dim: int,
        action_dim: int,
        *,
        offset: bool = False,
        coefficient_scale: float = 10.0,
        noise_scale: float = 0.1,
        degrees: float | None = None,
    ) -> "BayesianLinearDynamics":
        """A weak prior around standing still: A = 1, B = 0, c = 0.

        Args:
            dim: d.
            action_dim: a.
            offset: whether there is a constant regressor.
            coefficient_scale: prior standard deviation of a coefficient, in units of the noise's standard deviation.
            noise_scale: prior guess of the noise's standard deviation, in state units.
            degrees: nu; d + 2 by default, the smallest whole number for which E[Sigma] (then noise_scale^2) exists.
        """
        width = dim + action_dim + int(offset)
        degrees = dim + 2.0 if degrees is None else degrees
        belief = MatrixNormalInverseWishart.prior(
            jnp.eye(dim, width),
            precision_tril=jnp.eye(width) / coefficient_scale,
            scale_tril=jnp.eye(dim) * (noise_scale * max(degrees - dim - 1.0, 1.0) ** 0.5),
            degrees=degrees,
        )
        return cls(belief, action_dim)

    def regressors(self, state: Float[Array, " d"], action: Array | None = None) -> Float[Array, " k"]:
        """(z, u, 1), or (z, u) where there is no offset; no action counts as zero."""
        dtype = self.belief.factor.dtype
        action = jnp.zeros(self.action_dim, dtype) if action is None else jnp.asarray(action, dtype)
        constant = jnp.ones(self.belief.num_regressors - self.belief.dim - self.action_dim, dtype)
        return jnp.concatenate([state, action, constant])

    def __call__(self, state: Float[Array, " d"], action: Array | None = None) -> Distribution:
        """Posterior predictive of the next state, in which the uncertainty about A, B and L is averaged."""
        return self.belief.predictive(self.regressors(state, action))

    def update(
        self, state: Float[Array, " d"], action: Array, next_state: Float[Array, " d"], *, forgetting: float = 1.0
    ) -> "BayesianLinearDynamics":
        """Posterior after one transition; `forgetting` in (0, 1] discounts all that came before."""
        belief = self.belief.update(self.regressors(state, action), next_state, forgetting=forgetting)
        return BayesianLinearDynamics(belief, self.action_dim)

    def update_moments(
        self, square_root: Float[Array, "kd n"], count: Scalar | float | int
    ) -> "BayesianLinearDynamics":
        """Posterior after transitions of which only expected second moments of (z, u, 1, z') are known."""
        return BayesianLinearDynamics(self.belief.update_moments(square_root, count), self.action_dim)

    def information_gain(self, state: Float[Array, " d"], action: Array) -> Scalar:
        """Expected information about A, B and L from trying `action` in `state`, in nats."""
        return self.belief.information_gain(self.regressors(state, action))

    def expected(self) -> LinearDynamics:
        """The dynamics with E[A], E[B], E[c] and the factor of E[L L^T]."""
        return LinearDynamics.from_coefficients(self.belief.mean, self.belief.noise_tril, action_dim=self.action_dim)

    def sample(self, *, key: Key) -> LinearDynamics:
        """Dynamics drawn from the posterior."""
        sample = self.belief.sample(key=key)
        return LinearDynamics.from_coefficients(sample.coefficients, sample.scale_tril, action_dim=self.action_dim)
