"""A registry of small experiments, and the command line called inside the test's process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

LABORATORY = Path(__file__).resolve().parent


class Outcome(NamedTuple):
    """Exit status and the two streams of one call."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The last line of standard output, as JSON."""
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def homeostat(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """`homeostat("run", ...)` in a fresh working folder, with the experiments in `laboratory/`."""
    monkeypatch.syspath_prepend(str(LABORATORY))
    monkeypatch.chdir(tmp_path)
    from homeostat.cli import main
    from homeostat.experiments import Registry

    def call(*arguments: object) -> Outcome:
        status = main([str(argument) for argument in arguments], registry=Registry("laboratory"))
        streams = capsys.readouterr()
        return Outcome(status, streams.out, streams.err)

    return call
