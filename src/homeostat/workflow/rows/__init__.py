"""Rows: options, description of the data, models and engines by name."""
