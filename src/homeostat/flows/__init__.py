"""Families from invertible maps."""

from ._coupling import (
    ConditionalFlow as ConditionalFlow,
    ConditionalFlowParams as ConditionalFlowParams,
    FlowDistribution as FlowDistribution,
    FlowParams as FlowParams,
    NormalizingFlow as NormalizingFlow,
)
