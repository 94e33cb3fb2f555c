"""The commands: parse, call, print; nothing else.

Exit status: 0 done, 1 failed, 2 asked wrongly. Results go to stdout, progress to stderr.
"""

from imaging.cli.main import main

__all__ = ["main"]
