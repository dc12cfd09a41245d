"""Peers that a claim is held against, where they are installed."""

from ._dynamax import by_dynamax as by_dynamax
