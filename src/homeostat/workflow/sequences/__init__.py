"""Sequences: options, description of the data, models and filters by name."""
