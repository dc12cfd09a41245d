"""The exact smoother of dynamax, where it is installed; it is no dependency of this project."""

import jax
import jax.numpy as jnp
import numpy as np

from ....models.sequential import LinearDynamics
from .._linear_systems import LinearSequence, Reference, StateMoments


def by_dynamax(sequence: LinearSequence) -> Reference | None:
    """The same from dynamax, or None where it is not installed; for sequences without missing entries.

    Its sums are of its own making: it adds 1e-9 to the diagonals of the matrices that it inverts.
    """
    try:
        from dynamax.linear_gaussian_ssm import inference as peer
    except ImportError:
        return None
    model, dynamics = sequence.model, sequence.model.dynamics
    assert isinstance(dynamics, LinearDynamics)
    square = lambda factor: factor @ factor.T  # noqa: E731
    inputs = jnp.concatenate([jnp.zeros((1, sequence.actions.shape[1])), sequence.actions])
    # dynamax broadcasts over ranks, and its u_t leads to z_t.
    with jax.numpy_rank_promotion("allow"):
        params = peer.ParamsLGSSM(
            initial=peer.ParamsLGSSMInitial(mean=model.initial_mean, cov=square(model.initial_scale_tril)),
            dynamics=peer.ParamsLGSSMDynamics(
                weights=dynamics.matrix, bias=dynamics.offset, input_weights=dynamics.control,
                cov=square(dynamics.scale_tril),
            ),
            emissions=peer.ParamsLGSSMEmissions(
                weights=model.emission_matrix, bias=model.emission_offset,
                input_weights=jnp.zeros((model.observation_dim, inputs.shape[1])), cov=square(model.emission_scale_tril),
            ),
        )  # fmt: skip
        found = peer.lgssm_smoother(params, sequence.observations, inputs)
    energy = np.asarray([-float(found.marginal_loglik)])
    return Reference(
        StateMoments(np.asarray(found.filtered_means), np.asarray(found.filtered_covariances), energy),
        StateMoments(np.asarray(found.smoothed_means), np.asarray(found.smoothed_covariances), energy),
    )
