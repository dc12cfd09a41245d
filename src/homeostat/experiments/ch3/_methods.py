"""Networks of the chapter's sizes, and ways to infer that are trained together with a model.

A typical use:

    data = load_observations(config.dataset)
    build = partial(Networks(data, config.sizes).with_iterative, (Estimate(), Normalized(InferenceGradient(), 2)))
    method = InferenceMethod("iterative", build, num_steps=5)
    trained = train(context, "iterative", method.method(data, config.training), data.train, key=key)
    bounds = method.bounds(trained.learned, data.prepared(data.validation, 1_000, key=key), key=key)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

from ... import metrics
from ...core import AbstractFamily, AbstractModel
from ...distributions import AbstractExpectation, DiagonalGaussian, MonteCarlo
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    EnergyDescent,
    LastIteration,
    ModelWithEngine,
    free_energy_descent,
)
from ...inference.engines import AbstractEncoding, BoundLogScale, Data, Direct, Feedback, Gated, Iterative
from ...models.static import LatentGaussian, latent_gaussian
from ...nn import MLP, HighwayMLP
from ...objectives import Errors, Evidence
from ...typing import Any, Array, Float, Key
from ..kit import Method, Training
from ._data import SplitData


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the networks; the defaults are those of the authors' code for MNIST with one level."""

    latents: tuple[int, ...] = (64,)
    """Latent variables of each level, the lowest first (count)."""
    units: int = 0
    """Deterministic units of every level but the top (count)."""
    encoder_width: int = 512
    """Units in each hidden layer of an encoder or update network, which has highway connections (count)."""
    encoder_depth: int = 2
    """Its hidden layers (count)."""
    decoder_width: int = 512
    """Units in each hidden layer of the generative model (count)."""
    decoder_depth: int = 2
    """Its hidden layers (count)."""


Detach = Callable[[Array], Array]
"""What becomes of an estimate between iterations, for the gradient."""


@final
class ObservedFeatures(eqx.Module):
    """features(x) of the evidence: what `Data` feeds to an update network."""

    features: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        return self.features(args.observation)


@final
class FeatureEncoder(eqx.Module):
    """[mu, log sigma] = network(features(x)), log sigma bounded as in the authors' code.

    Attributes:
        network: maps features to parameters.
        features: from an observation to what the network reads.
        bound: applied to the output; `None` for point estimates.
    """

    network: Callable[[Array], Array]
    features: Callable[[Array], Array] = eqx.field(static=True)
    bound: Callable[[Array], Array] | None = BoundLogScale()

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        output = self.network(self.features(args.observation))
        return output if self.bound is None else self.bound(output)


def data_encoding(data: SplitData) -> Data:
    """The encoding that feeds the observation itself to an update network."""
    return Data(ObservedFeatures(data.features))


@final
@dataclass(frozen=True, eq=False)
class Networks:
    """Networks for one data set. Models are beside engines; their weights depend on the key alone, not on the engine.

    Attributes:
        data: what is observed.
        sizes: of the networks.
        highway: whether the generative model has highway layers, as everywhere but for one level of MNIST, or plain ELU layers.
    """

    data: SplitData
    sizes: NetworkSizes
    highway: bool = False

    def with_direct(self, *, key: Key) -> ModelWithEngine:
        """A model with a direct encoder."""
        return self.with_engine(self.direct, key=key)

    def with_iterative(
        self, encodings: Sequence[AbstractEncoding], *, key: Key, detach: Detach = jax.lax.stop_gradient
    ) -> ModelWithEngine:
        """A model with an update network."""
        return self.with_engine(partial(self.iterative, encodings, detach=detach), key=key)

    def with_engine(self, engine: Callable[..., Any], *, key: Key) -> ModelWithEngine:
        """A model with `engine(key=...)`."""
        model_key, engine_key = jr.split(key)
        return ModelWithEngine(self.model(key=model_key), engine(key=engine_key))

    def model(self, *, key: Key) -> LatentGaussian:
        """The generative model."""
        network = HighwayMLP if self.highway else MLP
        mapping = partial(network, width=self.sizes.decoder_width, depth=self.sizes.decoder_depth)
        return latent_gaussian(
            self.data.likelihood, self.sizes.latents, key=key, mapping=mapping, units=self.sizes.units
        )

    def direct(self, *, key: Key, family: AbstractFamily | None = None) -> Direct:
        """The direct encoder: a highway network from x to the parameters of `family` (a diagonal Gaussian by default)."""
        num_params, bound = self._parameters(family)
        network = HighwayMLP(self.data.size, num_params, self.sizes.encoder_width, self.sizes.encoder_depth, key=key)
        return Direct(FeatureEncoder(network, self.data.features, bound))

    def iterative(
        self,
        encodings: Sequence[AbstractEncoding],
        *,
        key: Key,
        family: AbstractFamily | None = None,
        detach: Detach = jax.lax.stop_gradient,
    ) -> Iterative:
        """The update network: the same highway network, with `encodings` as inputs and a gated update (Eq. 3.12).

        With `jax.lax.stop_gradient` each iteration is trained by itself, with the identity the unrolled chain.
        """
        (num_params, bound), encodings, update = self._parameters(family), tuple(encodings), Gated()
        inputs, outputs = self.encoding_size(encodings, num_params), update.outputs(num_params)
        network = HighwayMLP(inputs, outputs, self.sizes.encoder_width, self.sizes.encoder_depth, key=key)
        return Iterative(network, encodings, update, bound=bound, detach=detach)

    def encoding_size(self, encodings: Sequence[AbstractEncoding], num_params: int) -> int:
        """Length of all encodings together, from their shapes alone."""

        def encoded() -> Array:
            params, seen, latent = (jnp.zeros(size) for size in (num_params, self.data.size, sum(self.sizes.latents)))
            feedback = Feedback(params, params, Evidence(seen), lambda: Errors(seen, latent, seen, latent))
            return jnp.concatenate([encoding(feedback) for encoding in encodings])

        return int(eqx.filter_eval_shape(encoded).shape[0])

    def _parameters(self, family: AbstractFamily | None) -> tuple[int, BoundLogScale | None]:
        """How many parameters q has, and how their log scales are bounded; points have none."""
        dim = sum(self.sizes.latents)
        family = DiagonalGaussian(dim) if family is None else family
        num_params = int(jax.eval_shape(lambda: ravel_pytree(family.init())[0]).shape[0])
        return num_params, None if num_params == dim else BoundLogScale()


