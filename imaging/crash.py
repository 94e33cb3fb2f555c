"""Named points at which a test ends the process as kill -9 would: between any two steps nothing may be lost.

It stands below every layer, so that each may name its points, and imports none. `IMAGING_CRASH_AT` is read here, at
import, and by nobody else: it has to reach every child, and is no setting that a site could want.
"""

import os
import signal
from typing import Final

VARIABLE: Final = "IMAGING_CRASH_AT"
"""`NAME:N:FILE`: the process that passes NAME for the N-th time is killed and leaves FILE; while FILE is there none
is, so that what is started again goes on."""


def point(name: str) -> None:
    """Passes, and costs nothing, unless this very point was chosen."""
    if _CHOSEN is not None and name == _CHOSEN.name:
        _CHOSEN.passed()


class _Chosen:
    def __init__(self, said: str) -> None:
        self.name, number, self._file = said.split(":", 2)
        self._left = int(number)

    def passed(self) -> None:
        self._left -= 1
        if self._left == 0 and self._is_first():
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self) -> bool:
        try:
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True


_CHOSEN: Final = _Chosen(os.environ[VARIABLE]) if VARIABLE in os.environ else None
