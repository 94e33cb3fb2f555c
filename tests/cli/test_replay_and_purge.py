"""Work that is asked for again, and studies that are removed."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from command_result import CommandResult
from ledger_cases import FAULTY, NEGATIVE, answered, claim, lease_one, queued
from sqlalchemy import update

from imaging.domain.clock_anchor import Anchor
from imaging.domain.retry import Permanent
from imaging.ledger import deliveries, jobs, registry, tables
from imaging.ledger.clock import SystemClock
from imaging.ledger.store import Ledger


def test_replay_tries_dead_letters_and_failed_work_again(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    answered(ledger, "1.2.1")
    deliveries.conclude(ledger, claim(ledger)[0], Permanent("refused"), 0.0, peer_is_down=False)
    queued(ledger, "1.2.2")
    jobs.conclude(ledger, lease_one(ledger), FAULTY, [])
    unknown = run("replay", "--home", home, "--to", "RIS")
    assert (unknown.status, "available: PACS" in unknown.err) == (2, True)
    assert run("replay", "--home", home, "--json").json == {"deliveries": 1, "jobs": 0, "studies": 0}
    again = run("replay", "--home", home, "--study", "1.2.2", "--json").json
    assert again == {"deliveries": 0, "jobs": 1, "studies": 1}
    assert run("replay", "--home", home, "--failed").out == "0 deliveries and 0 jobs are retried\n"
    assert run("replay", "--home", home, "--study", "9.9").status == 2


def test_a_destination_that_is_gone_gets_nothing_and_what_is_its_own_can_be_moved(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    answered(ledger, "1.2.1", ["OLD", "NEW"])
    answered(ledger, "1.2.2", ["OLD"])
    deliveries.give_up(ledger, ["NEW"])
    deliveries.keep_peers(ledger, ["NEW"])
    text = run("replay", "--home", home).out
    assert text.startswith("0 deliveries and 0 jobs are retried; 2 remain for OLD, which is not configured: ")
    assert "`imaging replay --to NEW --of OLD`" in text
    wrong = run("replay", "--home", home, "--to", "NEW", "--of", "ODL")
    assert (wrong.status, "available: OLD" in wrong.err) == (2, True)
    moved = run("replay", "--home", home, "--to", "NEW", "--of", "OLD").out
    assert moved == ("1 deliveries and 0 jobs are retried; 1 of OLD is not sent: NEW has or will get the same object\n")
    assert run("replay", "--home", home, "--now", "--json").json["deliveries"] == 2


def test_a_model_can_be_asked_about_what_settled_before(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    answered(ledger, "1.2.1")
    result = run("replay", "--home", home, "--model", "later-model", "--since", "7d")
    text = "1 study is queued for later-model, where it fits, when the node starts (it is not running)\n"
    assert result.out == f"0 deliveries and 0 jobs are retried; {text}"
    assert run("replay", "--home", home, "--model", "chest-film", "--json").json["studies"] == 0
    registry.note_model(ledger, "broken", "1", "", "its golden case differs", is_served=False)
    disabled = run("replay", "--home", home, "--model", "broken")
    assert (disabled.status, disabled.err) == (1, "imaging replay: broken is disabled: its golden case differs\n")


def test_purge_removes_what_is_answered_and_delivered_and_says_what_it_would(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    queued(ledger, "1.2.1")
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    answered(ledger, "1.2.2")
    file = home / "spool" / "key-"
    file.parent.mkdir()
    file.touch()
    purge = ["purge", "--home", home, "--older-than", "0m", "--json"]
    assert run(*purge, "--dry-run").json == {"removable": 1, "removed": 0}
    assert file.exists()
    assert run(*purge).json == {"removable": 1, "removed": 1}
    assert not file.exists()
    assert run("status", "--home", home, "--json").json["studies"] == {"receiving": 0, "settled": 1}


def test_purge_removes_nothing_while_the_clock_cannot_be_believed(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    queued(ledger, "1.2.1")
    jobs.conclude(ledger, lease_one(ledger), NEGATIVE, [])
    clock = SystemClock()
    ahead = Anchor(clock.wall() + timedelta(days=800), clock.tick(), clock.boot())  # and was set back meanwhile
    with ledger.write() as connection:
        connection.execute(update(tables.meta).where(tables.meta.c.key == "clock").values(value=ahead.to_json()))
    done = run("purge", "--home", home, "--older-than", "30d")
    assert (done.status, "nothing is deleted" in done.err, "clock" in done.err) == (1, True, True)
    assert run("status", "--home", home, "--json").json["studies"] == {"receiving": 0, "settled": 1}
