"""Where a home is: which of several hosts, or homes of one, that share a database."""

import hashlib
import os
import socket
from pathlib import Path


def place_of(home: Path) -> str:
    """HOST.HOME, a name for a home that no other of the same database has."""
    return f"{socket.gethostname()}.{hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:8]}"
