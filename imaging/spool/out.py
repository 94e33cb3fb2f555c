"""Result objects as files of one folder, each under the digest of its content."""

import hashlib
import os
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from imaging import crash
from imaging.spool.files import refused_by_the_disk, sync_folder
from imaging.spool.protocol import Stored

OUT: Final = "out"


class Out:
    """The folder `out` of a spool."""

    def __init__(self, root: Path) -> None:
        self._folder = root / OUT
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, objects: Sequence[bytes]) -> list[Stored]:
        """Keeps these: their data is synced before they get their names, and then the folder, once for all.

        A name that is there has the same content. Raises SpoolFull.
        """
        with refused_by_the_disk():
            stored = [self._written(each) for each in objects]
            if stored:
                sync_folder(self._folder)
        crash.point("result-kept")
        return stored

    def _written(self, data: bytes) -> Stored:
        digest = hashlib.sha256(data).hexdigest()
        part, name = self._folder / f"{secrets.token_hex(16)}.part", f"{digest}.dcm"
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
            crash.point("result-data-synced")
            part.rename(self._folder / name)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        return Stored(f"{OUT}/{name}", digest, len(data))

    def sweep(self, known: Collection[str]) -> int:
        """Removes what no known key names, and what a crash left half written; how many."""
        strays = [each for each in os.scandir(self._folder) if f"{OUT}/{each.name}" not in known]
        for each in strays:
            Path(each.path).unlink(missing_ok=True)
        return len(strays)
