"""Checkpoints on the disk: one `.npz` file, whole or absent.

    manifest.json   format, version of the writer, identity, what each leaf is, the containers
    00000.npy ...   the numeric leaves

The archive has a checksum of each member. Nothing is unpickled, and nothing is imported that a file names: leaves come
back into the structure that the reader gives, or into containers and records of classes that are loaded.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._version import __version__
from ..results import CheckpointError
from ..typing import PyTree
from ._record import replacing
from ._tree import pack_tree, unpack_tree

CHECKPOINT_FORMAT = 2
"""Number of the present format; 1 was a folder with an array store of its own."""

_MANIFEST = "manifest.json"


def save_checkpoint(path: Path, tree: PyTree, *, identity: str = "") -> None:
    """Write a tree to the file `path`, replacing a checkpoint that is there.

    Args:
        path: the checkpoint's file, by convention `*.npz`.
        tree: arrays, keys, Python numbers and strings in any containers; functions are left out.
        identity: what the checkpoint belongs to; reading asks for the same text.

    Raises:
        OSError: the disk is full or read-only; the previous checkpoint stays.
    """
    arrays, description = pack_tree(tree)
    manifest = {"format": CHECKPOINT_FORMAT, "homeostat": __version__, "identity": identity, **description}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_MANIFEST, json.dumps(manifest))
        for index, array in enumerate(arrays):
            with archive.open(_name(index), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(array), allow_pickle=False)


def load_checkpoint(
    path: Path, *, like: PyTree | Callable[[], PyTree] | None = None, identity: str | None = None
) -> PyTree:
    """Read what `save_checkpoint` wrote.

    Args:
        path: the checkpoint's file.
        like: a tree of the same structure (values are ignored, functions are kept), a function of no arguments that
            builds one, or None for containers and records alone.
        identity: what the checkpoint must belong to; None accepts any.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, of another format, or it belongs to something else.
    """
    if not path.is_file():
        raise CheckpointError(
            f"Expected a checkpoint in {path}, got no file. "
            "Check the path; if the folder was edited, restore it or start a new run."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(_MANIFEST))
            _check_format(path, manifest)
            leaves = [leaf for leaf in manifest["leaves"] if "index" in leaf]
            arrays = [_read(archive, leaf) for leaf in leaves]
    except (CheckpointError, MemoryError):
        raise
    # A damaged archive raises errors of many kinds, down to those of the system's decompressors.
    except Exception as error:
        raise CheckpointError(
            f"Expected an undamaged checkpoint in {path}, got {type(error).__name__} while reading it ({error}). "
            "Remove this file to compute it again, or start a new run."
        ) from error
    if identity is not None and manifest["identity"] != identity:
        raise CheckpointError(
            f"Expected a checkpoint of '{identity}', got one of '{manifest['identity']}' in {path}. "
            "It belongs to another run: do not mix run folders; start a new run."
        )
    return unpack_tree(arrays, manifest["leaves"], manifest["skeleton"], like)


def _name(index: int) -> str:
    return f"{index:05d}.npy"


def _storable(array: np.ndarray) -> np.ndarray:
    """Bits of the types that NumPy does not know (bfloat16, float8, ...) as whole numbers."""
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array


def _read(archive: zipfile.ZipFile, leaf: dict[str, Any]) -> np.ndarray:
    # Read whole, because the checksum is compared at the end of a member.
    content = io.BytesIO(archive.read(_name(leaf["index"])))
    array = np.lib.format.read_array(content, allow_pickle=False)
    dtype = jax.numpy.dtype(leaf["data_dtype"])
    if array.dtype != dtype:
        array = array.view(dtype)
    if list(array.shape) != leaf["data_shape"]:
        raise ValueError(f"an array of shape {array.shape} instead of {leaf['data_shape']}")
    return array


def _check_format(path: Path, manifest: dict[str, Any]) -> None:
    if manifest["format"] != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {CHECKPOINT_FORMAT}, got {path}, written by homeostat "
            f"{manifest['homeostat']} in format {manifest['format']}. This is homeostat {__version__}: use that version, "
            "or start a new run."
        )
