"""The node: receives, and settles what may be whole."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from imaging.dicom_node.acceptor import Acceptor, Opened, Tally
from imaging.domain.card import Card
from imaging.domain.ends import End
from imaging.domain.faults import fingerprint
from imaging.domain.patient import placeholder_words
from imaging.domain.peers import Caller, Refused
from imaging.domain.ports import advice
from imaging.domain.settling import CompletenessTimeouts, Incomplete, completeness
from imaging.encoding.part10 import Announced
from imaging.intake.storing import Status, Storing
from imaging.ledger import associations, migrate, settling, wakeups
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.refusals import RefusalBook
from imaging.ledger.settling import Candidate, Whole
from imaging.ledger.store import Ledger, is_transient
from imaging.memory import trim_memory
from imaging.models.catalogue import load_models
from imaging.roles.child import LOOK_S, CannotRun, Lifecycle
from imaging.roles.owner import owner_of
from imaging.roles.planning import new_jobs
from imaging.roles.replaying import Replaying
from imaging.spool import FolderSpool

log = logging.getLogger(__name__)

MAX_TRIES: Final = 5
"""Looks at a study that raise an error of ours, after which it is answered with that."""


@dataclass(frozen=True)
class NodeConfig:
    """What the node is told."""

    name: str
    home: str
    database: str
    host: str
    port: int
    accept: Sequence[Sequence[str]]
    connections_per_address: int
    models: Sequence[str]
    timeouts: Mapping[str, float]
    disk_reserve_bytes: int
    largest_object_bytes: int
    site_words: Sequence[str] = ()
    model_mode: Sequence[str] = ()
    ignore_patient_orientation: Sequence[str] = ()
    placeholders: Sequence[str] = ()
    site: str = ""


def run(config: Mapping[str, Any], lifecycle: Lifecycle) -> None:
    """Receives until it is told to stop."""
    settings = NodeConfig(**config)
    home, timeouts = Path(settings.home), CompletenessTimeouts(**settings.timeouts)
    ledger = Ledger(home, settings.database)
    ledger.site, ledger.node = settings.site, owner_of(home, "node")
    migrate.check(ledger)
    spool = FolderSpool(home / "spool", settings.disk_reserve_bytes)
    storing = Storing(ledger, spool, timeouts, placeholder_words(settings.placeholders), settings.largest_object_bytes)
    storing.recover()
    _end_lost_associations(ledger)
    accept = [Caller(title, address) for title, address in settings.accept]
    receiving = Receiving(ledger, storing)
    acceptor = Acceptor(accept, receiving, settings.connections_per_address, 2 * settings.largest_object_bytes)
    try:
        port = acceptor.listen(settings.host, settings.port)
    except OSError as error:
        raise CannotRun(
            f"cannot listen on {settings.host}:{settings.port} (--dicom-port): {error.strerror}; "
            f"{advice(settings.port, error, '--dicom-port')}"
        ) from None
    catalogue = load_models([Path(each) for each in settings.models], settings.site_words, settings.model_mode)
    settler = Settler(ledger, catalogue.models, timeouts, frozenset(settings.ignore_patient_orientation))
    lifecycle.on_stop(lambda: ledger.wakeups.notify(wakeups.SETTLE))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lifecycle.ready({"dicom": f"{host}:{port}", "port": port})
    settler.run(lifecycle.stop, receiving.note_ends)
    acceptor.close(drain_s=5.0)
    storing.close()


def _end_lost_associations(ledger: Ledger) -> None:
    try:
        lost = associations.end_lost(ledger)
    except SQLAlchemyError as error:  # a full disk, say: what wants to be stored is answered with it
        log.exception("lost_associations_not_ended error=%s", type(error).__name__)
        return
    if lost:
        log.info("lost_associations_ended count=%d", lost)


class Receiving:
    """What the acceptor hands over, written down."""

    def __init__(self, ledger: Ledger, storing: Storing) -> None:
        self._ledger, self._storing = ledger, storing
        self._senders: dict[int, str] = {}
        self._refusals = RefusalBook(ledger)
        self._ended: queue.SimpleQueue[tuple[int, AssociationEnd]] = queue.SimpleQueue()

    def opened(self, who: Opened) -> int:
        """Records an association. Returns its number."""
        number = associations.begin(self._ledger, who.calling_ae_title, who.called_ae_title, who.address, who.contexts)
        self._senders[number] = who.calling_ae_title
        return number

    def turned_away(self, refused: Sequence[Refused], unread: Mapping[Refused, int]) -> None:
        """Records rejected requests, and how many connections were closed unread."""
        self._refusals.write(refused, unread)

    def store(self, association: int, what: Announced, pieces: Iterator[memoryview]) -> Status:
        """Stores one object of an association; returns what to answer."""
        return self._storing.receive(replace(what, sender=self._senders[association]), pieces, association)

    def closed(self, association: int, end: End, how: str, tally: Tally) -> None:
        """Records how an association ended; if the ledger is away, `note_ends` does it later."""
        del self._senders[association]
        ended = AssociationEnd(how, tally.stored, tally.refused, tally.refusals, end)
        try:
            associations.end(self._ledger, association, ended)
        except Exception as error:  # a full disk, say: its studies would be taken for being sent
            log.exception("association_end_waits number=%d error=%s", association, type(error).__name__)
            self._ended.put((association, ended))
        log.info(
            "association_ended number=%d how=%r stored=%d refused=%d", association, how, tally.stored, tally.refused
        )

    def note_ends(self) -> None:
        """Writes down the ends that could not be. Raises what the ledger raises; the rest waits on."""
        for _ in range(self._ended.qsize()):
            association, ended = self._ended.get()
            try:
                associations.end(self._ledger, association, ended)
            except Exception:
                self._ended.put((association, ended))
                raise


class Settler:
    """Looks at studies that may be whole, when something ends or their time comes."""

    def __init__(
        self,
        ledger: Ledger,
        cards: Sequence[Card],
        timeouts: CompletenessTimeouts,
        untrusted_senders: Collection[str] = frozenset(),
    ) -> None:
        """`untrusted_senders`: AE titles of senders whose Patient Orientation counts for nothing."""
        self._ledger, self._cards, self._timeouts, self._untrusted_senders = ledger, cards, timeouts, untrusted_senders
        self._replaying = Replaying(ledger, cards, untrusted_senders)
        self._tries: Counter[int] = Counter()
        self._stop = threading.Event()

    def run(self, stop: threading.Event, first: Callable[[], None] = lambda: None) -> None:
        """Looks until `stop` is set, whatever becomes of the ledger meanwhile. `first`: done before each look."""
        self._stop = stop
        listener = self._ledger.wakeups.listen(wakeups.SETTLE)
        # A study that comes meanwhile is due no sooner, so that nobody has to wake this for it.
        longest = max(0.1, min(LOOK_S, self._timeouts.film_s, self._timeouts.volume_open_s))
        was_busy = False
        while not stop.is_set():
            due_tick = self._looked(first)
            seconds = longest if due_tick is None else due_tick - self._ledger.clock.tick()
            topics = listener.wait(min(max(seconds, 0.0), longest))
            if was_busy and not topics:
                trim_memory()
            was_busy = bool(topics)
        listener.close()

    def _looked(self, first: Callable[[], None]) -> float | None:
        try:
            first()
            return self.run_once()
        except Exception as error:  # a database that is away, say: what is due stays so
            log.exception("studies_not_looked_at error=%s", type(error).__name__)
            self._stop.wait(LOOK_S)
            return self._ledger.clock.tick()

    def run_once(self) -> float | None:
        """Settles what is whole, and then some of what is asked for again; the tick at which to look again."""
        due, later = settling.due_studies(self._ledger)
        ticks = [] if later is None else [later]
        wholes: list[Whole] = []
        postponed: list[tuple[Candidate, Incomplete]] = []
        for each in due:
            try:
                candidate = settling.candidate(self._ledger, each)
                verdict = completeness(candidate.signals, self._timeouts, self._ledger.clock.tick())
                if isinstance(verdict, Incomplete):
                    postponed.append((candidate, verdict))
                    self._tries.pop(each, None)
                else:
                    wholes.append(self._whole(candidate, verdict.signal))
            except Exception as error:  # of this study: the others go on
                log.exception("study_not_settled study=%d error=%s", each, type(error).__name__)
                ticks += self._after_fault(each, error)
        ticks += self._settle(wholes) + [verdict.at for _, verdict in postponed]
        if postponed:
            settling.look_again(self._ledger, postponed)
        return self._ledger.clock.tick() if self._replaying.run_once() else min(ticks, default=None)

    def _whole(self, candidate: Candidate, signal: str) -> Whole:
        return Whole(candidate, signal, *new_jobs(candidate, self._cards, self._untrusted_senders))

    def _settle(self, wholes: Sequence[Whole]) -> list[float]:
        """Settles studies together, or one by one where that fails; when to look again at those that fail alone."""
        if not wholes:
            return []
        try:
            settled = settling.settle_together(self._ledger, wholes)
        except Exception as error:
            if len(wholes) == 1:
                study = wholes[0].candidate.id
                log.exception("study_not_settled study=%d error=%s", study, type(error).__name__)
                return self._after_fault(study, error)
            log.exception("studies_not_settled_together count=%d error=%s", len(wholes), type(error).__name__)
            return [tick for each in wholes for tick in self._settle([each])]
        for each, is_settled in zip(wholes, settled, strict=True):
            study, signal, jobs = each.candidate.id, each.signal, len(each.jobs)
            self._tries.pop(study, None)
            if is_settled:
                log.info("study_settled study=%d signal=%r jobs=%d reason=%r", study, signal, jobs, each.reason)
        return []

    def _after_fault(self, study_id: int, error: Exception) -> list[float]:
        """Puts a study off that cannot be settled, longer each time; in the end it is answered with the fault.

        The tick at which to look again, if at all. The database's own trouble counts for nothing. Raises what the
        ledger raises, where not even that can be noted.
        """
        self._tries[study_id] += not is_transient(error)
        tries = self._tries[study_id]
        if tries >= MAX_TRIES:
            fault = f"the study could not be processed: {fingerprint(error)}"
            jobs = [(card.id, card.version, card.mode) for card in self._cards_of(study_id)]
            if settling.give_up(self._ledger, study_id, jobs, fault):
                log.error("study_given_up study=%d why=%s", study_id, fault)
            del self._tries[study_id]
            return []
        again = self._ledger.clock.tick() + LOOK_S * 2.0 ** max(tries - 1, 0)
        settling.postpone(self._ledger, study_id, again, "an error in imaging; see the log")
        return [again]

    def _cards_of(self, study_id: int) -> list[Card]:
        """The models that may have been meant, as far as the kinds of the study's series tell."""
        kinds = settling.modalities(self._ledger, study_id)
        return [card for card in self._cards if any(kinds & {*each.modality} for each in card.inputs)]
