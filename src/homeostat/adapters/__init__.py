"""Faces towards other libraries; each needs its library installed."""

from ._scikit_learn import LatentVariableModel as LatentVariableModel
