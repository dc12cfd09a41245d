"""Learners: energy descent for whatever can be differentiated, expectation maximisation where the maximum is known."""
