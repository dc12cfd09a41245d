"""The example in the documentation is an experiment that runs."""

import re
import sys
from pathlib import Path

from homeostat.cli import main
from homeostat.experiments import Registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    group = tmp_path / "documented" / "textbook"
    group.mkdir(parents=True)
    (tmp_path / "documented" / "__init__.py").write_text("")
    (group / "__init__.py").write_text("")
    (group / "mean.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    status = main(["run", "textbook/mean", "--scale", "smoke", "--out", "run"], registry=Registry("documented"))
    assert status == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "figures" / "loss.png").exists()
    for module in [name for name in sys.modules if name.startswith("documented")]:
        del sys.modules[module]
