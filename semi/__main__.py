"""`python -m semi` is the command `semi`."""

import sys

from .cli import main

sys.exit(main())
