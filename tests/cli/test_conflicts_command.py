"""Objects kept apart, as a person decides about them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from command_result import CommandResult
from ledger_cases import film, receive

from imaging.ledger.store import Ledger


def test_conflicts_are_listed_and_settled_by_number(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    receive(ledger, film(), "one")
    receive(ledger, film(patient_id="P2"), "other")
    (found,) = run("conflicts", "--home", home, "--json").json["conflicts"]
    assert found["study_instance_uid"] == "1.2.3"
    assert (found["patient_id"], found["study_patient_id"]) == ("P2", "P1")
    listed = run("conflicts", "--home", home).out
    assert ("P2" in listed, "P1" in listed, "an earlier run" in listed) == (True, True, True)
    assert "open conflicts: 1; `imaging conflicts list`" in run("status", "--study", "1.2.3", "--home", home).out
    result = run("conflicts", "drop", "4711", "--home", home)
    assert (result.status, "4711: no open conflict has this number" in result.err) == (1, True)
    done = run("conflicts", "drop", found["id"], "--home", home)
    assert (done.status, done.out) == (0, f"{found['id']}: kept apart for good; the study is processed again\n")
    assert run("conflicts", "list", "--home", home, "--json").json == {"conflicts": []}


def test_one_word_settles_a_study_that_came_again_whole_and_undo_takes_it_back(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    for number in (1, 2):
        receive(ledger, film(number=number), f"a{number}")
        receive(ledger, film(number=number, patient_id="P2"), f"b{number}")
    refused = run("conflicts", "use", "1", "--home", home)
    assert (refused.status, "1: the study would name two patients" in refused.err) == (1, True)
    done = run("conflicts", "use", "1", "--all", "--home", home)
    assert (done.status, done.out) == (0, "1: now used under its UID; the study is processed again\n")
    assert run("conflicts", "--home", home, "--json").json == {"conflicts": []}
    decided = run("conflicts", "list", "--all", "--home", home, "--json").json["conflicts"]
    assert [each["state"] for each in decided] == ["used", "used", "dropped", "dropped"]
    undone = run("conflicts", "undo", "2", "--home", home)
    assert (undone.status, undone.out) == (0, "2: undecided again, with everything that was decided together with it\n")
    assert len(run("conflicts", "--home", home, "--json").json["conflicts"]) == 2
    again = run("conflicts", "undo", "1", "3", "--home", home)
    assert (again.status, again.err.count("no decided conflict has this number")) == (1, 2)


def test_a_uid_that_two_studies_share_is_listed_at_both(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    receive(ledger, film("1.2.3"), "one")
    receive(ledger, replace(film("1.2.4", patient_id="P2"), sop_instance_uid=film("1.2.3").sop_instance_uid), "two")
    listed = run("conflicts", "--home", home).out
    assert ("also of P1" in listed, "also of P2" in listed) == (True, True)
    assert "nothing to use" in run("conflicts", "use", "1", "--home", home).err
    assert "is also the UID of an object of study 1.2.4" in run("status", "--study", "1.2.3", "--home", home).out
    assert run("conflicts", "drop", "1", "--home", home).out.startswith("1: the notice is removed")
