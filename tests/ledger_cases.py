"""What the ledger's tests say: films that come in and settle, answers, objects, and a clock that is turned by hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, select, update

from imaging.domain.artefacts import REPORT, StoredArtefact
from imaging.domain.codes import Code
from imaging.domain.findings import Answer, Finding, State, TriageClass
from imaging.domain.header import Header
from imaging.domain.reasons import Reason
from imaging.domain.same_image import Judgement, Kind
from imaging.domain.settling import CompletenessTimeouts
from imaging.ledger import conflicts, copies, deliveries, jobs, leasing, recording, retention, settling, tables, workers
from imaging.ledger.deliveries import Delivery
from imaging.ledger.instances import Receipt
from imaging.ledger.jobs import Job, NewObject
from imaging.ledger.leasing import LeaseRequest
from imaging.ledger.recording import Recorded
from imaging.ledger.settling import Candidate, NewJob
from imaging.ledger.store import Ledger

FILM_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
MODEL = "chest-film"
MODELS = frozenset({MODEL, "other", "first", "second", "third", "small-film", "small-volume", "later-model"})
POSITIVE = Answer(
    State.ANALYSED,
    (Finding(Code("SCT", "60046008", "Pleural effusion"), True, 0.9, 0.5),),
    triage=TriageClass.URGENT,
)
NEGATIVE = Answer(State.ANALYSED)
REFUSED = Answer(State.NOT_ANALYSED, reason=Reason("view", "lateral"))
FAULTY = Answer(State.FAILED, fault="ValueError in decode.py:12")


class TurnedClock:
    """A clock that only tests turn."""

    def __init__(self) -> None:
        self._now, self._tick, self._boot = datetime(2026, 11, 24, 9, 30, tzinfo=UTC), 1000.0, "first boot"

    def now(self) -> datetime:
        return self._now

    def wall(self) -> datetime:
        return self._now

    def tick(self) -> float:
        return self._tick

    def boot(self) -> str:
        return self._boot

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._tick += seconds

    def reboot(self) -> None:
        """The machine starts again: ticks count from the beginning."""
        self._now += timedelta(minutes=1)
        self._tick, self._boot = 5.0, f"after {self._boot}"


def film(study: str = "1.2.3", number: int = 1, **facts: Any) -> Header:
    """The header of a film of a study."""
    known: dict[str, Any] = {
        "modality": "DX",
        "patient_id": "P1",
        "accession_number": "A1",
        "has_pixels": True,
        "body_part_examined": "CHEST",
    }
    uids = (FILM_CLASS, f"{study}.1.{number}", study, f"{study}.1", "1.2.840.10008.1.2.1")
    return Header(*uids, **(known | facts))


def receive(ledger: Ledger, header: Header, digest: str = "", association: int | None = None) -> Recorded:
    """Gives an object its row, as the node does once it is in the spool."""
    receipt = Receipt(header, digest or header.sop_instance_uid, 1000, association, f"key-{digest}", f"apart-{digest}")
    (done,) = recording.record(ledger, [receipt], CompletenessTimeouts())
    assert isinstance(done, Recorded), done
    return done


def judge(ledger: Ledger, kind: Kind, takes_pixels: bool = True, words: str = "what differs") -> bool:
    """Has the next copy taken for this, as a worker does that compared it; the newer header holds where it is used."""
    pair = copies.claim(ledger, "worker-0:1")
    assert pair is not None
    header = pair.first[1] if kind in (Kind.SAME, Kind.CONFLICT) else pair.second[1]
    return copies.conclude(ledger, pair, Judgement(kind, words, header, takes_pixels))


def contradicted(ledger: Ledger, study: str = "1.2.3", **facts: Any) -> None:
    """The first film of a study comes again with other pixels, as a worker finds."""
    assert receive(ledger, film(study, **facts), "other pixels").is_unjudged
    assert judge(ledger, Kind.CONFLICT)


def candidate(ledger: Ledger, study_id: int) -> Candidate:
    """The study as the settler sees it, whenever it is due."""
    return settling.candidate(ledger, study_id)


def settle(ledger: Ledger, study_id: int, models: Sequence[str] = (MODEL,)) -> bool:
    """Takes a study as whole, all its images as the input of each model."""
    seen = candidate(ledger, study_id)
    new = [NewJob(each, "1", frozenset(seen.instances)) for each in models]
    return settling.settle(ledger, seen, "end of the association", new, "" if new else "no-model")


def queued(ledger: Ledger, study: str = "1.2.3", models: Sequence[str] = (MODEL,), **facts: Any) -> int:
    """A study that was received and settled; its row number."""
    study_id = receive(ledger, film(study, **facts)).study_id
    assert settle(ledger, study_id, models)
    return study_id


def lease(ledger: Ledger, owner: str = "worker-0:1", batch: int = 1) -> list[Job]:
    return leasing.lease(ledger, owner, LeaseRequest(MODELS, {MODEL: batch}))


def lease_one(ledger: Ledger, owner: str = "worker-0:1") -> Job:
    (job,) = lease(ledger, owner)
    return job


def lose(ledger: Ledger, clock: TurnedClock) -> None:
    """Lets every lease run out, and returns what nobody renewed."""
    clock.advance(workers.LEASE_S + 1)
    workers.return_silent(ledger, workers.silent(ledger))


def kept(sop_class_uid: str, uid: str, series_uid: str) -> StoredArtefact:
    """What the ledger knows of an object whose bytes no test looks at."""
    return StoredArtefact(REPORT, sop_class_uid, uid, series_uid, f"out/{uid}", f"digest of {uid}", 1000)


def report(job: Job, destinations: Sequence[str] = ("PACS",)) -> NewObject:
    """An object that answers for a job, with a UID of its own."""
    uid = f"2.25.{job.id}.{job.result_number}"
    return NewObject(kept(SR_CLASS, uid, f"2.25.{job.id}"), tuple(destinations))


def answered(ledger: Ledger, study: str = "1.2.3", destinations: Sequence[str] = ("PACS",)) -> int:
    """A study with one answer and its deliveries; its row number."""
    study_id = queued(ledger, study)
    job = lease_one(ledger)
    assert jobs.conclude(ledger, job, POSITIVE, [report(job, destinations)])
    return study_id


def claim(ledger: Ledger, destination: str = "PACS", owner: str = "deliver:PACS:1", limit: int = 16) -> list[Delivery]:
    return deliveries.claim(ledger, destination, owner, limit)[0]


def discarded(ledger: Ledger) -> list[str]:
    """The keys of the files that a purge deletes now."""
    keys: list[str] = []
    assert retention.sweep(ledger, keys.extend) == len(keys)
    return keys


def rows(ledger: Ledger, table: Table) -> list[Mapping[str, Any]]:
    """A table's rows, in their order."""
    with ledger.read() as connection:
        return [dict(each._mapping) for each in connection.execute(select(table).order_by(*table.primary_key))]


def force(ledger: Ledger, table: Table, **values: Any) -> None:
    """Puts every row of a table into a state, whatever it was in: the only way around the transitions."""
    with ledger.write() as connection:
        connection.execute(update(table).values(**values))


def states(ledger: Ledger, table: Table) -> list[str]:
    return [each["state"] for each in rows(ledger, table)]


def job_states(ledger: Ledger) -> list[str]:
    return states(ledger, tables.job)


def delivery_states(ledger: Ledger) -> list[str]:
    return states(ledger, tables.delivery)


def decided(ledger: Ledger, number: int, *, use: bool) -> str:
    """A person's word on one object kept apart; why nothing was done, empty where it was."""
    return conflicts.decide(ledger, [number], use)[number]
