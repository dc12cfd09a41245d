"""Rows: options, description of the data, models and engines by name."""

from ._options import RowsOptions as RowsOptions
