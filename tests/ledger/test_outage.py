"""A PostgreSQL that goes away and comes back: who sends is told so, and the node goes on where it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from films import a_film, send_until_acknowledged
from ledger_cases import rows
from peers import Node, eventually
from small_models import write_models

from imaging.dicom_node.sending import Sender
from imaging.domain.peers import Address
from imaging.domain.retry import Transient
from imaging.ledger import tables
from imaging.ledger.store import Ledger


class Server(Protocol):
    url: str

    def halt(self) -> None: ...

    def start(self) -> None: ...


def test_while_the_database_is_away_objects_are_refused_with_a_status_and_afterwards_the_same_node_goes_on(
    database: Server, serve: Callable[..., Node], tmp_path: Path
) -> None:
    models, home = write_models(tmp_path / "models"), tmp_path / "home"
    node = serve("--database", database.url, "--models", str(models), "--film-quiet-s", "0.2", home=home)
    before = node.children()
    (_, first), (_, second) = (a_film(seed, "outage") for seed in (2, 4))
    held = sender(node)
    held.send(first)

    database.halt()
    assert isinstance(held.send(second), Transient)
    held.close()  # of which the end cannot be written down
    other = sender(node)
    assert isinstance(other.send(second), Transient)
    other.close()

    database.start()
    send_until_acknowledged(lambda: node.dicom_port, second)
    ledger = Ledger(home, database.url)
    eventually(lambda: states(ledger, "job") == ["analysed", "analysed"], what="both answers")
    eventually(lambda: all(each["ended_at"] for each in rows(ledger, tables.association)), what="every end")
    assert states(ledger, "study") == ["settled", "settled"]
    ledger.close()
    assert (node.children()["node"], node.children()["worker"]) == (before["node"], before["worker"])
    assert node.stop() == 0


def sender(node: Node) -> Sender:
    return Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), "MODALITY")


def states(ledger: Ledger, table: str) -> list[str]:
    return [each["state"] for each in rows(ledger, tables.metadata.tables[table])]
