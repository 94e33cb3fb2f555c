"""From facts to alarms: each has words and a cure, the most pressing stands first, and nothing else is one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imaging.domain.alarms import RULES, Alarm, Facts, Kind, Outbox, RoleHealth, health, span_text
from imaging.domain.clock_anchor import ClockFacts
from imaging.domain.disk_space import DiskSpace

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
BUILT = datetime(2026, 11, 1, tzinfo=UTC)
MIB = 1 << 20
WELL = Facts(
    roles=[RoleHealth("node", "up"), RoleHealth("worker-0", "up")],
    is_served=True,
    disk_space=DiskSpace(9000 * MIB, 2048 * MIB, 10_000, 1000),
    clock=ClockFacts(NOW, NOW, NOW, BUILT),
    outboxes=[Outbox("PACS", waiting=3, oldest=timedelta(minutes=2))],
    receiving=timedelta(minutes=15),
    analysis=timedelta(minutes=14),
    comparing=timedelta(minutes=50),
)
HOURS = timedelta(hours=3)


def words(facts: Facts) -> list[str]:
    return [each.words for each in health(facts).alarms]


def test_what_is_at_work_is_no_alarm() -> None:
    assert words(WELL) == []


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (replace(WELL, is_served=False), "this home is not being served"),
        (replace(WELL, roles=[RoleHealth("node", "stopped")]), "node is stopped"),
        (
            replace(WELL, roles=[RoleHealth("worker-1", "crashing", "OSError in engine.py:3")]),
            "worker-1 is crashing: OSError in engine.py:3",
        ),
        (
            replace(WELL, disk_space=DiskSpace(5 * MIB, 5 * MIB)),
            "objects are refused: 5 MiB free, reserve 5 MiB",
        ),
        (
            replace(WELL, disk_space=DiskSpace(9 * MIB, 5 * MIB, 12, 10)),
            "objects are refused: 12 inodes free, reserve 10",
        ),
        (
            replace(WELL, outboxes=[Outbox("PACS", True, "no connection: refused", 7, HOURS)]),
            "PACS is down, 7 waiting: no connection: refused",
        ),
        (
            replace(WELL, outboxes=[Outbox("PACS", waiting=1, oldest=HOURS)]),
            "a delivery to PACS has been waiting for 3 h",
        ),
        (replace(WELL, outboxes=[Outbox("OLD", dead=4)]), "4 dead letters for OLD"),
        (replace(WELL, disabled={"chest-film": "no golden case"}), "the model chest-film is disabled: no golden case"),
        (replace(WELL, conflicts=2), "2 objects in conflict, undecided"),
        (replace(WELL, receiving=HOURS), "a study has been arriving for 3 h"),
        (replace(WELL, analysis=HOURS), "a job has been waiting for 3 h"),
        (replace(WELL, comparing=HOURS), "a second copy has been waiting for comparison for 3 h"),
        (
            replace(WELL, clock=ClockFacts(BUILT - HOURS, NOW, NOW, BUILT)),
            "the clock says 2026-10-31T21:00:00+00:00, which is before this version was installed",
        ),
        (
            replace(WELL, clock=ClockFacts(NOW - HOURS, NOW, NOW, BUILT)),
            "the clock is 3 h behind the last receipt",
        ),
        (
            replace(WELL, clock=ClockFacts(NOW + HOURS, NOW, NOW, BUILT)),
            "the clock was changed by +3 h since `imaging serve` started",
        ),
        (
            replace(WELL, clock=ClockFacts(NOW - HOURS, NOW, None, BUILT)),
            "the clock was changed by -3 h since `imaging serve` started",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_each_fault_is_one_alarm_in_words(facts: Facts, text: str) -> None:
    assert words(facts) == [text]


def test_a_study_may_be_received_as_long_as_its_settings_say() -> None:
    assert words(replace(WELL, receiving=HOURS, longest_wait=HOURS)) == []


def test_the_most_pressing_alarm_stands_first() -> None:
    facts = replace(WELL, conflicts=1, disk_space=DiskSpace(0, 1), outboxes=[Outbox("PACS", True, "", 1)])
    assert [each.kind for each in health(facts).alarms] == [Kind.DISK, Kind.DESTINATION, Kind.CONFLICTS]


def test_that_time_passes_is_no_news() -> None:
    full, fuller = (replace(WELL, disk_space=DiskSpace(free, 9), analysis=HOURS * free) for free in (2, 1))
    assert health(full).look == health(fuller).look
    assert health(WELL).look != health(full).look


def test_each_alarm_has_words_and_a_cure() -> None:
    assert list(RULES) == list(Kind)
    for kind in Kind:
        data = Alarm(kind, "N", 1, "w", "s", HOURS).to_json()
        assert data["words"]
        assert data["mend"]
        assert "{" not in data["words"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (90, "90 s"), (150, "2 min"), (7200, "2 h"), (400000, "5 d")]
)
def test_a_time_is_said_in_its_largest_fitting_unit(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text
