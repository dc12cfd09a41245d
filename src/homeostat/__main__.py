"""`python -m homeostat`."""

import sys

from .cli import main

sys.exit(main())
