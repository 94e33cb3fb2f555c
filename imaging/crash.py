"""Named points at which a test ends the process as kill -9 would: between any two steps nothing may be lost.

It stands below every layer, so that each may name its points, and imports none. `IMAGING_CRASH_AT` is read here, at
import, and by nobody else: it has to reach every child, and is no setting that a site could want.
"""

import os
import signal
from pathlib import Path
from typing import Final

VARIABLE: Final = "IMAGING_CRASH_AT"
"""Names a folder. A file in it arms the point of its name: the process that passes removes it and is killed, so that
what is started again goes on."""

_FOLDER: Final = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def point(name: str) -> None:
    """Passes, and costs nothing, unless a test armed this very point."""
    if _FOLDER is not None and _disarmed(_FOLDER / name):
        os.kill(os.getpid(), signal.SIGKILL)


def _disarmed(file: Path) -> bool:
    """Whether it was armed; of several processes that pass at the same time one is told so."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
