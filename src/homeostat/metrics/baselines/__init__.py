"""Simple models that need no training, beside which a fit says what it is worth."""

from ._choice import Baseline as Baseline, chosen_rows as chosen_rows, most_rows as most_rows
from ._independent import (
    independent_bernoulli_nats as independent_bernoulli_nats,
    independent_discretized_nats as independent_discretized_nats,
    independent_gaussian_nats as independent_gaussian_nats,
    word_frequencies as word_frequencies,
)
from ._rows import (
    binary_row_baselines as binary_row_baselines,
    count_row_baselines as count_row_baselines,
    level_row_baselines as level_row_baselines,
    rate_row_baselines as rate_row_baselines,
    real_row_baselines as real_row_baselines,
)
from ._sequences import (
    binary_sequence_baselines as binary_sequence_baselines,
    level_sequence_baselines as level_sequence_baselines,
    rate_sequence_baselines as rate_sequence_baselines,
    real_sequence_baselines as real_sequence_baselines,
    symbol_sequence_baselines as symbol_sequence_baselines,
)
from ._steps import StepTable as StepTable
