"""Perception of sequences: filters and smoothers, exact and learned, and amortized variational filtering."""

ORDER = ("linear", "nonlinear", "smoother", "parallel", "music", "speech", "video", "iterations", "cost")
