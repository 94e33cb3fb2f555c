"""The role that settles: one study that cannot be looked at holds up no other."""

from pathlib import Path

from ledger_cases import TurnedClock, film, receive, rows
from sqlalchemy import update

from imaging.domain.settling import Patience
from imaging.ledger import migrate, tables
from imaging.ledger.store import Ledger
from imaging.roles.child import LOOK_S
from imaging.roles.node import Settler


def test_a_study_whose_header_cannot_be_read_back_is_put_off_and_the_others_are_settled(tmp_path: Path) -> None:
    clock = TurnedClock()
    ledger = Ledger(tmp_path, clock=clock)
    migrate.migrate(ledger)
    broken, other = (receive(ledger, film(study)).study_id for study in ("1.2.1", "1.2.2"))
    instance = tables.instance
    with ledger.write() as connection:
        of_another_version = update(instance).where(instance.c.study_id == broken).values(header={"shoe_size": 42})
        connection.execute(of_another_version)
    clock.advance(60)
    assert Settler(ledger, [], Patience()).look() == clock.tick() + LOOK_S
    assert {each["id"]: (each["state"], each["settle_why"]) for each in rows(ledger, tables.study)} == {
        broken: ("receiving", "an error of ours; see the log"),
        other: ("settled", "end of the association"),
    }
    ledger.close()
