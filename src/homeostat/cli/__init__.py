"""The command line, `homeostat`."""

from ._main import main as main
