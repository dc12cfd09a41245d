"""Generative models: initial, transition and emission."""
