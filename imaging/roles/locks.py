"""The lock per role on a home, which tells whether anything serves it, however its processes ended."""

import fcntl
from pathlib import Path


def lock_of(home: Path, role: str) -> Path:
    """The file that a supervisor holds for as long as it runs a role."""
    return home / f"lock.{role}"


def running_roles(home: Path) -> set[str]:
    """The roles of a home that a supervisor holds now."""
    return {file.suffix[1:] for file in home.glob("lock.*") if _is_held(file)}


def _is_held(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # gone, or another user's
        return False
    return False
