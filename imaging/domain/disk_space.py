"""How much room a disk has, and when objects are refused for the lack of it."""

from dataclasses import dataclass
from typing import Final

INODES_OF_AN_OBJECT: Final = 4
"""Its file, and the folders of a study that is new."""


@dataclass(frozen=True)
class DiskSpace:
    """What a disk has free, and what of it is left free: bytes, and inodes (None: there is no fixed number of them)."""

    free: int
    reserve: int
    free_inodes: int | None = None
    reserve_inodes: int = 0

    @property
    def lacks_bytes(self) -> bool:
        """Whether objects are refused for want of bytes."""
        return self.free <= self.reserve

    @property
    def lacks_inodes(self) -> bool:
        """Whether the next object would go below the reserve."""
        return self.free_inodes is not None and self.free_inodes - INODES_OF_AN_OBJECT < self.reserve_inodes

    @property
    def is_full(self) -> bool:
        """Whether objects are refused."""
        return self.lacks_bytes or self.lacks_inodes

    @property
    def of_bytes(self) -> str:
        """The free and the reserved bytes, in English."""
        return f"{self.free >> 20} MiB free, reserve {self.reserve >> 20} MiB"

    @property
    def of_inodes(self) -> str:
        """The free and the reserved inodes, in English; empty on file systems without a fixed number."""
        return "" if self.free_inodes is None else f"{self.free_inodes} inodes free, reserve {self.reserve_inodes}"

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.of_bytes, self.of_inodes)))
