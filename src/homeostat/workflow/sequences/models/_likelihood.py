"""What models have in common that are solved: their likelihood is maximised at once, by a quasi-Newton method."""

from typing import Any, ClassVar

import numpy as np

from ....core import AbstractLearner
from ....inference import SequenceBatch
from ....models.sequential import LinearDynamics, LinearGaussian
from ....results import BadInputError
from ....typing import Array, Float
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._named import AbstractNamedModel, ModelWithFilter, SequencesSystem

MOST_STEPS = 500
"""Steps of the search at most; it ends by itself after some tens."""


class AbstractSolvedModel(AbstractNamedModel):
    """A linear-Gaussian model with an exact filter, at the maximum of its likelihood."""

    together: ClassVar[bool] = True
    solves: ClassVar[bool] = True

    def learner(self, system: SequencesSystem) -> AbstractLearner:
        raise NotImplementedError(f"{self.name} is solved")

    def estimate(self, options: SequencesOptions) -> str:
        return "exact"

    def check(self, options: SequencesOptions) -> None:
        super().check(options)
        if not options.standardize:
            raise BadInputError(
                f"Expected --standardize with --model {self.name}, whose wide start is in deviations of the data, got "
                f"--no-standardize."
            )

    def effects(
        self, learned: ModelWithFilter[Any], description: SequencesDescription
    ) -> Float[np.ndarray, "entries inputs"] | None:
        model = learned.model
        assert isinstance(model, LinearGaussian)
        if not isinstance(model.dynamics, LinearDynamics):
            return None
        return np.asarray(model.emission_matrix @ model.dynamics.control, np.float64)


def seen_values(batch: SequenceBatch) -> Float[np.ndarray, "sequences time m"]:
    """Observations with NaN where nothing was observed, and flat steps."""
    assert batch.mask is not None
    values = np.where(batch.mask, np.asarray(batch.observations, np.float64), np.nan)
    return values.reshape(*values.shape[:2], -1)


def lengths_of(batch: SequenceBatch) -> Array | None:
    """Steps of each sequence."""
    return None if batch.lengths is None else np.asarray(batch.lengths)
