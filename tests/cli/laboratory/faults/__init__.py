"""Experiments that end in every way but well."""
