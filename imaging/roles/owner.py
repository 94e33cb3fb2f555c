"""Who holds a lease: HOST.HOME/ROLE/PROCESS, so that what a process held is told by the beginning of the name."""

import os
import secrets
from pathlib import Path

from imaging.ledger.place import place_of


def owner(home: Path, role: str) -> str:
    """A name for what this process leases as a role ("worker-0"); no other process of any host or boot has it."""
    return f"{owner_of(home, role)}{os.getpid()}-{secrets.token_hex(4)}"


def owner_of(home: Path, role: str) -> str:
    """What the owners of one process of a role begin with, whichever process it was."""
    return f"{owners_of(home, role)}/"


def owners_of(home: Path, roles: str) -> str:
    """What the owners of all processes begin with whose role begins so ("worker"), here and of this home."""
    return f"{place_of(home)}/{roles}"
