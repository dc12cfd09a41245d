"""`python -m laboratory`: the command line with these experiments instead of the package's own."""

import sys

from homeostat.cli import main
from homeostat.experiments import Registry

sys.exit(main(registry=Registry("laboratory")))
