"""The top level is short, complete, and costs nothing to import."""

import subprocess
import sys

import pytest

import homeostat


def test_every_promised_name_is_there():
    for name in dir(homeostat):
        assert getattr(homeostat, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'inferr'"):
        _ = homeostat.inferr


def test_importing_the_package_does_not_load_jax():
    program = (
        "import homeostat, sys; assert 'jax' not in sys.modules; from homeostat import infer; print(infer.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "infer"


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert homeostat.__version__ == version("homeostat")
