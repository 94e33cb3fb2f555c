"""An instance as the models' side meets it: where its bytes lie, and its header facts."""

from dataclasses import dataclass
from pathlib import Path

from imaging.domain.findings import ImageRef
from imaging.domain.header import Header


@dataclass(frozen=True)
class Source:
    """A Part 10 file on disk and its header facts."""

    path: Path
    header: Header

    @property
    def ref(self) -> ImageRef:
        return ImageRef(self.header.sop_class_uid, self.header.sop_instance_uid, self.header.series_instance_uid)
