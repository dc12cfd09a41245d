"""The only place with numbers for "close enough" in the tests."""

ALGEBRA = 1e-10
"""Two routes to the same exact result, in 64-bit arithmetic."""

AUTODIFF = 1e-6
"""A derivative against a derivative, or a converged iteration against its fixed point."""

FINITE_DIFFERENCES = 1e-3
"""A derivative against central differences, or a quadrature against an integral."""

FLOAT32 = 1e-4
"""Single precision against double precision."""

MONTE_CARLO_STANDARD_ERRORS = 5.0
"""How many standard errors a Monte Carlo mean may lie from the truth (one test in 1.7 million fails by chance)."""

DESCENT = 0.05
"""Nats above the minimum at which a descent of constant rate along sampled gradients may end."""
