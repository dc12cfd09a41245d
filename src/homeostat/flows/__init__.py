"""Families from invertible maps."""

from ._coupling import ConditionalFlow as ConditionalFlow, NormalizingFlow as NormalizingFlow
