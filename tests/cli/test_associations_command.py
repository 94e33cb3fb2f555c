"""The associations, as they are listed."""

from collections.abc import Callable
from pathlib import Path

from command_result import CommandResult

from imaging.domain.peers import Refused
from imaging.ledger import associations
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.refusals import RefusalBook
from imaging.ledger.store import Ledger


def test_associations_show_what_was_refused_and_why(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    refused = [{"abstract_syntax": "1.2.840.10008.5.1.4.1.1.2", "result": "refused", "why": "no reason given"}]
    number = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", refused)
    associations.end(ledger, number, AssociationEnd("aborted by the peer", 1, 2, {"0xA900: UIDs differ": 2}))
    result = run("associations", "--home", home)
    assert result.status == 0
    assert "aborted by the peer" in result.out
    assert "context refused: 1.2.840.10008.5.1.4.1.1.2: no reason given" in result.out
    assert "answered 2 x 0xA900: UIDs differ" in result.out
    (value,) = run("associations", "--home", home, "--last", "1", "--json").json["associations"]
    assert (value["calling_ae_title"], value["address"], value["stored"]) == ("CT1", "10.0.0.7", 1)


def test_echoes_are_counted_and_listed_only_where_that_is_asked_for(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    def called(title: str, abstract_syntax: str, result: str = "accepted") -> None:
        contexts = [{"abstract_syntax": abstract_syntax, "result": result}]
        number = associations.begin(ledger, title, "IMAGING", "10.0.0.7", contexts)
        associations.end(ledger, number, AssociationEnd("released", 0, 0))

    echo, ct = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
    called("CT1", ct)
    for title in ("CT1", "MONITOR", "MONITOR", "MONITOR"):
        called(title, echo)
    called("MONITOR", ct)
    result = run("associations", "--home", home, "--last", "2")
    assert "C-ECHO from MONITOR at 10.0.0.7: 3, the last one 20" in result.out
    assert "C-ECHO from CT1 at 10.0.0.7: 1," in result.out
    value = run("associations", "--home", home, "--last", "2", "--json").json
    assert [each["calling_ae_title"] for each in value["associations"]] == ["MONITOR", "CT1"]
    assert [(each["calling_ae_title"], each["count"]) for each in value["echoes"]] == [("MONITOR", 3), ("CT1", 1)]
    everything = run("associations", "--home", home, "--all", "--json").json
    assert (len(everything["associations"]), everything["echoes"]) == (6, [])


def test_what_was_closed_unread_is_told_with_its_address(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    refused, unread = Refused("CT9", "IMAGING", "10.0.0.9", "rejected: why"), Refused("", "", "10.0.0.9", "closed: why")
    RefusalBook(ledger).write([refused], {unread: 295})
    assert "1: 295 further connections closed unread" in run("associations", "--home", home).out
