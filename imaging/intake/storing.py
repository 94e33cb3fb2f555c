"""From an object that comes to its status: write down, read, give a row, and only then say success.

Names and rows are written in groups: what is ready at the same time shares one sync and one durable transaction. An
object goes to the disk as it comes, so that its size costs no memory.
"""

import hashlib
import logging
import mmap
import queue
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from imaging import crash
from imaging.domain.faults import fingerprint
from imaging.domain.header import Header
from imaging.domain.patient import Words
from imaging.domain.settling import CompletenessTimeouts
from imaging.encoding.headers import Mismatch, Unreadable, read_header
from imaging.encoding.part10 import Announced, StoreRequest, part_10_head, split_part_10
from imaging.intake.batching import Batcher
from imaging.ledger import recording
from imaging.ledger.instances import Receipt
from imaging.ledger.recording import Recorded
from imaging.ledger.store import Ledger
from imaging.spool import FolderSpool, Incoming, SpoolFull
from imaging.spool.folder import key_of

log = logging.getLogger(__name__)

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
OUT_OF_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000

_MAX_AT_ONCE: Final = 64
_MAX_FORGOTTEN: Final = 256
_LINGER_S: Final = 0.05
"""How long a first name waits for others that go with it: dropping one costs syncs."""
DEFAULT_LARGEST: Final = 4096 << 20

_Linked = tuple[Incoming, str | None]
"""An object with its final key; None: it has none."""


@dataclass(frozen=True)
class Status:
    """What an object is answered with, by any door: the status of a C-STORE response (PS3.4 B.2.3, PS3.7 C; STOW-RS
    has the same as failure reasons, PS3.18 I.2) and, unless it is success, why: 64 characters are sent."""

    code: int
    comment: str = ""


class SenderGone(Exception):
    """The sender went before its object was whole; the text says how. Doors raise it, or a kind of it, from pieces."""


class TooLarge(Exception):
    """The object is larger than what is taken; the text says what is."""


