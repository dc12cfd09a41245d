"""Structured variational smoothing: any engine on the free energy of the whole path."""

from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractEngine, AbstractMarkovModel, AbstractSequentialModel, AbstractSmoother, require_key
from ...distributions import (
    AbstractRecursion,
    BlockTridiagonal,
    BlockTridiagonalParams,
    PathGaussian,
    PathMarginals,
    Sequential,
)
from ...models.sequential import Measurement
from ...objectives import (
    AbstractPathExpectation,
    Neighbours,
    PathEvidence,
    PathFisher,
    PathFreeEnergy,
    at_paths,
    within,
)
from ...results import BadInputError
from ...typing import Action, Array, Float, Key, Observation
from .._infer import Posterior, infer
from ..engines import PathNaturalGradient
from ..filters import Extended, GaussianBelief
from ._rauch_tung_striebel import RauchTungStriebel
from ._recognition import in_order


@final
class SmoothedPath(eqx.Module):
    """A Gaussian over the whole path.

    Attributes:
        path: q(z_{1:T}); it can be sampled.
        moments: of every step and of neighbours.
        posterior: what the engine did.
    """

    path: BlockTridiagonal
    moments: PathMarginals
    posterior: Posterior[BlockTridiagonalParams]

    @property
    def beliefs(self) -> GaussianBelief:
        """q(z_t), leading axis time."""
        return GaussianBelief(self.moments.loc, self.moments.scale_tril)

    @property
    def cross_covariances(self) -> Float[Array, "... steps d d"]:
        """Cov(z_{t+1}, z_t), [time - 1, d, d]."""
        return self.moments.cross_covariances

    @property
    def free_energy_nats(self) -> Float[Array, "..."]:
        """An upper bound on -log p(x_{1:T}), up to the error of the expectation."""
        return self.posterior.energy_nats


@final
class Structured(AbstractSmoother):
    """q(z_{1:T}) = engine(F), a Gaussian with block-tridiagonal precision, started at the prior's own path.

    With `PathNaturalGradient` this is conjugate-computation variational inference, exact after one step where the model is
    linear and Gaussian; with `PathNewton` the Laplace smoother; with `Direct(recognition)` the amortized smoother of Archer
    et al.; any other engine moves the parameters as it would move those of one state.

    Attributes:
        engine: any engine.
        num_steps: engine steps.
        expectation: rule for E_q in the free energy.
        recursion: in which order the chain is worked through.

    References:
        Archer et al., "Black box variational inference for state space models", 2015; Khan and Lin, "Conjugate-computation
        variational inference", AISTATS 2017.
    """

    stochastic: ClassVar[bool] = True
    engine: AbstractEngine = PathNaturalGradient()
    num_steps: int = eqx.field(static=True, default=10)
    expectation: AbstractPathExpectation = Neighbours()
    recursion: AbstractRecursion = Sequential()

    def smooth(
        self,
        model: AbstractSequentialModel,
        observations: Observation | PathEvidence,
        actions: Action = None,
        *,
        key: Key | None = None,
        throw: bool = True,
    ) -> SmoothedPath:
        """Run the engine on the free energy of the path.

        Args:
            model: a Markov model with a real vector as state.
            observations: x_1, ..., x_T as for `filter`, NaN or `Masked` where missing; or a `PathEvidence`, which may be padded.
            actions: a_1, ..., a_{T-1}, or None.
            key: split over the engine's steps.
            throw: raise if the energy ends non-finite.

        Raises:
            BadInputError: the model is not Markov, or its state is no vector.
        """
        if not isinstance(model, AbstractMarkovModel):
            raise BadInputError(
                f"Expected a Markov model (initial, transition, emission), got {type(model).__name__}: the energy of a path of a "
                f"recurrent model is not a sum over neighbours. Use `VariationalFilter`, or a `ParticleSmoother` with a genealogy."
            )
        key = require_key(key, "the engine splits it over its steps")
        evidence = observations if isinstance(observations, PathEvidence) else PathEvidence.of(observations, actions)
        objective = PathFreeEnergy(model, self.expectation)
        family = path_family(model, evidence, self.recursion)
        posterior = infer(
            objective,
            in_order(self.engine, self.recursion),
            family,
            evidence,
            key=key,
            params=family.params_of(prior_path(model, evidence, self.recursion)),
            num_steps=self.num_steps,
            throw=throw,
        )
        path = within(family(posterior.params), evidence)
        return SmoothedPath(path, path.marginals(), posterior)


def path_family(
    model: AbstractMarkovModel, evidence: PathEvidence, recursion: AbstractRecursion = Sequential()
) -> PathGaussian:
    """The family of paths of a model, as long as the evidence."""
    shape = jax.eval_shape(lambda: model.initial().mean).shape
    if len(shape) != 1:
        raise BadInputError(f"Expected a model whose state is a vector, got states of shape {shape}.")
    return PathGaussian(evidence.time, shape[0], recursion=recursion)


def prior_path(
    model: AbstractMarkovModel, evidence: PathEvidence, recursion: AbstractRecursion = Sequential()
) -> BlockTridiagonal:
    """The prior linearised around the path of its means; the prior itself where the dynamics are linear and Gaussian."""
    first = model.initial().mean

    def body(state: Array, action: Action) -> tuple[Array, Array]:
        state = model.transition(state, action).mean.astype(first.dtype)
        return state, state

    _, later = jax.lax.scan(body, first, evidence.actions, length=evidence.time - 1)
    loc = jnp.concatenate([first[None], later])
    points = at_paths(loc[None], jnp.ones(1, loc.dtype))
    curvature = PathFreeEnergy(model).prior_derivatives(points, evidence, PathFisher()).curvature
    factor = recursion.cholesky(curvature)
    path = BlockTridiagonal(loc, factor.diagonal, factor.coupling, recursion, validate_args=False)
    return within(path, evidence)


def extended_path(
    model: AbstractMarkovModel, evidence: PathEvidence, recursion: AbstractRecursion = Sequential()
) -> BlockTridiagonal:
    """The means of an extended Kalman smoother, with the Fisher information of the path there; exact where all is linear.

    A start for nonlinear models, whose prior alone may lead far away from what was seen. Measurements with noise of their own
    are taken with it.
    """
    observations = evidence.observations
    if evidence.observed is not None:
        observations = jax.tree.map(
            lambda leaf, known: jnp.where(known, leaf, jnp.nan), observations, evidence.observed
        )
    if evidence.noise is not None:
        observations = Measurement(observations, evidence.noise)
    loc = RauchTungStriebel(Extended()).smooth(model, observations, evidence.actions, throw=False).beliefs.loc
    points = at_paths(loc[None], jnp.ones(1, loc.dtype))
    curvature = PathFreeEnergy(model).derivatives(points, evidence, PathFisher()).curvature
    factor = recursion.cholesky(curvature)
    return within(BlockTridiagonal(loc, factor.diagonal, factor.coupling, recursion, validate_args=False), evidence)
