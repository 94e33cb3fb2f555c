"""What a spool is to who puts result objects into it and sends them from there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Stored:
    """Bytes that are durable under a key. `digest`: SHA-256, in hex."""

    key: str
    digest: str
    size: int


class Spool(Protocol):
    """Bytes under keys, written once."""

    def put(self, objects: Sequence[bytes]) -> list[Stored]:
        """Keeps these; when it returns, they and their names are durable. Raises SpoolFull."""

    def open(self, key: str) -> BinaryIO:
        """What lies under a key, to be read. Raises OSError: FileNotFoundError where nothing does."""

    def remove(self, keys: Collection[str]) -> None:
        """Removes, durably, what nothing needs any more; what is gone already is no matter."""

    def sweep(self, known: Collection[str]) -> int:
        """Removes what was put and is not under a known key; how many. Not to be called while anybody puts."""
