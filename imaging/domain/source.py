"""An instance as the models' side meets it: its bytes, and its header facts."""

import os
from dataclasses import dataclass
from pathlib import Path

from imaging.domain.findings import ImageRef
from imaging.domain.header import Header


def file_key(status: os.stat_result) -> tuple[int, ...]:
    """Of a file's status: which file it is, how large, and when it was last written."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Source:
    """A Part 10 file on disk and its header facts. Who decodes it asks for its bytes, never for its path."""

    path: Path
    header: Header

    def read_bytes(self) -> bytes:
        """The whole file. Raises OSError."""
        return self.path.read_bytes()

    def content_key(self) -> tuple[int, ...]:
        """What another file, or the same with other bytes, would not have. Raises OSError."""
        return file_key(self.path.stat())

    @property
    def ref(self) -> ImageRef:
        """How reports name it."""
        return ImageRef(self.header.sop_class_uid, self.header.sop_instance_uid, self.header.series_instance_uid)
