"""Models of sequences by their names on the command line, a file for each kind."""

from ._likelihood import MOST_STEPS as MOST_STEPS
from ._named import AbstractNamedModel as AbstractNamedModel, SequencesSystem as SequencesSystem
from ._registry import named_model as named_model
