"""From a C-STORE request to its status: read, write down, give a row, and only then say 0x0000.

Commits are grouped: whatever is ready at the same time shares one durable transaction.
"""

import hashlib
import logging
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from imaging import crash
from imaging.dicom_node.files import StoreRequest, part_10_head, split_part_10
from imaging.dicom_node.headers import Mismatch, Unreadable, read_header
from imaging.domain.faults import fingerprint
from imaging.domain.header import Header
from imaging.domain.patient import Words
from imaging.domain.settling import Patience
from imaging.ledger import receiving
from imaging.ledger.receiving import Receipt, Recorded
from imaging.ledger.store import Ledger
from imaging.spool import FolderSpool, Incoming, SpoolFull
from imaging.spool.folder import key_of

log = logging.getLogger(__name__)

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
OUT_OF_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000

_MOST_WAITING: Final = 64


@dataclass(frozen=True)
class Status:
    """A C-STORE response: the status (PS3.4 B.2.3, PS3.7 C) and, unless it is success, why: 64 characters are sent."""

    code: int
    comment: str = ""


class Storing:
    """Takes objects durably. One per process; `store` is called from many threads.

    `placeholders`: the site's own words for a patient whom nobody knows.
    """

    def __init__(
        self, ledger: Ledger, spool: FolderSpool, patience: Patience, placeholders: Words = frozenset()
    ) -> None:
        self._ledger, self._spool, self._patience, self._placeholders = ledger, spool, patience, placeholders
        self._waiting: queue.Queue[tuple[Receipt, Future[Recorded]] | None] = queue.Queue(_MOST_WAITING)
        self._linked: queue.Queue[tuple[Incoming, str | None] | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._commit, name="commit", daemon=True),
            threading.Thread(target=self._forget, name="forget", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

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
                self._keep(request, header, incoming, None)
            except (Unreadable, Mismatch, ValueError) as error:
                log.error("left_over_object_unreadable file=%s why=%s", incoming.path.name, error)
            except Exception as error:  # a full disk, say: nobody waits for it, and the next start looks again
                log.exception("left_over_object_waits file=%s error=%s", incoming.path.name, type(error).__name__)
        if found or halves:
            log.info("left_over_objects_recorded count=%d halves_removed=%d", found, halves)
        return found

    def store(self, request: StoreRequest, association_id: int | None) -> Status:
        """Keeps one object. When the status is success, its bytes and its row are on disk."""
        try:
            header = read_header(
                request.data,
                request.transfer_syntax_uid,
                request.sop_class_uid,
                request.sop_instance_uid,
                request.sender,
            )
            self._spool.check_room(len(request.data))
            self._spool.make_folder(key_of(header))  # a name that cannot be had is found out before there is a row
            incoming = self._spool.write([part_10_head(header), request.data])
            self._keep(request, header, incoming, association_id)
        except Unreadable as error:
            return Status(CANNOT_UNDERSTAND, str(error))
        except Mismatch as error:
            return Status(MISMATCH, str(error))
        except SpoolFull as error:
            log.error("object_refused_for_space why=%s", error)
            return Status(OUT_OF_RESOURCES, "the disk is full")
        except (SQLAlchemyError, OSError) as error:
            log.exception("object_not_recorded error=%s", type(error).__name__)
            return Status(OUT_OF_RESOURCES, "the ledger cannot be written")
        except Exception as error:
            log.exception("object_not_recorded error=%s", type(error).__name__)
            return Status(PROCESSING_FAILURE, fingerprint(error))
        return Status(SUCCESS)

    def _keep(self, request: StoreRequest, header: Header, incoming: Incoming, association_id: int | None) -> None:
        digest = hashlib.sha256(request.data).hexdigest()
        header = header.judged_by(self._placeholders)
        receipt = Receipt(header, digest, incoming.size, association_id, key_of(header), key_of(header, digest))
        answer: Future[Recorded] = Future()
        self._waiting.put((receipt, answer))
        try:
            recorded = answer.result()
        except BaseException:
            if association_id is not None:  # the sender keeps it, so nothing is lost
                self._linked.put((incoming, None))
            raise
        self._spool.link(incoming, recorded.key)  # should it fail, the first name stays until a start links it anew
        crash.point("linked")
        self._linked.put((incoming, recorded.key))
        if recorded.conflict:
            log.warning("object_kept_apart study=%d why=%s", recorded.study_id, recorded.conflict)

    def _commit(self) -> None:
        while (batch := _batch(self._waiting)) is not None:
            try:
                results = receiving.record(self._ledger, [receipt for receipt, _ in batch], self._patience)
                crash.point("recorded")
            except Exception as error:  # noqa: BLE001 (each waiting request is answered with it)
                results = [error] * len(batch)
            for (_, answer), result in zip(batch, results, strict=True):
                if isinstance(result, Recorded):
                    answer.set_result(result)
                else:
                    answer.set_exception(result)

    def _forget(self) -> None:
        """Drops first names behind the acknowledgement: until the final name is synced there are two."""
        while (batch := _batch(self._linked)) is not None:
            try:
                self._spool.forget(batch)
            except OSError as error:
                log.error("first_names_not_dropped error=%s", error.strerror)

    def close(self) -> None:
        """Ends after what is under way."""
        self._waiting.put(None)
        self._threads[0].join()
        self._linked.put(None)
        self._threads[1].join()


T = TypeVar("T")


def _batch(waiting: "queue.Queue[T | None]") -> list[T] | None:
    """All that waits, at least one; None at the end."""
    first = waiting.get()
    if first is None:
        return None
    batch = [first]
    while len(batch) < _MOST_WAITING and not waiting.empty():
        each = waiting.get()
        if each is None:
            waiting.put(None)
            break
        batch.append(each)
    return batch


def _read_back(incoming: Incoming) -> StoreRequest:
    """An object of the spool as the request that brought it."""
    return split_part_10(incoming.path.read_bytes())
