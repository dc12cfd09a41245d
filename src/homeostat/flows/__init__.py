"""Families from invertible maps."""

from ._coupling import (
    ConditionalFlow as ConditionalFlow,
    ConditionalFlowParams as ConditionalFlowParams,
    FlowParams as FlowParams,
    NormalizingFlow as NormalizingFlow,
)
