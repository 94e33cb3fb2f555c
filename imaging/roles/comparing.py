"""Several objects under one UID: compared in the worker when it has nothing else to do, and in `imaging analyse`."""

import hashlib
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from imaging.domain.faults import fingerprint, is_out_of_memory
from imaging.domain.header import Header
from imaging.domain.same_image import Judgement, Kind
from imaging.domain.source import Source
from imaging.encoding.part10 import split_part_10
from imaging.ledger import copies
from imaging.ledger.copies import Pair
from imaging.ledger.jobs import MAX_DEATHS
from imaging.ledger.store import Ledger
from imaging.roles.watchdog import Watchdog
from imaging.spool import FolderSpool

log = logging.getLogger(__name__)

Compare = Callable[[Source, Source], Judgement]
"""What the second object is to the first. Raises OSError where a file cannot be had."""


class Comparing:
    """Judges copies one by one. One per worker; `one` may be called from several threads."""

    def __init__(self, ledger: Ledger, spool: FolderSpool, watch: Watchdog, owner: str, compare: Compare) -> None:
        self._ledger, self._spool, self._watchdog = ledger, spool, watch
        self._owner, self._compare = owner, compare

    def one(self, are_volumes: bool | None) -> bool:
        """Judges the next copy, of volumes, of films, or of any; False where none waits, or it could not be done."""
        try:
            pair = copies.claim(self._ledger, self._owner, are_volumes)
            if pair is None:
                return False
            judged = self._judged(pair)
            if judged is None:
                copies.postpone(self._ledger, pair)
                return False
            if copies.conclude(self._ledger, pair, judged):
                log.info("copy_judged study=%d copy=%d kind=%r", pair.study_id, pair.number, str(judged.kind))
        except Exception as error:
            log.exception("copy_not_judged error=%s", type(error).__name__)
            return False
        return True

    def _judged(self, pair: Pair) -> Judgement | None:
        """What the copy is; None where a file cannot be had, perhaps only not yet."""
        first, second = (Source(self._spool.path(key), header) for key, header in (pair.first, pair.second))
        if pair.deaths >= MAX_DEATHS:
            return _not_comparable(first, f"the comparison was started {pair.deaths} times and never finished")
        try:
            with self._watchdog.over([], copies.LEASE_S / 2):
                return _compared(first, second, self._compare)
        except OSError as error:
            log.error("copy_not_readable copy=%d error=%s", pair.number, error.strerror)
            return None


def _compared(first: Source, second: Source, compare: Compare) -> Judgement:
    """What the second is; what breaks comparing them is no more than doubt. Raises OSError."""
    try:
        return compare(first, second)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, the two are not known to be one)
        why = "memory" if is_out_of_memory(error) else fingerprint(error)
        log.error("copies_not_compared why=%s", why)  # without its trace: `imaging analyse` prints what is logged
        return _not_comparable(first, why)


def _not_comparable(first: Source, why: str) -> Judgement:
    """Doubt, since an answer rests on the first."""
    return Judgement(Kind.CONFLICT, f"they cannot be compared: {why}", first.header)


@dataclass(frozen=True)
class Distinct:
    """One object per UID, with the facts that hold. `conflicts`: under how many UIDs there are other contents."""

    sources: tuple[Source, ...]
    conflicts: int = 0


def distinct(sources: Sequence[Source], compare: Compare) -> Distinct:
    """The objects of a study, each UID once. Raises OSError where a file cannot be read again.

    What came first is told by Instance Creation Date and Time where each object under a UID has one, else by digest:
    never by names, so that a folder that was copied gives the same answer.
    """
    by_uid: dict[str, list[Source]] = {}
    for source in sources:
        by_uid.setdefault(source.header.sop_instance_uid, []).append(source)
    chosen, conflicts = [], 0
    for same in by_uid.values():
        first, contradictions = _used(same, compare) if len(same) > 1 else (same[0], 0)
        chosen.append(first)
        conflicts += contradictions > 0
    return Distinct(tuple(chosen), conflicts)


def _used(same: Sequence[Source], compare: Compare) -> tuple[Source, int]:
    """Which object under one UID is used, with the facts that hold, and how many others contradict it."""
    by_digest = {_digest(source): source for source in same}
    times = {digest: _created(source.header) for digest, source in by_digest.items()}
    if not all(times.values()):
        times = dict.fromkeys(times, "")
    order = sorted(by_digest, key=lambda digest: (times[digest], digest))
    used, contradicting = by_digest[order[0]], 0
    for digest in itertools.islice(order, 1, None):
        other = by_digest[digest]
        if not used.header.has_pixels and not other.header.has_pixels:
            continue
        judged = _compared(used, other, compare)
        contradicting += judged.kind is Kind.CONFLICT
        if judged.kind in (Kind.CORRECTION, Kind.READABLE):
            used = replace(other if judged.takes_pixels else used, header=judged.header)
    return used, contradicting


def _created(header: Header) -> str:
    """Instance Creation Date and Time as text that sorts, empty where there is no date."""
    date = header.instance_creation_date.strip()
    return f"{date}{header.instance_creation_time.strip()}" if date else ""


def _digest(source: Source) -> str:
    """Of the data set, as the node takes it: what a file's meta information says changes nothing."""
    return hashlib.sha256(split_part_10(source.read_bytes()).data).hexdigest()
