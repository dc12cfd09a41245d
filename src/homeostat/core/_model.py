"""A generative model: initial / transition / emission.

    p(x_{1:T}, z_{1:T} | a_{1:T-1}) = p(z_1) p(x_1 | z_1) prod_t p(z_{t+1} | z_t, a_t) p(x_{t+1} | z_{t+1})

An environment (the generative process) has the same three parts; see `AbstractEnvironment`.
"""

import abc

import equinox as eqx

from ..typing import Action, Distribution, State


class AbstractModel(eqx.Module):
    """p(z_1), p(z' | z, a) and p(x | z). Learnable numbers are leaves, so a model can be trained through a filter."""

    @abc.abstractmethod
    def initial(self) -> Distribution:
        """The prior over the (first) latent state, p(z_1)."""

    @abc.abstractmethod
    def transition(self, state: State, action: Action) -> Distribution:
        """The dynamics p(z' | z, a). A static model raises `BadInputError`."""

    @abc.abstractmethod
    def emission(self, state: State) -> Distribution:
        """The likelihood p(x | z)."""
