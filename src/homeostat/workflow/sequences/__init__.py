"""Sequences: options, description of the data, models and filters by name."""

from ._options import SEQUENCE_MODELS as SEQUENCE_MODELS, SequencesOptions as SequencesOptions
