"""Experiments in the interactive dSprites world."""
