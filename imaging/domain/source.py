"""An instance as the models' side meets it: its bytes, and its header facts."""

from dataclasses import dataclass
from pathlib import Path

from imaging.domain.findings import ImageRef
from imaging.domain.header import Header


@dataclass(frozen=True)
class Source:
    """A Part 10 file on disk and its header facts. Who decodes it asks for its bytes, never for its path."""

    path: Path
    header: Header

    def read_bytes(self) -> bytes:
        """The whole file. Raises OSError."""
        return self.path.read_bytes()

    @property
    def ref(self) -> ImageRef:
        """How reports name it."""
        return ImageRef(self.header.sop_class_uid, self.header.sop_instance_uid, self.header.series_instance_uid)
