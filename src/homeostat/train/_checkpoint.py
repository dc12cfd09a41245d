"""Checkpoints on the disk: arrays by orbax, a manifest with structure and checksums beside them.

    <path>/manifest.json   structure, checksums of the files, the identity of the run it belongs to, notes of the writer
    <path>/arrays/         the numeric leaves, an orbax checkpoint

A checkpoint is written beside its place and moved there in one step: what exists under `path` is whole.
"""

import errno
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ..results import CheckpointError
from ..typing import PyTree
from ._record import sync_folder, write_json
from ._state import PackedTree, pack_tree, unpack_tree

_FORMAT = 1


class Checkpoint(NamedTuple):
    """What was read.

    Attributes:
        tree: the tree.
        notes: what the writer put beside it (plain JSON).
    """

    tree: PyTree
    notes: Any


def save_checkpoint(path: Path, tree: PyTree, *, identity: str = "", notes: Any = None) -> None:
    """Write a tree to the folder `path`, replacing a checkpoint that is there.

    Args:
        path: the checkpoint's folder.
        tree: arrays, keys, Python numbers and strings in any containers; functions are left out.
        identity: what the checkpoint belongs to; reading asks for the same text.
        notes: small plain JSON to keep beside it.

    Raises:
        OSError: the disk is full or read-only; nothing is left half-written.
    """
    packed = pack_tree(tree)
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        os.chmod(temporary, 0o755)
        _write_arrays(temporary / "arrays", packed.arrays, path)
        manifest = {
            "format": _FORMAT,
            "identity": identity,
            "leaves": packed.leaves,
            "skeleton": packed.skeleton,
            "files": _checksums(temporary / "arrays"),
            "notes": notes,
        }
        manifest_text = json.dumps(manifest)
        write_json(temporary / "manifest.json", {"checksum": _text_checksum(manifest_text), "manifest": manifest_text})
        _move_into_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_checkpoint(
    path: Path, *, like: PyTree | Callable[[], PyTree] | None = None, identity: str | None = None
) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Args:
        path: the checkpoint's folder.
        like: see `unpack_tree`.
        identity: what the checkpoint must belong to; None accepts any.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it belongs to something else.
    """
    path = path.absolute()
    manifest = _read_manifest(path)
    if identity is not None and manifest["identity"] != identity:
        raise CheckpointError(
            f"Expected a checkpoint of '{identity}', got one of '{manifest['identity']}' in {path}. "
            "It belongs to another run: do not mix run folders; start a new run."
        )
    # Before the array store sees the files: what it does with damaged ones is not always an exception.
    if _checksums(path / "arrays") != manifest["files"]:
        raise _damaged(path, "changed or missing files")
    arrays = _read_arrays(path, [leaf for leaf in manifest["leaves"] if "index" in leaf])
    return Checkpoint(
        unpack_tree(PackedTree(arrays, manifest["leaves"], manifest["skeleton"]), like), manifest["notes"]
    )


def has_checkpoint(path: Path) -> bool:
    """Whether a checkpoint stands at `path` (checkpoints appear there whole or not at all)."""
    recover_checkpoint(path)
    return path.is_dir()


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint at `path`, if there is one."""
    if path.is_dir():
        # Renaming first: a kill during the removal must not leave half a checkpoint under the name.
        doomed = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def recover_checkpoint(path: Path) -> None:
    """Finish what a kill interrupted: put the previous checkpoint back if the new one did not reach its place."""
    previous = _previous(path)
    if previous.is_dir():
        if path.is_dir():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            os.replace(previous, path)


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _move_into_place(temporary: Path, path: Path) -> None:
    """Folders cannot replace one another in one step: the old one waits under another name meanwhile."""
    recover_checkpoint(path)
    if path.is_dir():
        os.replace(path, _previous(path))
    try:
        os.replace(temporary, path)
    except OSError:
        recover_checkpoint(path)
        raise
    shutil.rmtree(_previous(path), ignore_errors=True)
    sync_folder(path.parent)


def _name(index: int) -> str:
    return f"{index:05d}"


def _write_arrays(path: Path, arrays: list[np.ndarray], place: Path) -> None:
    import orbax.checkpoint as ocp  # half a second, and only what writes or reads needs it

    # The array store cannot hold empty arrays; the manifest knows their shape.
    stored = {_name(i): array for i, array in enumerate(arrays) if array.size}
    if not stored:
        path.mkdir()
        return
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            checkpointer.save(path, stored)
    except ValueError as error:
        # The array store reports a failing disk as a ValueError.
        for code, text in (
            (errno.ENOSPC, "No space left"),
            (errno.EROFS, "Read-only file system"),
            (errno.EACCES, "Permission denied"),
            (errno.EDQUOT, "quota exceeded"),
        ):
            if text.lower() in str(error).lower():
                raise OSError(code, os.strerror(code), str(place)) from error
        raise


def _read_arrays(path: Path, leaves: list[dict[str, Any]]) -> list[np.ndarray]:
    import orbax.checkpoint as ocp

    names = [_name(leaf["index"]) for leaf in leaves if 0 not in leaf["data_shape"]]
    restored: dict[str, np.ndarray] = {}
    if names:
        try:
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
                restored = checkpointer.restore(
                    path / "arrays",
                    args=ocp.args.PyTreeRestore(
                        restore_args={name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
                    ),
                )
        # Whatever the array store raises on damaged files (it has no exception of its own) means the same to the user.
        except Exception as error:
            raise _damaged(path, f"{type(error).__name__} while reading its arrays") from error
    return [
        np.asarray(restored[name])
        if (name := _name(leaf["index"])) in restored
        else np.zeros(leaf["data_shape"], jax.numpy.dtype(leaf["data_dtype"]))
        for leaf in leaves
    ]


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    if not file.is_file():
        raise CheckpointError(
            f"Expected a checkpoint in {path}, got no manifest.json there. "
            "Check the path; if the folder was edited, restore it or start a new run."
        )
    try:
        outer = json.loads(file.read_text())
        manifest_text, expected = outer["manifest"], outer["checksum"]
        manifest = json.loads(manifest_text)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "a manifest that cannot be read") from error
    if _text_checksum(manifest_text) != expected:
        raise _damaged(path, "another checksum for the manifest")
    if manifest.get("format") != _FORMAT:
        raise CheckpointError(
            f"Expected a checkpoint of format {_FORMAT}, got format {manifest.get('format')} in {path}. "
            "Another version of homeostat wrote it: use that version, or start a new run."
        )
    return manifest


def _text_checksum(text: str) -> int:
    return zlib.crc32(text.encode())


def _checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of every file in a folder, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): zlib.crc32(path.read_bytes()) for path in files}


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"Expected an undamaged checkpoint in {path}, got {what}. "
        "Remove this checkpoint's folder to compute it again, or start a new run."
    )
