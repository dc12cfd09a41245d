"""Fetching an official file: streamed, verified, and named only once it is whole."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..results import BadInputError
from ._places import data_cache_folder, holds, local_folder, written_whole

PROGRESS_AFTER_S = 2.0
_PROGRESS_EVERY_S = 0.5
_TIMEOUT_S = 30.0
_BLOCK = 1 << 20


class RemoteFile(NamedTuple):
    """One official file.

    Attributes:
        num_bytes: its size, or `None` where no source gives it.
        sha256: its checksum, or `None` where no source gives one; then only size and structure are checked.
    """

    url: str
    num_bytes: int | None
    sha256: str | None

    @property
    def name(self) -> str:
        """The file's name, last part of its address."""
        return self.url.rpartition("/")[2]


def remote_files(folder: str, *files: tuple[str, int, str]) -> tuple[RemoteFile, ...]:
    """Files below one address, from their names, sizes and checksums."""
    return tuple(RemoteFile(folder + name, num_bytes, sha256) for name, num_bytes, sha256 in files)


class DownloadProgress(NamedTuple):
    """How far a download is.

    Attributes:
        num_bytes: in all, or `None` if the server does not say.
    """

    name: str
    num_bytes_done: int
    num_bytes: int | None
    seconds: float


Progress = Callable[[DownloadProgress], None]
"""Callback of a download: every half second from its third second on, and once at its end."""


def fetch(
    remote: RemoteFile, *, folder: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> Path:
    """The verified local file: the one in `folder`, downloaded first if it is not there.

    Downloads go to a temporary name and take their own only after size and checksum agree, so that a folder never holds
    a part of a file.

    Args:
        folder: where it is kept; the user's cache folder if left out.
        progress: called with how far a download is, if it takes more than two seconds.

    Raises:
        BadInputError: no network, a cut connection, or a file that is not the official one.
    """
    place = data_cache_folder() if folder is None else Path(folder)
    file = place / remote.name
    if not file.is_file():
        with written_whole(file) as part:
            _receive(remote, part, file, progress)
            _verify(remote, part, f"what {remote.url} sent", "Nothing was kept. Try again later.")
        return file
    _verify(remote, file, str(file), "Delete the file and get it again.")
    return file


def packed_copy(name: str, folder: str | os.PathLike[str] | None, *files: str) -> tuple[tuple[Path, ...], str] | None:
    """The files of a packed copy, and the folder of the data set, if that holds all of them."""
    local = local_folder(name, folder)
    return (tuple(local / file for file in files), str(local)) if local is not None and holds(local, *files) else None


def official_files(
    remotes: tuple[RemoteFile, ...],
    name: str,
    folder: str | os.PathLike[str] | None,
    progress: Progress | None,
    origin: str,
) -> tuple[tuple[Path, ...], str]:
    """The official files of a data set, from its local folder if all are there, else from the cache or the network; and where
    they came from, that folder or `origin`.
    """
    local = local_folder(name, folder)
    names = tuple(remote.name for remote in remotes)
    if local is not None and holds(local, *names):
        return tuple(fetch(remote, folder=local) for remote in remotes), str(local)
    if folder is not None:
        missing = ", ".join(file for file in names if not holds(local, file))
        raise BadInputError(
            f"Expected a packed copy or the official files in {local}; of the official files it lacks {missing}. Put "
            f"them there, or leave the argument folder out to download them."
        )
    return tuple(fetch(remote, folder=data_cache_folder() / name, progress=progress) for remote in remotes), origin


def _receive(remote: RemoteFile, part: Path, file: Path, progress: Progress | None) -> None:
    advice = (
        f"Connect and try again, or get {remote.name} on another machine and put it into {file.parent} (or into the "
        f"folder {file.parent.name} below the one that HOMEOSTAT_DATA names)."
    )
    started = reported = time.monotonic()
    done, total = 0, remote.num_bytes
    try:
        with urllib.request.urlopen(remote.url, timeout=_TIMEOUT_S) as answer, open(part, "wb") as stream:
            length = answer.headers.get("Content-Length")
            total = int(length) if length is not None else remote.num_bytes
            while block := answer.read(_BLOCK):
                stream.write(block)
                done += len(block)
                now = time.monotonic()
                if progress and now - started > PROGRESS_AFTER_S and now - reported > _PROGRESS_EVERY_S:
                    progress(DownloadProgress(remote.name, done, total, now - started))
                    reported = now
    except urllib.error.HTTPError as error:
        error.close()
        raise BadInputError(
            f"Expected to download {remote.url}, but the server answered {error.code} ({error.reason}). {advice}"
        ) from error
    except (OSError, http.client.HTTPException) as error:  # No network, a cut connection, a full disk.
        raise BadInputError(
            f"Expected to download {remote.url}, but that failed after {done} bytes "
            f"({getattr(error, 'reason', error)!s}). {advice}"
        ) from error
    if total is not None and done < total:
        raise BadInputError(
            f"Expected {total} bytes from {remote.url}, but the connection ended after {done}. Nothing was kept. {advice}"
        )
    if progress and reported > started:
        progress(DownloadProgress(remote.name, done, total, time.monotonic() - started))


def _verify(remote: RemoteFile, file: Path, what: str, advice: str) -> None:
    size = file.stat().st_size
    if remote.num_bytes is not None and size != remote.num_bytes:
        raise BadInputError(
            f"Expected {remote.num_bytes} bytes for {remote.name}, the official file, but {what} has {size}. {advice}"
        )
    if remote.sha256 is not None:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != remote.sha256:
            raise BadInputError(
                f"Expected the SHA-256 checksum {remote.sha256} for {remote.name}, the official file, but {what} has "
                f"{found}. {advice}"
            )
