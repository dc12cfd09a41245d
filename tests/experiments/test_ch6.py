"""Parts of the experiments on control by feedback."""

import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.cli import main
from homeostat.experiments.ch6.linear_quadratic import Config, problem_in, solve


def test_the_riccati_solution_is_the_integral_over_actions():
    """V(x) = alpha log of the integral of N(u; 0, 1) exp(Q(x, u) / alpha), on a grid; its peak is the best action."""
    config, state = Config(), jnp.array([1.0, -0.5])
    solution = solve(config.temperature, config.discount)
    problem = problem_in(state, solution, config)
    axis = np.linspace(-5.0, 5.0, 401)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    after = np.asarray([[1.0, 0.2], [0.0, 1.0]]) @ np.asarray(state) + grid @ np.asarray([[0.02, 0.2], [0.0, 0.1]])
    later = np.einsum("ni,ij,nj->n", after, np.asarray(solution.value_matrix), after) + float(solution.offset)
    now = float(state[0] ** 2 + 0.1 * state[1] ** 2) + 0.1 * np.sum(grid**2, axis=1)
    values = -(now + config.discount * later)
    np.testing.assert_allclose(problem.critics(state, jnp.asarray(grid[777]))[0], values[777], rtol=1e-6)
    density = np.exp(values / config.temperature - 0.5 * np.sum(grid**2, axis=1)) / (2.0 * np.pi)
    value = config.temperature * np.log(np.sum(density) * (axis[1] - axis[0]) ** 2)
    exact = -state @ solution.value_matrix @ state - solution.offset
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    mean = np.sum(density[:, None] * grid, axis=0) / np.sum(density)
    np.testing.assert_allclose(mean, -solution.gain @ state, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_quadratic", "probes"])
def test_smoke_runs_keep_their_claims(name, tmp_path):
    assert main(["run", f"ch6/{name}", "--scale", "smoke", "--out", str(tmp_path / "run")]) == 0
