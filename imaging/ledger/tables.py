"""The tables. Wall times are `*_at` Instants, for people; `*_tick` are seconds of a clock that does not step."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    FromClause,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from imaging.domain.modes import Mode
from imaging.domain.priority import ORDER
from imaging.domain.states import ApartState, DeliveryState, JobState, StudyState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 UTC, so that both databases order it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds since 1970, UTC."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """The aware time of so many microseconds since 1970."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


def _one_of(column: str, states: Iterable[str]) -> CheckConstraint:
    """Stands beside the column: a constraint inside of it is not seen when migrations are generated."""
    allowed = ", ".join(f"'{each}'" for each in states)
    return CheckConstraint(f"{column} IN ({allowed})", name=f"{column}_is_known")


def _id() -> Column[int]:
    """Row numbers that are never used again: logs name rows by them."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _to(table: str, *, nullable: bool = False, index: bool = False) -> Column[int]:
    name = f"{table}_id"
    return Column(name, BigInteger, ForeignKey(f"{table}.id"), nullable=nullable, index=index)


def _text(name: str, *, unique: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, unique=unique, server_default=None if unique else "")


def _mode() -> Column[str]:
    return Column("mode", Text, nullable=False, server_default=Mode.LIVE)


def in_order(table: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The columns that order a table as the worklist and the queue are ordered; its index begins with them."""
    return tuple(table.c[name] for name in ORDER)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
"""`boot`, `clock`: where ticks and time are counted from; `installation`: drawn once, in the UID of each result."""

patient = Table(
    "patient",
    metadata,
    _id(),
    _text("value"),
    _text("issuer"),
    _text("name"),
    _text("birth_date"),
    _text("sex"),
    UniqueConstraint("value", "issuer"),
    sqlite_autoincrement=True,
)
"""A row per identifier and issuer; an empty identifier names nobody and has no row."""

