"""What somebody has to look at: from facts about a home to alarms in words.

One list, which `imaging status`, `imaging doctor`, `/healthz` and the head of the page show.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from imaging.domain.clock_anchor import ClockFacts
from imaging.domain.disk_space import DiskSpace

WAITING: Final = timedelta(minutes=15)
"""A job, or a delivery to a destination that is up, waits no longer."""
COMPARING: Final = timedelta(hours=1)
"""Copies are compared when nothing else is to be done."""


class Kind(StrEnum):
    """The alarms there are, the most pressing first."""

    NEVER_SERVED = "never-served"
    NOT_SERVED = "not-served"
    DISK = "disk"
    INODES = "inodes"
    ROLE = "role"
    CLOCK_IMPOSSIBLE = "clock-impossible"
    CLOCK_BEHIND = "clock-behind"
    CLOCK_SET = "clock-set"
    DESTINATION = "destination"
    MODEL = "model"
    RECEIVING = "receiving"
    ANALYSIS = "analysis"
    DELIVERY = "delivery"
    DEAD_LETTERS = "dead-letters"
    CONFLICTS = "conflicts"
    COMPARING = "comparing"


CLOCK_KINDS: Final = (Kind.CLOCK_IMPOSSIBLE, Kind.CLOCK_BEHIND, Kind.CLOCK_SET)


@dataclass(frozen=True)
class Rule:
    """What an alarm says, with its placeholders filled; when it holds; what to do."""

    says: str
    when: str
    mend: str


RULES: Final[Mapping[Kind, Rule]] = {
    Kind.NEVER_SERVED: Rule(
        "{name} has never been served", "the home has no ledger yet", "start with `imaging serve --home HOME`"
    ),
    Kind.NOT_SERVED: Rule(
        "this home is not being served",
        "no `imaging serve` runs for the home",
        "`systemctl start imaging`, or `imaging serve`",
    ),
    Kind.DISK: Rule(
        "objects are refused: {why}",
        "the disk is at its reserve (`disk_reserve_mb`, or 5 % if that is less); senders get 0xA700 and retry",
        "free disk space, run `imaging purge --older-than 30d`, or use a larger disk",
    ),
    Kind.INODES: Rule(
        "objects are refused: {why}",
        "only a tenth of the disk's inodes, or 10,000 if that is less, is left; senders get 0xA700 and retry",
        "remove small files, run `imaging purge --older-than 30d`, or use a file system with more inodes",
    ),
    Kind.ROLE: Rule(
        "{name} is {state}{why}",
        "a role that served this home is down, keeps crashing or was stopped",
        "a role that is down is restarted at once; for one that keeps crashing, or was stopped, see the log",
    ),
    Kind.CLOCK_IMPOSSIBLE: Rule(
        "the clock says {why}, which is before this version was installed",
        "the wall clock is before the installation",
        "set the clock: dates in reports are wrong",
    ),
    Kind.CLOCK_BEHIND: Rule(
        "the clock is {time} behind the last receipt",
        "the wall clock is before the last receipt; times continue from that receipt",
        "set the clock; if it is right, earlier receipts have wrong dates",
    ),
    Kind.CLOCK_SET: Rule(
        "the clock was changed by {why} since `imaging serve` started",
        "the wall clock jumped by more than a minute; receipts, due times and the order ignore the jump",
        "if the clock is right now, restart `imaging serve`; if not, set it first",
    ),
    Kind.DESTINATION: Rule(
        "{name} is down, {n} waiting{why}",
        "a destination does not answer or has no space; deliveries are retried indefinitely",
        "`imaging doctor` shows why; `imaging replay --now` retries at once",
    ),
    Kind.MODEL: Rule(
        "the model {name} is disabled: {why}", "a model is not served", "`imaging models check`, then restart"
    ),
    Kind.RECEIVING: Rule(
        "a study has been arriving for {time}",
        "a study is not complete 5 min after `longest_wait_s`",
        "see the node's log",
    ),
    Kind.ANALYSIS: Rule(
        "a job has been waiting for {time}", "a job has been waiting for 15 min", "check the load, or add workers"
    ),
    Kind.DELIVERY: Rule(
        "a delivery to {name} has been waiting for {time}",
        "a delivery has been waiting for 15 min although its destination is up",
        "`imaging status --study` shows why; a conflict in its study holds it",
    ),
    Kind.DEAD_LETTERS: Rule(
        "{n} dead letters for {name}",
        "a destination permanently refused a report, or is no longer configured",
        "fix the cause shown by `imaging status`, then `imaging replay --to NAME`, or `--to NEW --of NAME`",
    ),
    Kind.CONFLICTS: Rule(
        "{n} objects in conflict, undecided",
        "objects contradict what was received before",
        "`imaging conflicts list`, then `use` or `drop`",
    ),
    Kind.COMPARING: Rule(
        "a second copy has been waiting for comparison for {time}",
        "a copy has been waiting for 1 h, because workers have other work",
        "check the load, or add workers",
    ),
}


@dataclass(frozen=True)
class Alarm:
    """One thing to look at. What of `name`, `n`, `why`, `state` and `time` an alarm has, its rule names."""

    kind: Kind
    name: str = ""
    n: int = 0
    why: str = ""
    state: str = ""
    time: timedelta = timedelta()

    @property
    def words(self) -> str:
        """What it says, in English, without patients' data."""
        why = f": {self.why}" if self.why and self.kind in (Kind.ROLE, Kind.DESTINATION) else self.why
        return RULES[self.kind].says.format(
            name=self.name, n=self.n, why=why, state=self.state, time=span_text(self.time)
        )

    @property
    def mend(self) -> str:
        """What to do about it, in English."""
        return RULES[self.kind].mend

    def to_json(self) -> dict[str, str]:
        """As `status --json` and `/healthz` print it."""
        return {"kind": str(self.kind), "name": self.name, "words": self.words, "mend": self.mend}


