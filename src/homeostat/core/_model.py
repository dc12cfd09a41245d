"""A generative model of a sequence, with a carry that holds whatever of the past the next step depends on.

    p(x_{1:T}, z_{1:T} | a_{1:T-1}) = prod_t p(z_t | h_t) p(x_t | h_t, z_t)
    h_1 = init_carry(),   h_{t+1} = next_carry(h_t, z_t, x_t, a_t)

Since h_t is a function of x_{<t}, z_{<t} and a_{<t}, this is the general p(x_t | x_{<t}, z_{<=t}) p(z_t | x_{<t}, z_{<t})
of a sequential latent variable model (Marino, thesis, Eq. 4.1): recurrent models keep their hidden state in h. In the
Markov case nothing of the past matters but the last state, and the carry is the prediction itself:

    h_1 = p(z_1),   h_{t+1} = p(z_{t+1} | z_t, a_t),   prior(h) = h,   emission_given(h, z) = p(x | z)

    p(x_{1:T}, z_{1:T} | a_{1:T-1}) = p(z_1) p(x_1 | z_1) prod_t p(z_{t+1} | z_t, a_t) p(x_{t+1} | z_{t+1})

An environment (the generative process) has the same three parts; see `AbstractEnvironment`.
"""

import abc
from typing import ClassVar

import equinox as eqx

from .._canonical import canonical
from ..typing import Action, Carry, Distribution, Observation, State
from ._check import check_fields


class AbstractSequentialModel(eqx.Module):
    """p(z_t | h_t), p(x_t | h_t, z_t) and how the carry h moves. Learnable numbers are leaves.

    A carry is a tree of arrays whose structure, shapes and types do not change from step to step, so that loops can be
    compiled. All latents of one step are one flat vector; levels within a step are a `Hierarchical` prior. The names of the
    methods are taken: a field of a model cannot be called `prior` or `emission_given`.

    Attributes:
        reads_observation: whether `next_carry` depends on the observation.

    References:
        Marino (thesis), Eq. 4.1.
    """

    reads_observation: ClassVar[bool] = True

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def init_carry(self) -> Carry:
        """h_1, before anything was seen."""

    @abc.abstractmethod
    def prior(self, carry: Carry) -> Distribution:
        """p(z_t | h_t), the prediction of the state."""

    @abc.abstractmethod
    def emission_given(self, carry: Carry, state: State) -> Distribution:
        """p(x_t | h_t, z_t)."""

    @abc.abstractmethod
    def next_carry(self, carry: Carry, state: State, observation: Observation, action: Action) -> Carry:
        """h_{t+1}, from all that happened at t; `action` is None for a model without actions."""


class AbstractModel(eqx.Module):
    """One latent and one observation: p(z) p(x | z). Learnable numbers are leaves."""

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def initial(self) -> Distribution:
        """The prior p(z); of a sequence, p(z_1)."""

    @abc.abstractmethod
    def emission(self, state: State) -> Distribution:
        """p(x | z)."""


class AbstractMarkovModel(AbstractModel, AbstractSequentialModel):
    """The Markov case: p(z_1), p(z' | z, a) and p(x | z)."""

    reads_observation: ClassVar[bool] = False

    @abc.abstractmethod
    def transition(self, state: State, action: Action) -> Distribution:
        """The dynamics p(z' | z, a)."""

    def init_carry(self) -> Distribution:
        """p(z_1)."""
        return canonical(self.initial())

    def prior(self, carry: Distribution) -> Distribution:
        """The carry itself."""
        return carry

    def emission_given(self, carry: Distribution | None, state: State) -> Distribution:
        """p(x | z), whatever came before."""
        return self.emission(state)

    def next_carry(
        self, carry: Distribution | None, state: State, observation: Observation, action: Action
    ) -> Distribution:
        """p(z' | z, a), whatever was observed."""
        return canonical(self.transition(state, action))
