"""The folder of a run: who may write it, what stands in it, and how long the run has taken so far.

config.json    what was asked for             ledger.json    measurements and the parts of the report
metrics.jsonl  numbers along the way          checkpoints/   finished stages and running loops
figures/       images and animations          report.html    one file to read
result.json    written last: a run that has one is finished
"""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, final

from .._version import __version__
from ..results import BadInputError, CheckpointError, RunExistsError
from ..train import JsonLines, plain, write_json

RUN_FORMAT = 2
"""Number of the present format; 1 had a folder for each checkpoint."""


class Request(NamedTuple):
    """What was asked of a run.

    Attributes:
        scale: `smoke`, `small` or `paper`.
        config: the configuration as plain JSON; for a group, one entry for each experiment.
        arguments: the options of the command line that the configuration came from.
        checkpoint_seconds: least time between two checkpoints of a loop.
        precision: bits of the default floating-point type.
    """

    experiment: str
    scale: str
    seed: int
    config: dict[str, Any]
    arguments: list[str]
    checkpoint_seconds: float
    precision: int

    @property
    def identity(self) -> str:
        """A short text that only runs with the same results share."""
        parts = [self.experiment, self.scale, self.seed, self.config, self.precision]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self.experiment} {self.scale} seed {self.seed} config {digest[:12]}"


def default_folder(name: str, seed: int) -> Path:
    """`runs/<name>-seed<N>-<time>`, with a number where that is taken."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{name.replace('/', '-')}-seed{seed}-{stamp}"
    paths = [Path("runs") / (name if not count else f"{name}-{count + 1}") for count in range(1000)]
    return next(path for path in paths if not path.exists())


@final
class RunFolder:
    """A run folder that this process holds the lock of."""

    def __init__(self, path: Path, request: Request):
        self.path = path
        self.request = request
        self.metrics = JsonLines(path / "metrics.jsonl", ("experiment", "stage", "step"))
        ledger = _read_json(path / "ledger.json") if (path / "ledger.json").exists() else {}
        self._before = float(ledger.get("seconds", 0.0))
        self._parts: dict[str, Any] = ledger.get("experiments", {})
        self._start = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent on this run, over all processes that worked on it."""
        return self._before + time.monotonic() - self._start

    def part(self, experiment: str) -> dict[str, Any]:
        """The ledger of one experiment: `measurements` by claim and `items` of the report by kind and name."""
        return self._parts.setdefault(experiment, {"measurements": {}, "items": {}})

    def save(self) -> None:
        """Write the ledger, with the time spent."""
        write_json(self.path / "ledger.json", {"seconds": round(self.seconds, 3), "experiments": self._parts})
        self._saved = time.monotonic()

    def save_sometimes(self) -> None:
        """Keep the clock roughly right in a long loop, without a write for every segment."""
        if time.monotonic() - self._saved > self.request.checkpoint_seconds:
            self.save()


@contextlib.contextmanager
def new_run(path: Path, request: Request) -> Iterator[RunFolder]:
    """Make a run folder and hold its lock.

    Raises:
        RunExistsError: something is there already.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise _exists(path) from error
    # An empty folder is fine (`mktemp -d` makes one), and so is one left by a process that died before config.json.
    if any(entry.name != ".lock" and not entry.name.endswith(".tmp") for entry in path.iterdir()):
        raise _exists(path)
    with _locked(path):
        if (path / "config.json").exists():
            raise _exists(path)
        try:
            asked = request._asdict() | {"identity": request.identity}
            write_json(path / "config.json", {"format": RUN_FORMAT, "homeostat": __version__, **asked})
        except OSError:
            (path / ".lock").unlink(missing_ok=True)
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
        yield RunFolder(path, request)


@contextlib.contextmanager
def existing_run(path: Path) -> Iterator[RunFolder]:
    """Open a run folder and hold its lock."""
    request = read_request(path)
    with _locked(path):
        for leftover in path.rglob(".*.tmp"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
        yield RunFolder(path, request)


def read_request(path: Path) -> Request:
    """What was asked of the run in `path`.

    Raises:
        BadInputError: there is no run.
        CheckpointError: its config.json is damaged or was edited.
    """
    if not (path / "config.json").is_file():
        raise _not_a_run(path)
    content = _read_json(path / "config.json")
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found != RUN_FORMAT:
        raise CheckpointError(
            f"Expected a run folder of format {RUN_FORMAT}, got {path}, written by homeostat "
            f"{content.get('homeostat', '0.1')} in format {found}. This is homeostat {__version__}: use that version, or start "
            f"a new run. Its results, figures and report can be read."
        )
    try:
        request = Request(**{name: content[name] for name in Request._fields})
        known = content["format"], content["identity"]
    except (KeyError, TypeError) as error:
        raise _not_a_run(path) from error
    if known != (RUN_FORMAT, request.identity):
        raise CheckpointError(
            f"Expected the configuration that {path} was started with, got an edited or foreign config.json. "
            "Restore the file, or start a new run with the options you want."
        )
    return request


def read_result(path: Path) -> dict[str, Any]:
    """The result of a finished run.

    Raises:
        BadInputError: there is no run, or it is not finished.
    """
    file = path / "result.json"
    if not file.is_file():
        if not (path / "config.json").is_file():
            raise _not_a_run(path)
        raise BadInputError(
            f"Expected a finished run, got one without result.json in {path}. Finish it: homeostat resume {path}"
        )
    result = _read_json(file)
    if not isinstance(result, dict) or not {"experiment", "scale", "seed", "config", "claims"} <= set(result):
        raise CheckpointError(
            f"Expected the result of a run in {file}, got something else. Restore it or run it again."
        )
    return result


def read_ledger(path: Path) -> dict[str, Any]:
    """The ledger of a run: experiments with their measurements and report items."""
    file = path / "ledger.json"
    return _read_json(file).get("experiments", {}) if file.is_file() else {}


def erase_if_nothing_done(folder: RunFolder) -> None:
    """Remove a run that was refused before it computed anything."""
    if not any((folder.path / name).exists() for name in ("checkpoints", "figures", "ledger.json", "metrics.jsonl")):
        shutil.rmtree(folder.path, ignore_errors=True)


def config_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON."""
    return plain(dataclasses.asdict(config))


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise CheckpointError(
            f"Expected JSON in {file}, got something that cannot be read ({error}). "
            "Restore the file or start a new run."
        ) from error


def _exists(path: Path) -> RunExistsError:
    return RunExistsError(
        f"Expected a new or empty folder for the run, got {path}, which holds something. "
        f"Runs never overwrite one another: choose another --out, or continue that run: homeostat resume {path}"
    )


def _not_a_run(path: Path) -> BadInputError:
    parent = path.parent if path.parent.is_dir() else Path()
    runs = [str(p.parent) for p in sorted([*parent.glob("*/config.json"), *Path("runs").glob("*/config.json")])]
    near = difflib.get_close_matches(str(path), runs, n=2, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Give the folder that `homeostat run` named at its end."
    return BadInputError(f"Expected the folder of a run (it holds config.json), got {path}. {hint}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The exclusive right to write a folder; the system drops it when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two processes on one run are then the user's own care
        yield
        return
    with open(path / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInputError(
                f"Expected a run that nobody is working on, got {path}, which another process is writing. "
                "Wait until it ends, or choose another --out."
            ) from error
        yield