def default_family(model: AbstractModel) -> DiagonalGaussian:
    """Independent Gaussians over all latents of a model."""
    return DiagonalGaussian(model.initial().event_shape[0])


class InferenceMethod(NamedTuple):
    """A model with an engine, and how both are learned.

    Attributes:
        name: for tables and stages.
        build: `build(key=...)` gives the model with its engine.
        num_steps: engine steps on each observation.
        expectation: rule for the expected energy: `MonteCarlo(n)` for n samples.
        family: of q; a diagonal Gaussian by default.
        engine_weights: of the iterations' losses, for the engine.
        passes: through the decoder in one update, each forwards and backwards; differentiating through one counts as two more.
    """

    name: str
    build: Callable[..., ModelWithEngine]
    num_steps: int = 1
    expectation: AbstractExpectation = MonteCarlo(1)
    family: AbstractFamily | None = None
    engine_weights: AbstractIterationWeights = AllIterations()
    passes: int = 1

    def method(self, data: SplitData, training: Training, every: int = 100) -> Method:
        """Training of model and engine together, on rows prepared anew in each batch."""

        def learner(learned: ModelWithEngine) -> EnergyDescent:
            return free_energy_descent(
                learned, self.family_of(learned), training.optimizer(), self.expectation, self.num_steps,
                engine_weights=self.engine_weights, model_weights=LastIteration(), prepare=data.prepare,
            )  # fmt: skip

        return Method(self.name, self.build, learner, training, every=every)

    def learner(self, data: SplitData, training: Training, *, key: Key) -> EnergyDescent:
        """The learner from new weights."""
        learner = self.method(data, training).learner(eqx.filter_jit(self.build)(key=key))
        assert isinstance(learner, EnergyDescent)
        return learner

    def family_of(self, learned: ModelWithEngine) -> AbstractFamily:
        """Of q."""
        return default_family(learned.model) if self.family is None else self.family

    def bounds(
        self, learned: ModelWithEngine, rows: Array, *, key: Key, num_steps: int | None = None, num_samples: int = 8
    ) -> Float[Array, "rows moments"]:
        """Bounds before inference and after each step, in nats, by so many samples; steps as in training by default."""
        return metrics.bound_path(
            learned.model, learned.engine, self.family_of(learned), rows, key=key,
            num_steps=self.num_steps if num_steps is None else num_steps, training_expectation=self.expectation,
            expectation=MonteCarlo(num_samples),
        )  # fmt: skip


def update_seconds(
    data: SplitData, methods: Sequence[InferenceMethod], training: Training, *, key: Key, updates: int, repeats: int
) -> Float[np.ndarray, " methods"]:
    """Median seconds of one update of each method on the first training rows; equal methods are timed once."""
    efforts = {method[1:]: method for method in methods}
    learners = [partial(method.learner, data, training, key=key) for method in efforts.values()]
    batch = jnp.asarray(data.train[: training.batch_size])
    seconds = metrics.update_seconds(learners, batch, key=key, updates=updates, repeats=repeats)
    return np.array([seconds[list(efforts).index(method[1:])] for method in methods])
