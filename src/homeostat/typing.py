"""One named alias per role, used in every public signature."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Scalar, Shaped

Key: TypeAlias = PRNGKeyArray
"""A typed random key (`jax.random.key`); always keyword-only and consumed once."""

if TYPE_CHECKING:
    # NumPyro declares that samples and densities may be plain numbers, which would reject every array operation on them.
    Distribution: TypeAlias = Any
else:
    Distribution: TypeAlias = dist.Distribution
"""Anything with `sample` and `log_prob`, from `numpyro.distributions` or written in its style."""

State: TypeAlias = PyTree
"""A latent state z of a model or of an environment."""

Carry: TypeAlias = PyTree
"""What a sequential model keeps of the past: h, of which the next state and observation are functions."""

Action: TypeAlias = PyTree
"""What an agent emits; an array unless an environment says otherwise."""

Observation: TypeAlias = PyTree
"""What an agent receives; an array unless a model says otherwise."""

Params = TypeVar("Params")
"""Unconstrained parameters of a family."""

Energy: TypeAlias = Scalar
"""A scalar in nats; lower is better."""

Coefficient: TypeAlias = float | Scalar
"""A number that may be fixed, learned or traced."""

Nonlinearity: TypeAlias = Callable[[Array], Array]
"""An elementwise function."""

__all__ = [
    "Action",
    "Any",
    "Array",
    "Bool",
    "Callable",
    "Carry",
    "Coefficient",
    "Distribution",
    "Energy",
    "Float",
    "Int",
    "Key",
    "Nonlinearity",
    "Observation",
    "Params",
    "PyTree",
    "Scalar",
    "Shaped",
    "State",
]
