"""What the ledger knows of alarms, on both databases."""

from datetime import timedelta

from ledger_cases import TurnedClock, answered, claim, contradicted, film, queued, receive

from imaging.domain.alarms import CLOCK_KINDS, Facts, Kind, Outbox, RoleHealth, health
from imaging.domain.disk_space import DiskSpace
from imaging.domain.retry import Permanent, Transient
from imaging.ledger import deliveries, registry
from imaging.ledger.health import facts
from imaging.ledger.store import Ledger


def known(ledger: Ledger) -> Facts:
    return facts(ledger, DiskSpace(2, 1), {"node", "deliver"}, timedelta(minutes=15))


def alarms(seen: Facts) -> list[tuple[str, str, int]]:
    """Those that have nothing to do with the clock, which tests turn."""
    return [(each.kind, each.name, each.n) for each in health(seen).alarms if each.kind not in CLOCK_KINDS]


def test_an_empty_home_has_nothing_to_tell(ledger: Ledger) -> None:
    assert alarms(known(ledger)) == []


def test_what_waits_and_for_how_long_is_known(ledger: Ledger, clock: TurnedClock) -> None:
    answered(ledger, "1.2.1")
    answered(ledger, "1.2.2", destinations=("RIS",))
    queued(ledger, "1.2.3")
    receive(ledger, film("1.2.4"))
    clock.advance(3600)
    seen = known(ledger)
    hour = timedelta(hours=1)
    assert (seen.receiving, seen.analysis, seen.comparing) == (hour, hour, timedelta())
    assert seen.outboxes == [Outbox("PACS", waiting=1, oldest=hour), Outbox("RIS", waiting=1, oldest=hour)]
    assert seen.clock.newest == clock.now() - hour


def test_destinations_roles_models_and_conflicts_are_known(ledger: Ledger) -> None:
    answered(ledger, "1.2.1", destinations=("PACS", "OLD"))
    deliveries.conclude(ledger, claim(ledger)[0], Transient("no room"), 0.0, peer_is_down=True)
    deliveries.conclude(ledger, claim(ledger, "OLD")[0], Permanent("refused"), 0.0, peer_is_down=False)
    contradicted(ledger, "1.2.1")
    registry.note_role(ledger, "node", "up")
    registry.note_role(ledger, "worker-0", "up")
    registry.note_model(ledger, "chest-film", "1", "", "no golden case", is_served=False)
    seen = known(ledger)
    assert seen.roles == [RoleHealth("node", "up"), RoleHealth("worker-0", "stopped")]
    assert (seen.disabled, seen.conflicts) == ({"chest-film": "no golden case"}, 1)
    assert alarms(seen) == [
        (Kind.ROLE, "worker-0", 0),
        (Kind.DESTINATION, "PACS", 1),
        (Kind.MODEL, "chest-film", 0),
        (Kind.DEAD_LETTERS, "OLD", 1),
        (Kind.CONFLICTS, "", 1),
    ]