association = Table(
    "association",
    metadata,
    _id(),
    _text("calling_ae_title"),
    _text("called_ae_title"),
    _text("address"),
    _text("site"),
    _text("node"),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    _text("ended_how"),
    _text("ended_as"),
    Column("contexts", JSON, nullable=False),
    Column("stored", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("refusals", JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""`node`: which node of which host has it, as owners of leases begin. `ended_how`: in words; `ended_as`: a
`domain.ends.End`, empty while it is open and where it was rejected."""

study = Table(
    "study",
    metadata,
    _id(),
    _text("study_instance_uid", unique=True),
    _text("site"),
    _to("patient", nullable=True, index=True),
    Column("state", Text, nullable=False),
    _one_of("state", StudyState),
    Column("flag", Text),
    _text("folded"),
    Column("header", JSON, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("last_image_at", Instant, nullable=False),
    Column("band", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("first_tick", Float, nullable=False),
    Column("last_tick", Float, nullable=False),
    Column("ended_tick", Float),
    Column("revised_tick", Float),
    Column("settle_tick", Float),
    _text("settle_why"),
    Column("last_association", BigInteger),
    Column("cut_tick", Float),
    Column("cut_by", JSON, nullable=False, server_default="{}"),
    _text("reason"),
    Column("conflicts", Integer, nullable=False, server_default="0"),
    Column("corrections", Integer, nullable=False, server_default="0"),
    Column("instances", Integer, nullable=False, server_default="0"),
    Column("persons", JSON, nullable=False, server_default="[]"),
    sqlite_autoincrement=True,
)
"""`site`: that of the node that received its first object. `settle_tick`: when to look whether it is whole, set while
it is receiving. `reason`: why no model was asked.

`flag`: the most urgent class that any answer ever asked for. `folded`: what a search looks at. `conflicts`: how many
are open; `corrections`: how many copies of its images brought newer attributes, or pixels that can be read.
`last_association`: the number of the one that last brought of it. `cut_by`: the senders that were cut off while they
sent of it, each with the number of that association, until they come back; `cut_tick`: when the last of them was.
`persons`: whom its objects name, each once, in the order in which they came (`imaging.ledger.patients`)."""

series = Table(
    "series",
    metadata,
    _id(),
    _to("study", index=True),
    _text("series_instance_uid"),
    _text("modality"),
    Column("last_tick", Float),
    Column("longest_pause_s", Float, nullable=False, server_default="0"),
    Column("is_split", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("study_id", "series_instance_uid"),
    sqlite_autoincrement=True,
)
"""`last_tick`, `longest_pause_s`, `is_split`: a `domain.settling.Pace`."""

instance = Table(
    "instance",
    metadata,
    _id(),
    _to("study", index=True),
    _to("series"),
    _to("association", nullable=True),
    _text("sop_instance_uid"),
    _text("digest"),
    _text("key"),
    Column("size", BigInteger, nullable=False),
    Column("header", JSON, nullable=False),
    Column("received_at", Instant, nullable=False),
    UniqueConstraint("sop_instance_uid", "study_id"),
    sqlite_autoincrement=True,
)
"""An object belongs to the study that it names: modalities whose UIDs start anew give one UID to two objects."""

conflict = Table(
    "conflict",
    metadata,
    _id(),
    _to("study", index=True),
    _text("sop_instance_uid"),
    _text("digest"),
    _text("key"),
    Column("size", BigInteger, nullable=False),
    Column("header", JSON, nullable=False),
    _text("why"),
    Column("state", Text, nullable=False),
    _one_of("state", ApartState),
    Column("received_at", Instant, nullable=False),
    _to("association", nullable=True),
    _text("judgement"),
    Column("judged_at", Instant),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _text("lease"),
    Column("lease_tick", Float),
    Column("decision", BigInteger),
    Column("decided_at", Instant),
    Column("replaced_id", BigInteger, ForeignKey("conflict.id")),
    UniqueConstraint("study_id", "sop_instance_uid", "digest"),
    sqlite_autoincrement=True,
)
"""Objects kept apart: their UID has other bytes, or their study another patient.

A `shared` one is no object, so it has neither digest nor key. `judgement`: what the comparison found, in English.
`lease`, `lease_tick`, `attempts`: of comparing. `decision`: the first of the numbers that a person decided with this
one, at `decided_at`; `replaced_id`: what was taken out for it."""

returned = Table(
    "returned",
    metadata,
    _id(),
    _to("study", nullable=True, index=True),
    _to("association", nullable=True),
    _text("study_instance_uid"),
    _text("sop_instance_uid"),
    _text("digest"),
    _text("key"),
    Column("size", BigInteger, nullable=False),
    Column("header", JSON, nullable=False),
    Column("received_at", Instant, nullable=False),
    UniqueConstraint("sop_instance_uid", "digest"),
    sqlite_autoincrement=True,
)
"""Reports of ours that a PACS sent back, under whatever identifiers. `study_id`: None where there was no such study;
then they belong to the one whose UID they bear, should it begin."""

revision = Table(
    "revision",
    metadata,
    _id(),
    _to("study"),
    Column("number", Integer, nullable=False),
    Column("settled_at", Instant, nullable=False),
    _text("signal"),
    UniqueConstraint("study_id", "number"),
    sqlite_autoincrement=True,
)

job = Table(
    "job",
    metadata,
    _id(),
    _to("study"),
    _to("revision"),
    _text("model"),
    _text("version"),
    Column("result_number", Integer, nullable=False),
    Column("instances", JSON, nullable=False),
    Column("doubtful", JSON),
    Column("state", Text, nullable=False),
    _one_of("state", JobState),
    Column("reason", Text),
    _text("found"),
    Column("in_part", Boolean, nullable=False, server_default=false()),
    _mode(),
    Column("outcome", JSON),
    Column("band", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("queued_at", Instant, nullable=False),
    Column("ended_at", Instant),
    _text("lease"),
    Column("lease_tick", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    UniqueConstraint("study_id", "model", "result_number"),
    sqlite_autoincrement=True,
)
"""`instances`: row numbers of the model's input; `doubtful`: those of them that had an open conflict.
`lease`: who works on it, and until which tick.

`found`: the codes of the findings that are present, for the search. `in_part`: images were not analysed. `mode`: that
of the model when it answered, and until then when it was asked."""

last_result = Table(
    "last_result",
    metadata,
    Column("study_instance_uid", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("result_number", Integer, nullable=False),
)
"""What stays of a study that was removed: the number of each model's last answer, so that none is given again."""

replay = Table(
    "replay",
    metadata,
    _id(),
    _to("study", index=True),
    _text("model"),
    UniqueConstraint("model", "study_id"),
    sqlite_autoincrement=True,
)
"""Studies that the node is asked to look at again, for one model, or where `model` is empty for all that it serves."""

object_ = Table(
    "object",
    metadata,
    _id(),
    _to("study", index=True),
    _to("job", index=True),
    _text("kind"),
    _text("model"),
    _text("sop_class_uid"),
    _text("sop_instance_uid", unique=True),
    _text("series_instance_uid"),
    Column("stands_for_id", BigInteger, ForeignKey("object.id"), index=True),
    _text("key"),
    _text("digest"),
    Column("size", BigInteger, nullable=False),
    Column("built_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""What is sent. Its bytes lie in the spool under `key`, before its row is there and until after it is gone.

`stands_for_id`: the object that this one is sent in place of, to who does not take that."""

discarded = Table("discarded", metadata, Column("key", Text, primary_key=True))
"""Spool keys of files whose rows are gone, until the files are gone as well."""

delivery = Table(
    "delivery",
    metadata,
    _id(),
    _to("study"),
    _to("object", index=True),
    _text("destination"),
    Column("state", Text, nullable=False),
    _one_of("state", DeliveryState),
    Column("due_tick", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent_object_id", BigInteger),
    _text("why"),
    _text("lease"),
    Column("lease_tick", Float),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    UniqueConstraint("object_id", "destination"),
    sqlite_autoincrement=True,
)
"""`sent_object_id`: the object that an attempt may have brought there, though no success was heard of."""

peer = Table(
    "peer",
    metadata,
    _id(),
    _text("name", unique=True),
    Column("is_up", Boolean),
    _text("why"),
    Column("since_at", Instant, nullable=False),
    Column("probe_tick", Float, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

role = Table(
    "role",
    metadata,
    Column("place", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _text("state"),
    _text("error"),
)
"""What the supervisor of each place (`Ledger.place`) says of its children."""

worker = Table(
    "worker",
    metadata,
    Column("name", Text, primary_key=True),
    Column("beat_tick", Float, nullable=False),
    Column("serves", JSON, nullable=False, server_default="null"),
)
"""`beat_tick`: when it last said that it lives. `serves`: the names of its models; null until it was ready once."""

model = Table(
    "model",
    metadata,
    Column("name", Text, primary_key=True),
    _text("version"),
    _text("fingerprint"),
    Column("is_served", Boolean, nullable=False),
    Column("is_synthetic", Boolean, nullable=False),
    _text("why"),
    _mode(),
)
"""What workers said of the models: served, or disabled and why. `fingerprint`: what the golden case passed with.

`is_synthetic`: it was measured on drawn images alone, which its answers then say.
"""
