"""Names of the axes of what a model of rows says."""

from collections.abc import Mapping

import numpy as np

from .._frames import Axes
from ._describe import RowsDescription

_GROUPS = {
    "mean": "posterior",
    "imputed": "posterior_predictive",
    "log_likelihood_nats": "log_likelihood",
    "samples": "prior_predictive",
    "means": "prior_predictive",
    "latents": "prior",
}
_IN_UNIT_OF_DATA = ("imputed", "samples", "means", "observed")


def row_axes(
    description: RowsDescription,
    num_latents: int,
    arrays: Mapping[str, np.ndarray],
    *,
    along: str = "row",
    numbers: np.ndarray | None = None,
) -> Axes:
    """Axes of arrays whose first axis is that of rows.

    Args:
        along: the name of the first axis.
        numbers: of the rows; from 0 on by default.
    """
    names = description.columns or tuple(f"entry {entry}" for entry in range(int(np.prod(description.shape))))
    dims = {"observed": (along, "column")}
    for name, array in arrays.items():
        if name in _IN_UNIT_OF_DATA:
            dims[name] = (along, "column")
        elif array.ndim == 1 and name != "dims":
            dims[name] = (along,)
        elif array.ndim > 1:
            dims[name] = (along, "latent" if array.shape[1:] == (num_latents,) else f"{name}_entry")
    coords = {
        "column": (("column",), np.array(names)),
        "latent": (("latent",), np.array([f"latent {latent}" for latent in range(num_latents)])),
    }
    if numbers is not None:
        coords[along] = ((along,), numbers)
    posterior = {name: "posterior" for name in arrays if name.startswith("posterior_")}
    return Axes((along,), dims, coords, posterior | _GROUPS)
