"""Structural time series: an output as the sum of a trend, seasons, short memory, effects of known inputs, and noise.

Outputs have components of their own and share nothing but the time, so the states of several stand side by side.
"""

import math
from collections.abc import Sequence
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

from ...results import BadInputError
from ...typing import Float, Scalar
from ._linear_dynamics import LinearDynamics
from ._linear_gaussian import LinearGaussian
from ._model_parameters import AbstractModelParameters
from ._structural_components import AbstractComponent, Block, LearnedNumber, Quantity

LEAST_REMAINDER = 1e-4
"""Least deviation of the remainder, in deviations of the data: without one the likelihood may have no bound."""


@final
class Structural(AbstractModelParameters):
    """Parameters of a structural model of one output, x_t = sum_j r_j^T z_{j,t} + s eps_t.

    Attributes:
        components: the summands, j = 1, 2, ...; at most one of them takes known inputs.
        log_scale: log s, of the remainder that lasts for one step.
    """

    components: tuple[AbstractComponent, ...]
    log_scale: Scalar

    def __check_init__(self):
        if not self.components:
            raise BadInputError("Expected at least one component, got none: pass a `Trend` or another one.")

    def model(self) -> LinearGaussian:
        blocks = [component.block() for component in self.components]
        actions = max(block.control.shape[1] for block in blocks)
        parts = Block(*(block_diag(*arrays) for arrays in zip(*blocks, strict=True)))
        control = jnp.concatenate([_widened(block.control, actions) for block in blocks])
        return LinearGaussian(
            jnp.zeros(len(parts.matrix), parts.matrix.dtype),
            parts.initial_scale_tril,
            LinearDynamics(parts.matrix, control, parts.scale_tril),
            jnp.concatenate([block.row for block in blocks])[None, :],
            jnp.exp(self.log_scale)[None, None],
        )

    def lowest(self) -> "Structural":
        return Structural(tuple(part.lowest() for part in self.components), np.asarray(math.log(LEAST_REMAINDER)))

    def quantities(self) -> tuple[Quantity, ...]:
        """Level, slope, seasons and so on, as rows for the whole state."""
        found, start, dim = [], 0, sum(_dim(component) for component in self.components)
        for component in self.components:
            for quantity in component.quantities():
                row = np.zeros(dim)
                row[start : start + quantity.row.size] = quantity.row
                found.append(quantity._replace(row=row))
            start += _dim(component)
        return tuple(found)

    def estimates(self, model: LinearGaussian) -> tuple[LearnedNumber, ...]:
        """What was learned of all components and of the remainder, from a model with these components."""
        found, start, dynamics = [], 0, model.dynamics
        assert isinstance(dynamics, LinearDynamics)
        for component in self.components:
            own = slice(start, start + _dim(component))
            block = Block(
                dynamics.matrix[own, own],
                dynamics.control[own],
                dynamics.scale_tril[own, own],
                model.initial_scale_tril[own, own],
                model.emission_matrix[0, own],
            )
            found += component.estimates(block)
            start = own.stop
        return (*found, LearnedNumber("noise of the remainder", model.emission_scale_tril[0, 0]))


def side_by_side(models: Sequence[LinearGaussian]) -> LinearGaussian:
    """Models of one output each, and of the same known inputs, as one model of all outputs with independent states.

    Raises:
        BadInputError: there is no model, or dynamics are not `LinearDynamics`.
    """
    dynamics = [model.dynamics for model in models if isinstance(model.dynamics, LinearDynamics)]
    if not models or len(dynamics) < len(models):
        raise BadInputError("Expected at least one model, all with LinearDynamics: `discretise` continuous ones first.")
    together = LinearDynamics(
        block_diag(*(each.matrix for each in dynamics)),
        jnp.concatenate([each.control for each in dynamics]),
        block_diag(*(each.scale_tril for each in dynamics)),
        jnp.concatenate([each.offset for each in dynamics]),
    )
    return LinearGaussian(
        jnp.concatenate([model.initial_mean for model in models]),
        block_diag(*(model.initial_scale_tril for model in models)),
        together,
        block_diag(*(model.emission_matrix for model in models)),
        block_diag(*(model.emission_scale_tril for model in models)),
        jnp.concatenate([model.emission_offset for model in models]),
    )


def apart(model: LinearGaussian) -> tuple[LinearGaussian, ...]:
    """The models of one output each that stand `side_by_side`, of equally many state coordinates."""
    dynamics, size = model.dynamics, model.observation_dim
    assert isinstance(dynamics, LinearDynamics)
    own = [slice(start, start + model.dim // size) for start in range(0, model.dim, model.dim // size)]
    return tuple(
        LinearGaussian(
            model.initial_mean[part],
            model.initial_scale_tril[part, part],
            LinearDynamics(
                dynamics.matrix[part, part],
                dynamics.control[part],
                dynamics.scale_tril[part, part],
                dynamics.offset[part],
            ),
            model.emission_matrix[index : index + 1, part],
            model.emission_scale_tril[index : index + 1, index : index + 1],
            model.emission_offset[index : index + 1],
        )
        for index, part in enumerate(own)
    )


def _dim(component: AbstractComponent) -> int:
    return component.quantities()[0].row.size


def _widened(control: Float[jax.Array, "k b"], actions: int) -> Float[jax.Array, "k a"]:
    return jnp.pad(control, ((0, 0), (0, actions - control.shape[1])))
