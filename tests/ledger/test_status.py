"""The counts and roles of a home."""

import json

from ledger_cases import (
    TurnedClock,
    answered,
    film,
    lease_one,
    queued,
    receive,
)

from imaging.ledger import registry, status
from imaging.ledger.store import Ledger


def test_the_status_counts_every_state_and_says_how_old_the_oldest_is(ledger: Ledger, clock: TurnedClock) -> None:
    receive(ledger, film("1.2.1"))
    queued(ledger, "1.2.2")
    clock.advance(30)
    lease_one(ledger)
    answered(ledger, "1.2.3")
    clock.advance(12)
    data = status.of(ledger)
    assert data["studies"] == {"receiving": 1, "settled": 2}
    assert data["jobs"] == {"queued": 0, "leased": 1, "analysed": 1, "not_analysed": 0, "failed": 0}
    assert data["deliveries"] == {"waiting": 1, "sending": 0, "delivered": 0, "dead": 0}
    assert data["oldest_s"] == {"receiving": 42.0, "job": 42.0, "delivery": 12.0}
    assert data["instances"] == 3
    json.dumps(data)


def test_a_role_and_a_model_that_the_settings_do_not_name_any_more_are_not_told_of(ledger: Ledger) -> None:
    for name in ("node", "worker-0", "worker-1", "web"):
        registry.note_role(ledger, name, "up")
    for name in ("old", "new"):
        registry.note_model(ledger, name, "1", "")
    registry.keep_roles(ledger, {"worker"}, ["worker-0"])
    registry.keep_models(ledger, ["new"])
    data = status.of(ledger)
    assert [each["name"] for each in data["roles"]] == ["node", "web", "worker-0"]
    assert [each["name"] for each in data["models"]] == ["new"]
