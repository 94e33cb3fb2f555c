"""What takes objects in place of a node: it keeps them, and whom it was told of, in memory."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imaging.dicom_node.acceptor import Opened, Tally
from imaging.domain.ends import End
from imaging.domain.peers import Refused
from imaging.encoding.part10 import Announced
from imaging.intake.storing import Status


@dataclass
class MemoryReceiver:
    """A receiver that keeps what it is given in memory."""

    stored: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    began: list[Opened] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    ends: list[tuple[str, Tally]] = field(default_factory=list)
    meanings: list[End] = field(default_factory=list)
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def opened(self, who: Opened) -> int:
        self.began.append(who)
        return len(self.began)

    def turned_away(self, refused: Sequence[Refused], unread: Mapping[Refused, int]) -> None:
        self.writes += 1
        self.refused += refused
        for each, count in unread.items():
            self.unread[each.address] += count

    def store(self, association: int, what: Announced, pieces: Iterator[memoryview]) -> Status:
        uids = what.sop_class_uid, what.sop_instance_uid, what.transfer_syntax_uid
        self.stored.append((*uids, b"".join(bytes(each) for each in pieces)))
        return Status(0)

    def closed(self, association: int, end: End, how: str, tally: Tally) -> None:
        self.meanings.append(end)
        self.ends.append((how, tally))
        self.ended.release()

    def end(self) -> str:
        """How the next association to end ended."""
        assert self.ended.acquire(timeout=10)
        return self.ends[-1][0]
