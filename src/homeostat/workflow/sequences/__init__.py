"""Sequences: options, description of the data, models and filters by name."""

from ._options import ENGINES as ENGINES, SequencesOptions as SequencesOptions
