"""Sequences: options, description of the data, models and filters by name."""

from ._options import SequencesOptions as SequencesOptions
