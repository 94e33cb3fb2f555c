"""`python -m imaging` is the command `imaging`."""

import sys

from imaging.start import command_line

sys.exit(command_line())
