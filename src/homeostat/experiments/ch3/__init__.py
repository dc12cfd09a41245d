"""Perception with learned negative feedback: iterative amortized inference in static latent Gaussian models."""

ORDER = ("surface", "optimizers", "iterations", "mnist", "cifar10", "text", "semi_amortized", "predictive_coding")
