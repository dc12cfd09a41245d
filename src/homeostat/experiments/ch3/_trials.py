"""Models trained once for each setting of iterative inference, and the bounds they reach on validation images."""

import enum
from functools import partial
from typing import NamedTuple, final

import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference.engines import AbstractEncoding, Estimate, LogGradient, PredictionErrors
from ...runs import RunContext
from ...typing import Float, Key
from ..kit import Training
from ._common import InferenceMethod, train
from ._data import SplitData
from ._networks import NetworkSizes, data_encoding, num_weights, with_direct, with_iterative


class Inputs(enum.StrEnum):
    """What an update network reads beside the current estimate."""

    gradients = "gradients"
    """log |g| and sign g of the bound's gradient."""
    errors = "errors"
    """E_q[x - mu_x] and E_q[z - mu_p]."""
    gradients_data = "gradients_data"
    """Gradients and the observation."""
    errors_data = "errors_data"
    """Errors and the observation."""

    @property
    def title(self) -> str:
        """For tables and pictures."""
        return self.value.replace("_", " and ")

    def encodings(self, data: SplitData) -> tuple[AbstractEncoding, ...]:
        """The inputs as encodings."""
        first = LogGradient() if self in (Inputs.gradients, Inputs.gradients_data) else PredictionErrors()
        seen = (data_encoding(data),) if self in (Inputs.gradients_data, Inputs.errors_data) else ()
        return Estimate(), first, *seen


class TrialBounds(NamedTuple):
    """What one trained model scores.

    Attributes:
        before_nats: bound of each image before inference.
        bound_nats: and after it.
        weights: learnable numbers of the network that infers.
    """

    before_nats: Float[np.ndarray, " rows"]
    bound_nats: Float[np.ndarray, " rows"]
    weights: int


@final
class Trials:
    """Trains a model for each setting once, and keeps what it scores."""

    def __init__(
        self,
        data: SplitData,
        sizes: NetworkSizes,
        training: Training,
        num_rows: int,
        context: RunContext,
        *,
        key: Key,
    ):
        self._data, self._sizes, self._training, self._context, self._key = data, sizes, training, context, key
        # The same pixels and the same noise for every model: differences are then those of the models.
        self._rows = data.prepared(data.validation, num_rows, key=jr.key(1))
        self._found: dict[str, TrialBounds] = {}

    def direct(self, samples: int) -> TrialBounds:
        """Direct inference with so many samples."""
        build = partial(with_direct, self._data, self._sizes)
        return self._trial(InferenceMethod(f"direct-{samples}", build, 1, MonteCarlo(samples)))

    def iterative(self, inputs: Inputs, iterations: int, samples: int = 1) -> TrialBounds:
        """Iterative inference with so many iterations and samples."""
        build = partial(with_iterative, self._data, self._sizes, inputs.encodings(self._data))
        name = f"{inputs.value}-{iterations}-{samples}"
        return self._trial(InferenceMethod(name, build, iterations, MonteCarlo(samples)))

    def gains(self) -> list[Float[np.ndarray, " rows"]]:
        """By how much inference raised the bound, for every iterative model so far."""
        return [f.bound_nats - f.before_nats for name, f in self._found.items() if not name.startswith("direct")]

    def _trial(self, method: InferenceMethod) -> TrialBounds:
        name = method.name
        if name not in self._found:
            learned = train(self._context, name, self._data, method, self._training, key=self._key).learned

            def score(key: Key) -> Float[np.ndarray, "2 rows"]:
                bounds = method.bounds(learned, self._rows, key=jr.key(2), reported=MonteCarlo(1))
                return np.asarray(bounds[:, [0, -1]]).T

            before, after = self._context.stage(f"{name}-bound", score, key=self._key)
            self._found[name] = TrialBounds(np.asarray(before), np.asarray(after), num_weights(learned.engine))
        return self._found[name]
