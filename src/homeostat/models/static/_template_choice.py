"""A sprite whose template is one of several, chosen by a discrete latent.

    k ~ Categorical(pi),   z ~ N(0, 1)^4,   x | k, z ~ N(STN(gamma(z), I_k), sigma_k^2)

With q(k, z) = q(k) q(z | k) the free energy is

    F = sum_k q(k) (F_k - log pi_k + log q(k)),   F_k = E_q(z|k)[log q(z | k) - log p(x, z | k)],

least at q(k) ~ pi_k exp(-F_k), where F = -log sum_k pi_k exp(-F_k): the discrete latent is closed over, and only the
continuous ones are left to an engine. `homeostat.inference.infer_modes` does this with `TemplateChoice.models` as
hypotheses. As a model of its own, `TemplateChoice` sums k out of the likelihood, which lets any engine run on it.
"""

from typing import TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Array, Distribution, Energy, Float, Int
from ._spatial_transformer import SpatialTransformer

Model = TypeVar("Model", bound=AbstractModel)


def stack_models(models: tuple[Model, ...]) -> Model:
    """One model whose arrays carry a leading axis over `models`, which must have the same structure and shapes."""
    if not models:
        raise BadInputError("Expected at least one model to stack, got none.")
    first = jax.tree.structure(models[0])
    shapes = [leaf.shape for leaf in jax.tree.leaves(eqx.filter(models[0], eqx.is_array))]
    for model in models[1:]:
        own = [leaf.shape for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))]
        if jax.tree.structure(model) != first or own != shapes:
            raise BadInputError(
                f"Expected models of one structure, got {type(models[0]).__name__} with arrays of shapes {shapes} and "
                f"{type(model).__name__} with {own}: give them the same sizes and settings."
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *models)


def model_at(models: Model, index: int | Int[Array, ""]) -> Model:
    """One of stacked models; the inverse of `stack_models`."""
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, models)


def choice_free_energy(energies: Float[Array, " choices"], log_prior: Float[Array, " choices"]) -> Energy:
    """F = -log sum_k pi_k exp(-F_k), in nats: the free energy with the best q(k)."""
    return -jax.nn.logsumexp(log_prior - energies)


def choice_probabilities(
    energies: Float[Array, " choices"], log_prior: Float[Array, " choices"]
) -> Float[Array, " choices"]:
    """q(k) ~ pi_k exp(-F_k), the minimiser of the free energy over q(k)."""
    return jax.nn.softmax(log_prior - energies)


@final
class TemplateChoice(AbstractModel):
    """p(x | z) = sum_k pi_k N(x; STN(gamma(z), I_k), sigma_k^2): several templates, the choice summed out.

    Attributes:
        models: stacked `SpatialTransformer`s (`stack_models`); each may be learned.
        logits: log pi, up to a constant.
    """

    models: SpatialTransformer
    logits: Float[Array, " choices"]

    def __check_init__(self):
        if self.models.template.ndim != 3 or self.logits.shape != self.models.template.shape[:1]:
            raise BadInputError(
                f"Expected stacked models and one logit for each, got templates of shape {self.models.template.shape} and "
                f"logits of shape {self.logits.shape}: use `stack_models`."
            )

    @property
    def log_prior(self) -> Float[Array, " choices"]:
        """log pi, normalised."""
        return jax.nn.log_softmax(self.logits)

    def chosen(self, choice: int | Int[Array, ""]) -> SpatialTransformer:
        """The model of one choice."""
        return model_at(self.models, choice)

    def initial(self) -> Distribution:
        return dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1)

    def emission(self, state: Float[Array, "4"]) -> Distribution:
        images = eqx.filter_vmap(lambda model: model.image(state))(self.models)
        sigma = jnp.broadcast_to(jnp.exp(self.models.log_sigma)[:, None, None], images.shape)
        components = dist.Normal(images, sigma).to_event(2)
        return dist.MixtureSameFamily(dist.CategoricalLogits(self.logits), components)
