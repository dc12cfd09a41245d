"""What several tests ask of data sets."""

import os
from pathlib import Path

from homeostat.data import SequenceSplits


def split_sizes(splits: SequenceSplits) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sequences, and steps, of the training, the validation and the test split."""
    parts = (splits.train, splits.validation, splits.test)
    return tuple(map(len, parts)), tuple(part.num_steps for part in parts)


def find_dsprites() -> Path | None:
    """The packed copy below the folder named by the environment variable HOMEOSTAT_DATA, or None."""
    file = Path(os.environ.get("HOMEOSTAT_DATA", "")) / "dsprites" / "dsprites_imgs_packed.npy.xz"
    return file if file.is_file() else None