class Storing:
    """Takes objects durably. One per process; `receive` is called from many threads.

    `placeholders`: the site's own words for a patient whom nobody knows. `largest`: object that is taken, in bytes.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: FolderSpool,
        timeouts: CompletenessTimeouts,
        placeholders: Words = frozenset(),
        largest: int = DEFAULT_LARGEST,
    ) -> None:
        self._ledger, self._spool, self._timeouts, self._placeholders = ledger, spool, timeouts, placeholders
        self._largest = largest
        self._recorded = Batcher(self._record, _MAX_AT_ONCE)
        self._linked: queue.Queue[_Linked | None] = queue.Queue()
        self._forgetting = threading.Thread(target=self._forget, name="forget", daemon=True)
        self._forgetting.start()

    def recover(self) -> int:
        """Gives a row to each whole object that a crash left under `incoming/`, and removes halves.

        To be called before receiving.
        """
        found, halves = 0, self._spool.remove_halves()
        for incoming in self._spool.left_over():
            found += 1
            try:
                request = _read_back(incoming)
                header = read_header(request.data, request.transfer_syntax_uid, sender=request.sender)
                self._keep(header, hashlib.sha256(request.data).hexdigest(), incoming, None)
            except (Unreadable, Mismatch) as error:
                log.error("left_over_object_unreadable file=%s why=%s", incoming.path.name, error)
            except ValueError as error:  # of a library: its text may quote the object
                log.error("left_over_object_unreadable file=%s why=%s", incoming.path.name, fingerprint(error))
            except Exception as error:  # a full disk, say: nobody waits for it, and the next start looks again
                log.exception("left_over_object_waits file=%s error=%s", incoming.path.name, type(error).__name__)
        if found or halves:
            log.info("left_over_objects_recorded count=%d halves_removed=%d", found, halves)
        return found

    def receive(self, what: Announced, pieces: Iterable[memoryview], association_id: int | None) -> Status:
        """Keeps one object as it comes. When the status is success, its bytes and its row are on disk.

        `pieces`: its data set; each is done with before the next is asked for. Raises SenderGone where they end before
        it is whole.
        """
        try:
            self._receive(what, pieces, association_id)
        except SenderGone:  # nobody is left to answer
            raise
        except Exception as error:  # noqa: BLE001 (each object gets an answer)
            return _refusal(error)
        return Status(SUCCESS)

    def _receive(self, what: Announced, pieces: Iterable[memoryview], association_id: int | None) -> None:
        head, digest, size, piece = part_10_head(what), hashlib.sha256(), 0, memoryview(b"")
        with self._spool.begin() as part:
            part.write(head)
            for piece in pieces:
                size += len(piece)
                self._check_disk_space(size, len(piece))
                digest.update(piece)
                part.write(piece)
            data = piece if len(piece) == size else part.view(len(head))
            header = read_header(data, what.transfer_syntax_uid, what.sop_class_uid, what.sop_instance_uid, what.sender)
            self._spool.make_folder(key_of(header, part.name))  # what cannot be had is found out before there is a row
            incoming = part.end()
        self._keep(header, digest.hexdigest(), incoming, association_id)

    def _check_disk_space(self, size: int, more: int) -> None:
        """Raises SpoolFull where `more` bytes have no room, TooLarge where an object has grown to a size not taken."""
        if size > self._largest:
            raise TooLarge(f"the object has more than {self._largest >> 20} MiB (max_object_mb)")
        self._spool.check_disk_space(more)

    def _keep(self, header: Header, digest: str, incoming: Incoming, association_id: int | None) -> None:
        header = header.judged_by(self._placeholders)
        key, quarantined = (key_of(header, incoming.name, is_apart=each) for each in (False, True))
        receipt = Receipt(header, digest, incoming.size, association_id, key, quarantined)
        try:
            recorded = self._recorded(receipt)
        except BaseException:
            if association_id is not None:  # the sender keeps it, so nothing is lost
                self._linked.put((incoming, None))
            raise
        self._spool.link(incoming, recorded.key)  # should it fail, the first name stays until a start links it anew
        crash.point("linked")
        self._linked.put((incoming, recorded.key))
        if recorded.conflict:
            log.warning("object_kept_apart study=%d why=%s", recorded.study_id, recorded.conflict)

    def _record(self, receipts: Sequence[Receipt]) -> list[Recorded | Exception]:
        self._spool.sync_names()
        results = recording.record(self._ledger, receipts, self._timeouts)
        crash.point("recorded")
        return results

    def _forget(self) -> None:
        """Drops first names behind the acknowledgement: until the final name is synced there are two."""
        is_open = True
        while is_open:
            batch: list[_Linked] = []
            is_open = _gather(self._linked, batch)
            try:
                self._spool.forget(batch)
            except OSError as error:
                log.error("first_names_not_dropped error=%s", error.strerror)

    def close(self) -> None:
        """Ends after what is under way."""
        self._recorded.finish()
        self._linked.put(None)
        self._forgetting.join()


def _refusal(error: Exception) -> Status:
    """What an object is answered with that was not kept."""
    if isinstance(error, Unreadable):
        return Status(CANNOT_UNDERSTAND, str(error))
    if isinstance(error, Mismatch):
        return Status(MISMATCH, str(error))
    if isinstance(error, SpoolFull):
        log.error("object_refused_for_space why=%s", error)
        return Status(OUT_OF_RESOURCES, "the disk is full")
    if isinstance(error, TooLarge):
        log.error("object_refused_for_size why=%s", error)
        return Status(OUT_OF_RESOURCES, str(error))
    log.error("object_not_recorded error=%s", type(error).__name__, exc_info=error)
    if isinstance(error, (SQLAlchemyError, OSError)):
        return Status(OUT_OF_RESOURCES, "the ledger cannot be written")
    return Status(PROCESSING_FAILURE, fingerprint(error))


def _gather(
    linked: "queue.Queue[tuple[Incoming, str | None] | None]", batch: list[tuple[Incoming, str | None]]
) -> bool:
    """Waits for one, and a little for more. False once there is no other to come."""
    seconds = None
    try:
        while len(batch) < _MAX_FORGOTTEN:
            each = linked.get(timeout=seconds)
            if each is None:
                return False
            batch.append(each)
            seconds = _LINGER_S
    except queue.Empty:
        pass
    return True


def _read_back(incoming: Incoming) -> StoreRequest:
    """An object of the spool as the request that brought it, without being held in memory."""
    with incoming.path.open("rb") as file:
        return split_part_10(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