@dataclass(frozen=True)
class RoleHealth:
    """A role as the page's head shows it: "up", "down", "crashing" or "stopped"; with its last error, or none."""

    name: str
    state: str
    error: str = ""


@dataclass(frozen=True)
class Outbox:
    """A destination: whether it is down and why, how many deliveries wait for how long, how many are dead."""

    name: str
    is_down: bool = False
    why: str = ""
    waiting: int = 0
    oldest: timedelta = timedelta()
    dead: int = 0


@dataclass(frozen=True)
class Facts:
    """What is known of a home. Times are those for which the oldest waits, nothing where none does.

    `is_served`: whether anything serves it now. `disabled`: why, by model. `longest_wait`: of a study, by its settings.
    """

    roles: Sequence[RoleHealth]
    is_served: bool
    disk_space: DiskSpace
    clock: ClockFacts
    outboxes: Sequence[Outbox] = ()
    disabled: Mapping[str, str] | None = None
    conflicts: int = 0
    receiving: timedelta = timedelta()
    analysis: timedelta = timedelta()
    comparing: timedelta = timedelta()
    longest_wait: timedelta = timedelta(minutes=15)


@dataclass(frozen=True)
class Health:
    """What the head of the page shows: each role, and each alarm, the most pressing first."""

    roles: tuple[RoleHealth, ...] = ()
    alarms: tuple[Alarm, ...] = ()

    @property
    def look(self) -> object:
        """Differs where a reader should be told; that time passes, or a full disk gets fuller, is no news."""
        return self.roles, tuple((each.kind, each.name, each.n) for each in self.alarms)


def health(facts: Facts) -> Health:
    """The roles as they are, and what is to be looked at."""
    order = list(Kind)
    return Health(tuple(facts.roles), tuple(sorted(_alarms(facts), key=lambda each: order.index(each.kind))))


def _alarms(facts: Facts) -> Iterator[Alarm]:
    yield from _served(facts)
    yield from alarms_of_disk_space(facts.disk_space)
    yield from alarms_of_clock(facts.clock)
    for each in facts.outboxes:
        yield from _of_outbox(each)
    for name, why in (facts.disabled or {}).items():
        yield Alarm(Kind.MODEL, name, why=why)
    if facts.conflicts:
        yield Alarm(Kind.CONFLICTS, n=facts.conflicts)
    yield from _late(facts)


def _served(facts: Facts) -> Iterable[Alarm]:
    if not facts.is_served:
        return [Alarm(Kind.NOT_SERVED)]
    return [Alarm(Kind.ROLE, each.name, why=each.error, state=each.state) for each in facts.roles if each.state != "up"]


def alarms_of_disk_space(space: DiskSpace) -> Iterator[Alarm]:
    """The alarms for a disk that has too few bytes or inodes left."""
    if space.lacks_bytes:
        yield Alarm(Kind.DISK, why=space.of_bytes)
    if space.lacks_inodes:
        yield Alarm(Kind.INODES, why=space.of_inodes)


def alarms_of_clock(clock: ClockFacts) -> Iterator[Alarm]:
    """One alarm at most: the gravest."""
    if clock.is_impossible:
        yield Alarm(Kind.CLOCK_IMPOSSIBLE, why=clock.wall.isoformat(timespec="seconds"))
    elif clock.is_behind and clock.newest is not None:
        yield Alarm(Kind.CLOCK_BEHIND, time=clock.newest - clock.wall)
    elif clock.step:
        sign = "-" if clock.step < timedelta() else "+"
        yield Alarm(Kind.CLOCK_SET, why=f"{sign}{span_text(abs(clock.step))}")


def _of_outbox(outbox: Outbox) -> Iterator[Alarm]:
    if outbox.is_down:
        yield Alarm(Kind.DESTINATION, outbox.name, outbox.waiting, outbox.why)
    elif outbox.oldest > WAITING:
        yield Alarm(Kind.DELIVERY, outbox.name, outbox.waiting, time=outbox.oldest)
    if outbox.dead:
        yield Alarm(Kind.DEAD_LETTERS, outbox.name, outbox.dead)


def _late(facts: Facts) -> Iterator[Alarm]:
    limits = (
        (Kind.RECEIVING, facts.receiving, facts.longest_wait + timedelta(minutes=5)),
        (Kind.ANALYSIS, facts.analysis, WAITING),
        (Kind.COMPARING, facts.comparing, COMPARING),
    )
    for kind, waits, limit in limits:
        if waits > limit:
            yield Alarm(kind, time=waits)


def span_text(length: timedelta) -> str:
    """A length of time in its largest fitting unit: "90 s", "15 min", "3 h", "4 d"."""
    seconds = length.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
