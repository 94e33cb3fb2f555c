"""`python -m imaging` is the command `imaging`."""

import sys

from imaging.cli import main

sys.exit(main())
