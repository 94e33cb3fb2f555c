"""The status of a home, and the story of a study."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_result import CommandResult
from ledger_cases import answered, claim, film, lease_one, queued, receive, report

from imaging.domain.codes import Code
from imaging.domain.findings import Answer, Finding, Measurement, State
from imaging.domain.retry import Permanent
from imaging.ledger import associations, deliveries, jobs
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.store import Ledger


def test_the_status_of_a_home_never_served_is_zeros_and_exit_1(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    result = run("status", "--home", tmp_path / "none", "--json")
    assert result.status == 1
    assert result.json["studies"] == {"receiving": 0, "settled": 0}
    assert result.json["deliveries"] == {"waiting": 0, "sending": 0, "delivered": 0, "dead": 0}
    assert run("status", "--home", tmp_path / "none").status == 1
    assert not (tmp_path / "none").exists()


def test_the_status_has_one_shape_served_or_not(run: Callable[..., CommandResult], home: Path, tmp_path: Path) -> None:
    served, never = (run("status", "--home", each, "--json").json for each in (home, tmp_path / "none"))
    assert {key: type(value) for key, value in served.items()} == {key: type(value) for key, value in never.items()}
    for key in ("studies", "jobs", "deliveries", "oldest_s"):
        assert served[key].keys() == never[key].keys()


def test_the_status_tells_the_room_on_the_disk(run: Callable[..., CommandResult], home: Path, tmp_path: Path) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text("disk_reserve_mb = 3\n")
    value = run("status", "--home", home, "--config", file, "--json").json["disk"]
    assert value["free_mb"] == pytest.approx(shutil.disk_usage(home).free >> 20, abs=64)
    assert (value["reserve_mb"], value["is_full"]) == (3, False)
    assert "MiB free, reserve 3\n" in run("status", "--home", home, "--config", file).out


def test_the_status_in_words_names_dead_letters_peers_and_roles(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    answered(ledger)
    deliveries.conclude(ledger, claim(ledger)[0], Permanent("SOP class not supported"), 0.0, peer_is_down=False)
    result = run("status", "--home", home)
    assert result.status == 0
    assert "dead: 1 for PACS: SOP class not supported" in result.out
    assert "peer PACS: up" in result.out


def test_the_findings_of_a_study_are_told_in_words_with_what_was_measured(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    volume = Measurement(Code("SCT", "118565006", "Volume"), 12.5, "ml")
    density = Measurement(Code("DCM", "112031", "Attenuation Coefficient"), 64.0, "[hnsf'U]")
    mask = Finding(Code("99TEST", "mask", "Mask"), True, None, 0.5, (volume, density))
    label = Finding(Code("99TEST", "label", "Label"), False, 0.25, 0.5)
    open_ = Finding(Code("99TEST", "open", "Open"), None, 0.25, 0.5)
    queued(ledger)
    job = lease_one(ledger)
    assert jobs.conclude(ledger, job, Answer(State.ANALYSED, (mask, label, open_)), [report(job)])
    lines = run("status", "--home", home, "--study", "1.2.3").out.splitlines()
    assert "    Mask: present, Volume 12.5 ml, Attenuation Coefficient 64 HU" in lines
    assert "    Label: absent, probability 0.25" in lines
    assert "    Open: undetermined, probability 0.25" in lines


def test_a_study_is_told_from_its_receipt_to_its_deliveries(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    number = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])
    receive(ledger, film(), association=number)
    associations.end(ledger, number, AssociationEnd("released", 1, 0))
    for name in ("1.2.3", "A1"):
        (story,) = run("status", "--home", home, "--study", name, "--json").json["studies"]
        assert (story["study_uid"], story["received"][0]["calling_ae_title"]) == ("1.2.3", "CT1")
    result = run("status", "--home", home, "--study", "A1")
    assert "received 1 instances from CT1 at 10.0.0.7" in result.out
    unknown = run("status", "--home", home, "--study", "9.9")
    assert (unknown.status, "'9.9'" in unknown.err) == (2, True)
