"""The protocol of a model of sequences that has a name: what differs between them, from their options to their figures."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from ....core import AbstractLearner
from ....data import AbstractSequences
from ....inference import Filtered, ModelWithFilter, SequenceBatch
from ....metrics import FilterOutputs, predictions_and_updates
from ....objectives import AbstractWeighting
from ....results import BadInputError
from ....runs import RunContext
from ....typing import Array, Float, Key
from ..._numbers import Range, is_binary
from ..._task import Selected
from .._description import SequencesDescription
from .._options import ENGINES, SequencesOptions

MakeBatch = Callable[[], SequenceBatch]
"""Gives all training sequences in one batch."""


class AbstractNamedModel(abc.ABC):
    """A model of sequences by its name, with its engines, its learner, and what it says of itself.

    Attributes:
        name: on the command line.
        likelihoods: that it can have.
        size_option: the size that may be a range, of which validation chooses.
        takes_inputs: whether known inputs may move it.
        takes_durations: whether steps may differ in duration, which is then the first of the known inputs.
        framed: whether its steps are frames of 64 x 64, of which no entry is left out.
        together: whether it is learned from all sequences at once, not from pieces.
        real_state: whether its state is a vector of real numbers, beliefs about which can be drawn with bands.
        solves: whether `solve` replaces training.
        refines: whether `refine` follows it.
    """

    name: ClassVar[str]
    likelihoods: ClassVar[tuple[str, ...]] = ("gaussian",)
    size_option: ClassVar[str] = "latents"
    takes_inputs: ClassVar[bool] = True
    takes_durations: ClassVar[bool] = False
    framed: ClassVar[bool] = False
    together: ClassVar[bool] = False
    real_state: ClassVar[bool] = True
    solves: ClassVar[bool] = False
    refines: ClassVar[bool] = False

    def check(self, options: SequencesOptions) -> None:
        """Refuse options that contradict each other.

        Raises:
            BadInputError: they do.
        """
        engines = ENGINES[self.name]
        if options.engine not in engines:
            raise BadInputError(
                f"Expected --engine {' or '.join(engines)} with --model {self.name}, got {options.engine}: leave --engine out, or "
                f"choose another model."
            )
        if options.likelihood not in ("auto", *self.likelihoods):
            raise BadInputError(
                f"Expected a {' or '.join(self.likelihoods)} likelihood for --model {self.name}, got {options.likelihood}: leave "
                f"--likelihood out, or choose another model."
            )

    def fitting(self, sequences: AbstractSequences, numbers: Range) -> str:
        """The likelihood that fits the numbers."""
        if is_binary(numbers) and "bernoulli" in self.likelihoods:
            return "bernoulli"
        levels = sequences.dtype == np.uint8 and "discretized-gaussian" in self.likelihoods
        return "discretized-gaussian" if levels else "gaussian"

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        """Numbers that learning holds in memory at once; 0 where pieces bound them."""
        return 0

    @abc.abstractmethod
    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        """The model with its filter before training."""

    def begin(self, system: "SequencesSystem", together: MakeBatch, run: Any, *, key: Key) -> "SequencesSystem":
        """The system with a start that depends on the training data, where it has one, as a `stage` of the run."""
        return system

    def announce(self, options: SequencesOptions) -> list[str]:
        """Sentences about how it is learned."""
        return []

    @abc.abstractmethod
    def learner(self, system: "SequencesSystem") -> AbstractLearner:
        """What improves the model on batches of sequences."""

    def solve(
        self, system: "SequencesSystem", batch: SequenceBatch, record: Callable[[int, float], None], *, key: Key
    ) -> Any:
        """The model at the maximum of its likelihood.

        Args:
            batch: all training sequences.
            record: takes the number of a step and log p of the batch, in the unit of the model, summed over sequences.
            key: of where the search starts.
        """
        raise NotImplementedError

    def refine(
        self, system: "SequencesSystem", state: Any, batch: SequenceBatch, score: Callable[[Any], float] | None
    ) -> Any:
        """The learner's state after training, improved further by what is no step of the learner.

        Args:
            batch: all training sequences.
            score: free energy of the validation data under a state; None without such data.
        """
        return state

    def select(self, system: "SequencesSystem", state: Any) -> Selected:
        """What of the learner's state is worth keeping."""
        return Selected(state.learned, state.weighting)

    def at_fault(self, term: str) -> str:
        """A term of the learner's record of failure, in words."""
        return term

    def estimate(self, options: SequencesOptions) -> str:
        """What its free energies are: `exact`, or a `bound`."""
        return "bound"

    def beliefs(self, learned: ModelWithFilter[Any], found: Filtered, batch: SequenceBatch) -> dict[str, Array]:
        """What a filter believes of the steps of one padded sequence, by name, [time, ...].

        Args:
            batch: the sequence, without the leading axis.
        """
        mean, variance = jax.vmap(lambda belief: (belief.mean, jnp.diagonal(belief.covariance)))(found.beliefs)
        return {"mean": mean, "deviation": jnp.sqrt(variance)}

    def outputs(
        self, learned: ModelWithFilter[Any], alone: SequenceBatch, num_samples: int, *, key: Key
    ) -> FilterOutputs:
        """Outputs before and after each update of the only sequence of a batch: averages of draws, or better."""
        return predictions_and_updates(learned.filter, learned.model, alone, key=key, num_samples=num_samples)

    def symbols_ahead(
        self, learned: ModelWithFilter[Any], batch: SequenceBatch, horizon: int
    ) -> Float[Array, "batch horizon v"]:
        """Probabilities of the symbols to come, of models with a categorical likelihood."""
        raise NotImplementedError

    def restored(
        self, options: SequencesOptions, description: SequencesDescription, arrays: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The arrays of `beliefs`, those about the output in the unit of the data."""
        return arrays

    def effects(
        self, learned: ModelWithFilter[Any], description: SequencesDescription
    ) -> Float[np.ndarray, "entries inputs"] | None:
        """What one unit more of each known input changes in each entry of the next step, in the model's units; None where that
        depends on the state.
        """
        return None

    def summary(self, system: "SequencesSystem") -> dict[str, Any]:
        """Numbers about the model itself for the end of a fit, plain, in the units of the data."""
        return {}

    def report(  # noqa: B027 - most have none
        self, system: "SequencesSystem", sequences: AbstractSequences, context: RunContext, *, key: Key
    ) -> None:
        """Figures of its own."""


@final
class SequencesSystem(NamedTuple):
    """A model with its filter, before training or after it.

    Attributes:
        model: by its name.
        learned: the model with its filter.
    """

    model: AbstractNamedModel
    options: SequencesOptions
    description: SequencesDescription
    learned: ModelWithFilter[Any]
    weighting: AbstractWeighting

    def learner(self) -> AbstractLearner:
        """What improves the model."""
        return self.model.learner(self)
