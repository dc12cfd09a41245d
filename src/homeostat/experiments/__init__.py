"""Experiments are claims: one readable module for each set of claims, `experiments/<group>/<name>.py`."""

from ._registry import Registry as Registry
from ._summary import Summary as Summary
