"""The commands as people and scripts use them: exit 0 done, 1 failed, 2 asked wrongly, with all faults at once."""

import hashlib
import json
import logging
import os
import shutil
import socket
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import onnx
import pytest
from ledger_cases import FAULTY, NEGATIVE, answered, claim, film, lease_one, queued, receive
from peers import Node, free_port, imaging
from pydicom import Dataset, dcmread
from said import Said
from small_models import write_models
from sqlalchemy import update
from storage_peer import DeafPort, StoragePeer

from imaging import settings
from imaging.cli import main
from imaging.cli.main import COMMANDS
from imaging.domain.peers import Refused
from imaging.domain.retry import Permanent
from imaging.domain.steady import Anchor
from imaging.ledger import associations, deliveries, jobs, migrate, tables, views
from imaging.ledger.associations import AssociationEnd
from imaging.ledger.clock import SystemClock
from imaging.ledger.refusals import RefusalBook
from imaging.ledger.store import Ledger
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study, head_study

READ_THE_LEDGER = ["status", "associations", "conflicts", "replay", "purge", "migrate"]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables, and the umask that `serve` sets ends with the test."""
    for name in os.environ:
        if name.startswith("IMAGING_"):
            monkeypatch.delenv(name)
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film and a file that is not DICOM."""
    folder = tmp_path_factory.mktemp("films")
    write(folder / "film.dcm", drawn())
    (folder / "readme.txt").write_text("no DICOM")
    return folder


def drawn() -> Dataset:
    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    return film_study(1, frozenset(), now, run="commands", rows=128, columns=128).instances[0]


def write(file: Path, dataset: Dataset) -> None:
    dataset.save_as(file, enforce_file_format=True)


# Asking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: imaging {command}")
    assert len(said.splitlines()) > 5


def test_without_a_command_all_are_listed(run: Callable[..., Said]) -> None:
    for arguments, status in (([], 2), (["--help"], 0), (["help"], 0)):
        said = run(*arguments)
        assert said.status == status
        assert all(f"  {name} " in said.out + said.err for name in COMMANDS)
    assert run("--version").out.startswith("imaging ")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused_by_every_command_before_it_does_anything(
    run: Callable[..., Said], tmp_path: Path, command: str
) -> None:
    said = run(command, "--hom", tmp_path / "nowhere", "--jsn")
    assert said.status == 2
    assert "--hom: unknown" in said.err
    assert "--jsn: unknown" in said.err
    assert not (tmp_path / "nowhere").exists()


def test_all_faults_come_in_one_answer_each_with_the_form_wanted(run: Callable[..., Said], tmp_path: Path) -> None:
    said = run(
        *("serve", "--home", tmp_path / "home", "--dicom-prt", "1", "--dicom-port", "eleven", "--web-port", "70000"),
        *("--ae-title", "DISTRICT-HOSPITAL-1", "--accept", "CT1", "--deliver-to", "PACS=PACS@10.0.0.5"),
        *("--deliver-outcomes", "PACS=good", "--role", "all-of-it", "--workers", "0", "--film-quiet-s", "soon"),
        *("--dicom-host", "0.0.0.0", "--web-host", "0.0.0.0", "--language"),
    )
    assert said.status == 2
    for fault in (
        "--dicom-prt: unknown; did you mean --dicom-port?",
        "--dicom-port 'eleven' is not a port; expected a number from 0",
        "--web-port '70000' is not a port",
        "--ae-title 'DISTRICT-HOSPITAL-1' has 19 characters",
        "--accept 'CT1' is not of the form AET@ADDRESS, such as CT1@10.0.0.7",
        "is not of the form NAME=AET@HOST:PORT",
        "is not of the form NAME=OUTCOME+OUTCOME",
        "--role 'all-of-it' is not one of all, node, worker, deliver, web",
        "--workers '0' is not a valid count",
        "--film-quiet-s 'soon' is not a number",
        "--web-host '0.0.0.0' is beyond loopback",
        "--language: expected LANG after it",
    ):
        assert fault in said.err, said.err
    assert not (tmp_path / "home").exists()


def test_beyond_loopback_strangers_are_refused_and_pages_are_not_open(run: Callable[..., Said], tmp_path: Path) -> None:
    said = run("serve", "--home", tmp_path / "h", "--dicom-host", "0.0.0.0", "--web-host", "192.168.1.5")
    assert said.status == 2
    assert "--accept AET@ADDRESS for each" in said.err
    assert "requires accounts" in said.err


def test_a_callers_address_is_one_ip_address(run: Callable[..., Said], tmp_path: Path) -> None:
    for address in ("10.0.0.0/8", "10.0.0.1:104", "pacs.example", "localhost"):
        said = run("serve", "--home", tmp_path / "h", "--dicom-host", "0.0.0.0", "--accept", f"CT1@{address}")
        assert (said.status, f"has the address {address!r}; expected one IP address" in said.err) == (2, True)


def test_every_address_of_loopback_is_on_loopback(run: Callable[..., Said], tmp_path: Path) -> None:
    hosts = ["--dicom-host", "127.0.0.2", "--web-host", "::1"]
    assert "beyond loopback" not in run("doctor", "--home", tmp_path / "h", *hosts).err


def test_an_empty_list_of_callers_opens_nothing_beyond_loopback(
    run: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text('dicom_host = "0.0.0.0"\naccept = []\n')
    beyond = "is beyond loopback, where unknown callers are refused"
    assert beyond in run("status", "--config", file).err
    file.write_text('dicom_host = "0.0.0.0"\naccept = ["CT1@10.0.0.7"]\n')
    assert beyond not in run("status", "--config", file).err
    monkeypatch.setenv("IMAGING_ACCEPT", "")
    assert beyond in run("status", "--config", file).err


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("/viewer?study={study_uid}", "must begin with https:"),
        ("https://viewer/{uid}", "has {uid}; expected"),
        ("https://[::1", "is not a URL"),
    ],
)
def test_a_viewers_address_that_cannot_be_used_is_said_before_anything_starts(
    run: Callable[..., Said], tmp_path: Path, url: str, fault: str
) -> None:
    said = run("serve", "--home", tmp_path / "home", "--viewer-url", url)
    assert said.status == 2
    assert f"--viewer-url {url!r} {fault}" in said.err


def test_destinations_that_disagree_are_named(run: Callable[..., Said], tmp_path: Path) -> None:
    twice = ["--deliver-to", "PACS=A@10.0.0.5:104", "--deliver-to", "PACS=B@10.0.0.6:104"]
    said = run("serve", "--home", tmp_path / "h", *twice, "--deliver-outcomes", "PAC=positive")
    assert said.status == 2
    assert "--deliver-to names PACS twice" in said.err
    assert "--deliver-outcomes names PAC, which --deliver-to does not; did you mean PACS?" in said.err


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (["send", "--to", "nobody", "--jsom"], ["--jsom", "PATH: name", "AET@HOST:PORT"]),
        (["send", "/none", "--to"], ["--to: expected AET@HOST:PORT after it", "/none: no such"]),
        (
            ["analyse", "/none", "--at", "noon", "--models", "/none", "--memory-mb", "much"],
            ["/none: no such", "2026-11-24T", "--models /none", "--memory-mb 'much': expected a number of megabytes"],
        ),
        (
            ["simulate", "--studies", "0", "--kind", "foot", "--rate", "fast"],
            ["--studies", "--kind", "--rate 'fast': expected a number of 0", "--output"],
        ),
        (["simulate", "--to", "A@127.0.0.1:1", "--rate", "nan"], ["--rate 'nan': expected a number of 0 or more"]),
        (["simulate", "--to", "A@127.0.0.1:1", "--rate", "-1"], ["--rate '-1': expected a number of 0 or more"]),
        (["send", "/none", "--to", "A@127.0.0.1:1", "--ae-title", "DISTRICT-HOSPITAL-1"], ["19 characters"]),
        (
            ["purge", "--older-than", "a while", "--config", "/none.toml"],
            ["30d, 12h or 90m", "/none.toml: cannot be read"],
        ),
        (
            ["analyse", "/none", "--site-words", "NGUC=tp", "--site-words", "CHEST"],
            [
                "--site-words 'NGUC=tp' has the meaning 'NGUC'",
                "--site-words 'CHEST' is not of the form MEANING=WORDS",
            ],
        ),
        (["analyse", "/none", "--site-words", "PA=tp", "--site-words", "AP=TP"], ["gives two meanings for 'tp'"]),
        (["associations", "--last", "²"], ["--last '²': expected a number of 1"]),
        (
            ["serve", "--connections-per-address", "0"],
            ["--connections-per-address '0' is not a valid count; expected a number from 1"],
        ),
        (["conflicts", "settle", "one"], ["'settle': expected list, use, drop", "'one': expected a number"]),
        (["conflicts", "use"], ["use: expected one or more numbers"]),
        (["status", "--study", ""], ["--study: expected a Study Instance UID or an accession number"]),
        (["replay", "--failed", "--to", "PACS"], ["--to and --failed: expected only one of them"]),
        (
            ["replay", "--since", "soon", "--of", "A"],
            ["--since 'soon'", "--since: expected --model", "--of OLD: expected one --to"],
        ),
        (["replay", "--now", "--model", "a"], ["--now: can only be combined with --to"]),
        (["models", "tell", "nonsense"], ["'tell': expected list, show, check or golden", "'nonsense': no such model"]),
    ],
    ids=lambda each: each[0],
)
def test_faults_of_arguments_come_together(
    run: Callable[..., Said], home: Path, arguments: list[str], faults: list[str]
) -> None:
    place = ["--home", str(home)] if arguments[0] in READ_THE_LEDGER else []
    said = run(*arguments, *place)
    assert said.status == 2
    assert all(line.startswith(f"imaging {arguments[0]}: ") for line in said.err.splitlines())
    for each in faults:
        assert each in said.err, said.err


def test_a_command_on_a_home_that_was_never_served_says_how_to_begin_and_makes_nothing(
    run: Callable[..., Said], tmp_path: Path
) -> None:
    for command in ("associations", "conflicts", "replay"):
        said = run(command, "--home", tmp_path / "none")
        assert said.status == 1
        assert f"imaging serve --home {tmp_path / 'none'}" in said.err
    assert not (tmp_path / "none").exists()


# Settings --------------------------------------------------------------------------------------------------


def test_a_caller_may_be_named_by_address_alone_however_that_is_written() -> None:
    named = settings.load({"accept": ["*@10.0.0.7", "CT1@::ffff:10.0.0.8", "CT2@[2001:DB8::1]"]}, environ={}).accept
    assert [(each.ae_title, each.address) for each in named] == [
        ("*", "10.0.0.7"),
        ("CT1", "10.0.0.8"),
        ("CT2", "2001:db8::1"),
    ]


def test_settings_may_stand_in_a_file(run: Callable[..., Said], home: Path, tmp_path: Path) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text(
        f'home = "{home}"\ndicom_port = 11112\ndeliver_to = ["PACS=PACS@10.0.0.5:104"]\nfilm_quiet_s = 1.5\n'
    )
    said = run("status", "--config", file, "--json")
    assert (said.status, said.json["studies"]["settled"]) == (0, 0)


def test_a_file_with_faults_has_them_all_named_and_the_nearest_key_with_each(
    run: Callable[..., Said], tmp_path: Path
) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text('dicom_prt = 11112\naccept = "CT1@10.0.0.7"\nae_title = ["A"]\nweb_port = "eighty"\n')
    said = run("status", "--config", file)
    assert said.status == 2
    for fault in (
        f"{file}: dicom_prt is not a setting; did you mean dicom_port?",
        f'{file}: accept: expected a list: ["AET@ADDRESS", ...]',
        f"{file}: ae_title: expected one value of the form AET",
        f"{file}: web_port 'eighty' is not a port",
    ):
        assert fault in said.err
    file.write_text("dicom_port = \n")
    assert f"{file}: is not valid TOML" in run("status", "--config", file).err


def test_flags_are_stronger_than_the_environment_and_that_than_the_file(
    run: Callable[..., Said], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text(f'home = "{tmp_path / "of-the-file"}"\n')
    assert run("status", "--config", file).status == 1
    monkeypatch.setenv("IMAGING_HOME", str(home))
    assert run("status", "--config", file).status == 0
    assert run("status", "--config", file, "--home", tmp_path / "of-the-flag").status == 1


def test_an_unknown_variable_is_a_warning(
    run: Callable[..., Said], home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("IMAGING_DICOM_PRT", "11112")
    with caplog.at_level(logging.WARNING):
        assert run("status", "--home", home).status == 0
    assert "IMAGING_DICOM_PRT" in caplog.text
    assert "did you mean dicom_port" in caplog.text


def test_a_variable_that_cannot_be_used_is_named(
    run: Callable[..., Said], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_WEB_PORT", "eighty")
    said = run("status", "--home", home)
    assert (said.status, "IMAGING_WEB_PORT 'eighty' is not a port" in said.err) == (2, True)


@pytest.mark.parametrize(
    "command", [["simulate", "--studies", "1", "--kind", "film", "--output"], ["migrate", "--home"]]
)
def test_a_place_that_cannot_be_written_is_a_failure_in_words(
    run: Callable[..., Said], tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    said = run(*command, tmp_path / "file")
    assert (said.status, f"imaging {command[0]}: {tmp_path / 'file'}" in said.err) == (1, True)


# Status ----------------------------------------------------------------------------------------------------


def test_the_status_of_a_home_never_served_is_zeros_and_exit_1(run: Callable[..., Said], tmp_path: Path) -> None:
    said = run("status", "--home", tmp_path / "none", "--json")
    assert said.status == 1
    assert said.json["studies"] == {"receiving": 0, "settled": 0}
    assert said.json["deliveries"] == {"waiting": 0, "sending": 0, "delivered": 0, "dead": 0}
    assert run("status", "--home", tmp_path / "none").status == 1
    assert not (tmp_path / "none").exists()


def test_the_status_has_one_shape_served_or_not(run: Callable[..., Said], home: Path, tmp_path: Path) -> None:
    served, never = (run("status", "--home", each, "--json").json for each in (home, tmp_path / "none"))
    assert {key: type(value) for key, value in served.items()} == {key: type(value) for key, value in never.items()}
    for key in ("studies", "jobs", "deliveries", "oldest_s"):
        assert served[key].keys() == never[key].keys()


def test_the_status_tells_the_room_on_the_disk(run: Callable[..., Said], home: Path, tmp_path: Path) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text("disk_reserve_mb = 3\n")
    told = run("status", "--home", home, "--config", file, "--json").json["disk"]
    assert told["free_mb"] == pytest.approx(shutil.disk_usage(home).free >> 20, abs=64)
    assert (told["reserve_mb"], told["is_full"]) == (3, False)
    assert "MiB free, reserve 3\n" in run("status", "--home", home, "--config", file).out


def test_the_status_in_words_names_dead_letters_peers_and_roles(
    run: Callable[..., Said], home: Path, ledger: Ledger
) -> None:
    answered(ledger)
    deliveries.conclude(ledger, claim(ledger)[0], Permanent("SOP class not supported"), 0.0, peer_is_down=False)
    said = run("status", "--home", home)
    assert said.status == 0
    assert "dead: 1 for PACS: SOP class not supported" in said.out
    assert "peer PACS: up" in said.out


def test_a_study_is_told_from_its_receipt_to_its_deliveries(
    run: Callable[..., Said], home: Path, ledger: Ledger
) -> None:
    number = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])
    receive(ledger, film(), association=number)
    associations.end(ledger, number, AssociationEnd("released", 1, 0))
    for name in ("1.2.3", "A1"):
        (story,) = run("status", "--home", home, "--study", name, "--json").json["studies"]
        assert (story["study_uid"], story["received"][0]["calling_ae_title"]) == ("1.2.3", "CT1")
    said = run("status", "--home", home, "--study", "A1")
    assert "received 1 instances from CT1 at 10.0.0.7" in said.out
    unknown = run("status", "--home", home, "--study", "9.9")
    assert (unknown.status, "'9.9'" in unknown.err) == (2, True)


def test_associations_show_what_was_refused_and_why(run: Callable[..., Said], home: Path, ledger: Ledger) -> None:
    refused = [{"abstract_syntax": "1.2.840.10008.5.1.4.1.1.2", "result": "refused", "why": "no reason given"}]
    number = associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", refused)
    associations.end(ledger, number, AssociationEnd("aborted by the peer", 1, 2, {"0xA900: UIDs differ": 2}))
    said = run("associations", "--home", home)
    assert said.status == 0
    assert "aborted by the peer" in said.out
    assert "context refused: 1.2.840.10008.5.1.4.1.1.2: no reason given" in said.out
    assert "answered 2 x 0xA900: UIDs differ" in said.out
    (told,) = run("associations", "--home", home, "--last", "1", "--json").json["associations"]
    assert (told["calling_ae_title"], told["address"], told["stored"]) == ("CT1", "10.0.0.7", 1)


def test_echoes_are_counted_and_listed_only_where_that_is_asked_for(
    run: Callable[..., Said], home: Path, ledger: Ledger
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
    said = run("associations", "--home", home, "--last", "2")
    assert "C-ECHO from MONITOR at 10.0.0.7: 3, the last one 20" in said.out
    assert "C-ECHO from CT1 at 10.0.0.7: 1," in said.out
    told = run("associations", "--home", home, "--last", "2", "--json").json
    assert [each["calling_ae_title"] for each in told["associations"]] == ["MONITOR", "CT1"]
    assert [(each["calling_ae_title"], each["count"]) for each in told["echoes"]] == [("MONITOR", 3), ("CT1", 1)]
    everything = run("associations", "--home", home, "--all", "--json").json
    assert (len(everything["associations"]), everything["echoes"]) == (6, [])


def test_what_was_closed_unread_is_told_with_its_address(run: Callable[..., Said], home: Path, ledger: Ledger) -> None:
    asked, unread = Refused("CT9", "IMAGING", "10.0.0.9", "rejected: why"), Refused("", "", "10.0.0.9", "closed: why")
    RefusalBook(ledger).write([asked], {unread: 295})
    assert "1: 295 further connections closed unread" in run("associations", "--home", home).out


# Work ------------------------------------------------------------------------------------------------------


def test_replay_tries_dead_letters_and_failed_work_again(run: Callable[..., Said], home: Path, ledger: Ledger) -> None:
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
    run: Callable[..., Said], home: Path, ledger: Ledger
) -> None:
    answered(ledger, "1.2.1", ["OLD", "NEW"])
    answered(ledger, "1.2.2", ["OLD"])
    deliveries.give_up(ledger, ["NEW"])
    deliveries.keep_peers(ledger, ["NEW"])
    said = run("replay", "--home", home).out
    assert said.startswith("0 deliveries and 0 jobs are retried; 2 remain for OLD, which is not configured: ")
    assert "`imaging replay --to NEW --of OLD`" in said
    wrong = run("replay", "--home", home, "--to", "NEW", "--of", "ODL")
    assert (wrong.status, "available: OLD" in wrong.err) == (2, True)
    moved = run("replay", "--home", home, "--to", "NEW", "--of", "OLD").out
    assert moved == ("1 deliveries and 0 jobs are retried; 1 of OLD is not sent: NEW has or will get the same object\n")
    assert run("replay", "--home", home, "--now", "--json").json["deliveries"] == 2


def test_a_model_can_be_asked_about_what_settled_before(run: Callable[..., Said], home: Path, ledger: Ledger) -> None:
    answered(ledger, "1.2.1")
    asked = run("replay", "--home", home, "--model", "later-model", "--since", "7d")
    said = "1 study is queued for later-model, where it fits, when the node starts (it is not running)\n"
    assert asked.out == f"0 deliveries and 0 jobs are retried; {said}"
    assert run("replay", "--home", home, "--model", "chest-film", "--json").json["studies"] == 0
    views.note_model(ledger, "broken", "1", "", "its golden case differs", is_served=False)
    disabled = run("replay", "--home", home, "--model", "broken")
    assert (disabled.status, disabled.err) == (1, "imaging replay: broken is disabled: its golden case differs\n")


def test_purge_removes_what_is_answered_and_delivered_and_says_what_it_would(
    run: Callable[..., Said], home: Path, ledger: Ledger
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
    run: Callable[..., Said], home: Path, ledger: Ledger
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


def test_conflicts_are_listed_and_settled_by_number(run: Callable[..., Said], home: Path, ledger: Ledger) -> None:
    receive(ledger, film(), "one")
    receive(ledger, film(patient_id="P2"), "other")
    (found,) = run("conflicts", "--home", home, "--json").json["conflicts"]
    assert found["study_instance_uid"] == "1.2.3"
    assert (found["patient_id"], found["study_patient_id"]) == ("P2", "P1")
    listed = run("conflicts", "--home", home).out
    assert ("P2" in listed, "P1" in listed, "an earlier run" in listed) == (True, True, True)
    assert "open conflicts: 1; `imaging conflicts list`" in run("status", "--study", "1.2.3", "--home", home).out
    said = run("conflicts", "drop", "4711", "--home", home)
    assert (said.status, "4711: no open conflict has this number" in said.err) == (1, True)
    done = run("conflicts", "drop", found["id"], "--home", home)
    assert (done.status, done.out) == (0, f"{found['id']}: kept apart for good; the study is processed again\n")
    assert run("conflicts", "list", "--home", home, "--json").json == {"conflicts": []}


def test_one_word_settles_a_study_that_came_again_whole_and_undo_takes_it_back(
    run: Callable[..., Said], home: Path, ledger: Ledger
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


def test_a_uid_that_two_studies_share_is_listed_at_both(run: Callable[..., Said], home: Path, ledger: Ledger) -> None:
    receive(ledger, film("1.2.3"), "one")
    receive(ledger, replace(film("1.2.4", patient_id="P2"), sop_instance_uid=film("1.2.3").sop_instance_uid), "two")
    listed = run("conflicts", "--home", home).out
    assert ("also of P1" in listed, "also of P2" in listed) == (True, True)
    assert "nothing to use" in run("conflicts", "use", "1", "--home", home).err
    assert "is also the UID of an object of study 1.2.4" in run("status", "--study", "1.2.3", "--home", home).out
    assert run("conflicts", "drop", "1", "--home", home).out.startswith("1: the notice is removed")


def test_a_ledger_is_its_owners_alone_in_whichever_folder(run: Callable[..., Said], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    run("migrate", "--home", tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("ledger.sqlite*")} == {0o600}


def test_migrate_makes_a_ledger_and_says_from_where_to_where(run: Callable[..., Said], tmp_path: Path) -> None:
    assert run("migrate", "--home", tmp_path / "new").out == f"schema none -> {migrate.HEAD}\n"
    assert run("migrate", "--home", tmp_path / "new").out == f"schema {migrate.HEAD} -> {migrate.HEAD}\n"


def test_a_ledger_that_cannot_be_used_is_a_failure_in_words(run: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    for command in ("status", "migrate"):
        said = run(command, "--home", tmp_path)
        assert (said.status, "not a database" in said.err) == (1, True)


# Files -----------------------------------------------------------------------------------------------------

RESULT = {
    "model",
    "version",
    "state",
    "reason",
    "flag",
    "findings",
    "timings_ms",
    "sr",
    "schema",
    "in_part",
    "triage",
    "images",
    "analysed",
    "facts",
}
FINDING = {"code", "scheme", "meaning", "present", "probability", "threshold", "measurements"}


def test_analyse_prints_the_one_shape_and_writes_an_sr_per_answer(
    run: Callable[..., Said], films: Path, models: Path, tmp_path: Path
) -> None:
    said = run("analyse", films, "--models", models, "--output", tmp_path / "out", "--json")
    assert said.status == 0
    assert "1 files skipped" in said.err
    assert said.json.keys() == {"studies"}
    (study,) = said.json["studies"]
    assert study.keys() == {"study_uid", "files", "results"}
    assert [Path(each).parent for each in study["files"]] == [films]
    (result,) = study["results"]
    assert result.keys() >= RESULT
    assert (result["model"], result["state"], result["flag"]) == ("small-film", "analysed", "urgent")
    (finding,) = result["findings"]
    assert finding.keys() >= FINDING
    assert (finding["present"], finding["measurements"]) == (True, [])
    assert Path(result["sr"]).is_absolute()
    assert Path(result["sr"]).stat().st_mode & 0o777 == 0o600
    in_words = run("analyse", films, "--models", models)
    assert "small-film 1: analysed, flag urgent" in in_words.out
    assert f"\n  {study['files'][0]}\n" in in_words.out
    assert "not a medical device" in in_words.out


def test_a_report_that_lay_open_to_others_is_closed_when_it_is_written_anew(
    run: Callable[..., Said], films: Path, models: Path, tmp_path: Path
) -> None:
    again = ["analyse", films, "--models", models, "--at", "2026-11-24T09:30:00+07:00", "--output", tmp_path]
    (study,) = run(*again, "--json").json["studies"]
    report = Path(study["results"][0]["sr"])
    report.chmod(0o644)
    run(*again)
    assert report.stat().st_mode & 0o777 == 0o600


def test_analyse_prints_measurements_and_names_a_long_series_by_its_ends(run: Callable[..., Said]) -> None:
    case = shipped_folder() / "head-ct-bleed" / "golden"
    said = run("analyse", case)
    assert said.status == 0
    assert f"  {case / '01.dcm'}\n  ... 12 more files ...\n  {case / '14.dcm'}\n" in said.out
    assert "      Volume 7.31 ml\n" in said.out
    assert "      Attenuation Coefficient 61.5 HU\n" in said.out


def test_what_limits_a_finding_stands_beside_it_and_calibrated_only_where_the_card_calibrates(
    run: Callable[..., Said], tmp_path: Path, films: Path
) -> None:
    case = shipped_folder() / "chest-film" / "golden" / "film.dcm"
    lines = run("analyse", case).out.splitlines()
    assert "    Cardiomegaly: absent 0.018, calibrated (threshold 0.153)" in lines
    assert (
        "    Abnormal chest film: present 0.998, calibrated (threshold 0.81); near chance by the card's evidence"
        in lines
    )
    (study,) = run("analyse", case, "--json").json["studies"]
    said = {each["code"]: (each["calibrated"], each["near_chance"]) for each in study["results"][0]["findings"]}
    assert said == {"60046008": (True, False), "cardiomegaly": (True, False), "abnormal": (True, True)}
    assert study["results"][0]["unproven"] is None
    model = write_models(tmp_path / "models") / "small-film"
    out = run("analyse", films, "--models", model).out
    assert "(threshold 0.6); unproven: its card has no golden case" in out
    assert "calibrated" not in out


def test_a_model_whose_golden_case_does_not_come_out_answers_analyse_as_unproven(
    run: Callable[..., Said], tmp_path: Path
) -> None:
    shutil.copytree(shipped_folder() / "chest-film", tmp_path / "chest-film")
    expected = tmp_path / "chest-film" / "golden" / "expected.json"
    expected.write_text(expected.read_text().replace("0.993905", "0.5"))
    case = tmp_path / "chest-film" / "golden" / "film.dcm"
    (study,) = run("analyse", case, "--models", tmp_path, "--json").json["studies"]
    assert [each["unproven"] for each in study["results"]] == ["golden-case-failed"]
    assert "unproven: its golden case fails" in run("analyse", case, "--models", tmp_path).out


def test_the_same_files_models_and_at_give_the_same_bytes(
    run: Callable[..., Said], films: Path, models: Path, tmp_path: Path
) -> None:
    at = ["--at", "2026-11-24T09:30:00+07:00", "--models", models]
    one, other = (
        Path(run("analyse", films, *at, "--output", tmp_path / name, "--json").json["studies"][0]["results"][0]["sr"])
        for name in ("one", "other")
    )
    assert one.read_bytes() == other.read_bytes()
    assert one.name == other.name


def test_what_no_model_fits_is_a_result_and_no_failure(run: Callable[..., Said], models: Path, tmp_path: Path) -> None:
    ultrasound = drawn()
    ultrasound.Modality = "US"
    write(tmp_path / "us.dcm", ultrasound)
    said = run("analyse", tmp_path / "us.dcm", "--models", models, "--json")
    assert said.status == 0
    (result,) = said.json["studies"][0]["results"]
    assert (result["model"], result["state"], result["reason"]) == (None, "not_analysed", "no-model")
    assert (result["flag"], result["findings"], result["in_part"], result["sr"]) == (None, [], False, None)


def test_an_image_encoded_twice_is_analysed_once_and_other_pixels_under_its_uid_leave_doubt(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    write(tmp_path / "1.dcm", drawn())
    again = drawn()
    again.StationName = "A PACS"
    again.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    write(tmp_path / "2.dcm", again)
    (result,) = run("analyse", tmp_path, "--models", models, "--json").json["studies"][0]["results"]
    assert (result["model"], result["state"]) == ("small-film", "analysed")
    assert (result["conflicts"], result["in_part"], result["images"]["considered"]) == (0, False, 1)
    other = drawn()
    other.PixelData = bytes(reversed(other.PixelData))
    write(tmp_path / "3.dcm", other)
    (result,) = run("analyse", tmp_path, "--models", models, "--json").json["studies"][0]["results"]
    assert (result["model"], result["state"], result["conflicts"]) == ("small-film", "analysed", 1)
    assert False not in [each["present"] for each in result["findings"]]
    assert "1 image has a second, different version" in run("analyse", tmp_path, "--models", models).out


def test_which_object_under_a_uid_is_newer_is_told_by_its_creation_and_never_by_its_files_name(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    old, new = drawn(), drawn()
    old.BodyPartExamined, old.InstanceCreationDate, old.InstanceCreationTime = "ABDOMEN", "20261124", "080000"
    new.InstanceCreationDate, new.InstanceCreationTime = "20261124", "090000"
    for names in (("a.dcm", "b.dcm"), ("b.dcm", "a.dcm")):
        for name, drawing in zip(names, (old, new), strict=True):
            write(tmp_path / name, drawing)
        (result,) = run("analyse", tmp_path, "--models", models, "--json").json["studies"][0]["results"]
        assert (result["model"], result["state"], result["conflicts"]) == ("small-film", "analysed", 0)


def test_a_study_that_needs_more_memory_than_it_may_take_is_not_analysed(models: Path, tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    study = head_study(1, False, now, run="commands")
    template = study.instances[0]
    template.Rows = template.Columns = 1024
    template.PixelData = bytes(2 << 20)
    for number in range(100):  # 200 MB of stored values, and again as much in units
        template.SOPInstanceUID = f"1.2.3.{number}"
        template.ImagePositionPatient = [0, 0, number]
        write(tmp_path / f"{number}.dcm", template)
    options = [str(tmp_path), "--models", str(models), "--memory-mb", "500", "--json"]
    said = imaging("analyse", *options)  # a process of its own: this one holds much already
    (result,) = json.loads(said.stdout)["studies"][0]["results"]
    assert (result["state"], result["reason"]) == ("not_analysed", "memory")


def test_two_films_of_other_names_without_identifiers_are_no_one_patients(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    for number, name in enumerate(("Nguyễn^An", "Trần^Bình")):
        image = drawn()
        image.PatientID, image.PatientName = "", name
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path / f"{number}.dcm", image)
    said = run("analyse", tmp_path, "--models", models, "--output", tmp_path / "out", "--json")
    (study,) = said.json["studies"]
    assert [(each["reason"], each["sr"]) for each in study["results"]] == [("mixed-patients", None)]
    assert not (tmp_path / "out").exists()


def test_an_image_without_identifier_and_name_joins_a_named_one_of_its_folder_alone(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    names = {"a/1.dcm": ("P1", "Nguyễn^An"), "a/2.dcm": ("", ""), "b/3.dcm": ("0000", "UNKNOWN")}
    for number, (name, who) in enumerate(names.items()):
        image = drawn()
        image.PatientID, image.PatientName = who
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, image)

    def reasons(*paths: Path) -> list[str | None]:
        (study,) = run("analyse", *paths, "--models", models, "--json").json["studies"]
        return [each["reason"] for each in study["results"]]

    assert reasons(tmp_path / "a") == [None]
    assert reasons(tmp_path / "a" / "2.dcm", tmp_path / "b") == [None]
    assert reasons(tmp_path) == ["mixed-patients"]


def test_a_patient_renamed_later_is_reported_by_the_newest_name_whatever_the_files_are_called(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    for name, at, who in (("1", "120000", "Nguyễn^An"), ("2", "110000", "Trauma^X17")):
        image = drawn()
        image.PatientID, image.PatientName, image.InstanceCreationTime = "P1", who, at
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{name}"
        write(tmp_path / f"{name}.dcm", image)
    out = tmp_path / "out"
    (study,) = run("analyse", tmp_path, "--models", models, "--output", out, "--json").json["studies"]
    (result,) = study["results"]
    assert str(dcmread(result["sr"]).PatientName) == "Nguyễn^An"

    again = run("analyse", tmp_path, "--models", models, "--json")
    assert "1 reports of our own skipped" in again.err
    assert [each["study_uid"] for each in again.json["studies"]] == [study["study_uid"]]


def test_a_sites_own_placeholders_are_nobodys_in_files_as_well(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    for number, born in enumerate(("19500101", "19990909")):
        image = drawn()
        image.PatientID, image.PatientName, image.PatientBirthDate = "KHONG RO", "", born
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path / f"{number}.dcm", image)
    analyse = ["analyse", tmp_path, "--models", models, "--json"]
    for words, wanted in (([], None), (["--patient-placeholders", "không rõ"], "mixed-patients")):
        (result,) = run(*analyse, *words).json["studies"][0]["results"]
        assert result["reason"] == wanted


def test_two_studies_with_one_sop_instance_uid_are_analysed_each(
    run: Callable[..., Said], models: Path, tmp_path: Path
) -> None:
    one, other = drawn(), drawn()
    other.StudyInstanceUID, other.PatientID = "1.2.3.9", "P9"
    write(tmp_path / "1.dcm", one)
    write(tmp_path / "2.dcm", other)
    said = run("analyse", tmp_path, "--models", models, "--output", tmp_path / "out", "--json")
    results = [each for study in said.json["studies"] for each in study["results"]]
    assert [each["state"] for each in results] == ["analysed", "analysed"]
    assert len({each["sr"] for each in results}) == 2


def test_nothing_readable_is_asked_wrongly(run: Callable[..., Said], films: Path, models: Path) -> None:
    for command in (["analyse", "--models", models], ["send", "--to", "PACS@127.0.0.1:104"]):
        said = run(*command, films / "readme.txt")
        assert (said.status, "no readable files: 1 files are not DICOM" in said.err) == (2, True)


def test_send_shows_its_progress_and_fails_where_anything_is_refused(run: Callable[..., Said], films: Path) -> None:
    peer = StoragePeer(sop_classes=[drawn().SOPClassUID]).start()
    sent = run("send", films, "--to", peer.address, "--json")
    assert (sent.status, sent.json) == (0, {"sent": 1, "refused": {}, "passed_over": 1})
    assert "1 of 1" in sent.err
    peer.status = 0xC000
    refused = run("send", films, "--to", peer.address, "--json")
    assert (refused.status, list(refused.json["refused"])) == (1, [str(films / "film.dcm")])
    peer.stop()
    away = run("send", films, "--to", peer.address)
    assert (away.status, f"{peer.address}: no connection" in away.err) == (1, True)


def test_send_passes_over_no_good_file_for_the_sake_of_a_bad_one(
    run: Callable[..., Said], shared: Path, films: Path
) -> None:
    overlong = shared / "malformed" / "identity" / "i07_long_sop_uid.dcm"
    peer = StoragePeer(sop_classes=[drawn().SOPClassUID]).start()
    said = run("send", overlong, films, "--to", peer.address, "--json")
    peer.stop()
    assert (said.status, said.json["sent"], list(said.json["refused"])) == (1, 1, [str(overlong)])


def test_send_to_a_host_without_address_is_a_failure_in_words(run: Callable[..., Said], films: Path) -> None:
    said = run("send", films, "--to", "PACS@no-such-host.invalid:104")
    assert (said.status, "has no address" in said.err) == (1, True)


def test_send_to_a_node_that_takes_no_such_object_is_a_refusal(run: Callable[..., Said], films: Path) -> None:
    peer = StoragePeer(sop_classes=()).start()
    said = run("send", films, "--to", peer.address, "--json")
    peer.stop()
    assert said.status == 1
    assert "presentation context" in said.out + said.err


def test_simulate_draws_studies_with_their_truth(run: Callable[..., Said], tmp_path: Path) -> None:
    said = run("simulate", "--studies", "1", "--kind", "film", "--output", tmp_path, "--json")
    assert said.status == 0
    (study,) = said.json["studies"]
    assert study.keys() == {"study_uid", "modality", "truth"}
    assert len(list(tmp_path.rglob("*.dcm"))) == 1


def test_the_settings_say_which_models_are_asked_and_in_which_language(
    run: Callable[..., Said], films: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_MODELS", str(models))
    assert "small-film" in run("models").out
    file = tmp_path / "imaging.toml"
    file.write_text('language = "fr"\n')
    run("analyse", films, "--config", file, "--output", tmp_path / "out")
    (report,) = (tmp_path / "out").glob("small-film-*.dcm")
    assert "ni diagnostic ni dispositif médical".encode() in report.read_bytes()


def test_a_sites_words_reach_analyse_by_flag_variable_and_file(
    run: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_study(2, frozenset(), datetime(2026, 11, 24, 9, 0, tzinfo=UTC), rows=64, columns=64).instances[0]
    film.BodyPartExamined, film.ViewPosition = "TP", "T1"
    for code in ("ViewCodeSequence", "AnatomicRegionSequence"):
        film.pop(code, None)
    film.save_as(tmp_path / "film.dcm", enforce_file_format=True)

    def ends(*arguments: object) -> tuple[str, str | None]:
        (result,) = run("analyse", tmp_path / "film.dcm", *arguments, "--json").json["studies"][0]["results"]
        return result["state"], result["reason"]

    assert ends() == ("not_analysed", "body-part")
    assert ends("--site-words", "CHEST=tp") == ("not_analysed", "view")
    assert ends("--site-words", "CHEST=tp", "--site-words", "PA=t1")[0] == "analysed"
    (tmp_path / "imaging.toml").write_text('site_words = ["CHEST=tp", "PA=T1"]\n')
    assert ends("--config", tmp_path / "imaging.toml")[0] == "analysed"
    monkeypatch.setenv("IMAGING_SITE_WORDS", "CHEST=tp,PA=t1")
    assert ends()[0] == "analysed"


def test_models_are_listed_shown_and_checked(run: Callable[..., Said], models: Path) -> None:
    assert "small-film" in run("models", "--models", models).out
    said = run("models", "show", "small-film", "--models", models, "--json").json
    assert [each["id"] for each in said["models"]] == ["small-film"]
    (shown,) = said["models"]
    assert shown["triage"] == [{"finding": "abnormal", "at_least": 0.7, "volume_ml": None, "class": "urgent"}]
    assert shown["weights"] == {"model.onnx": shown["sha256"]}
    text = run("models", "show", "small-film", "--models", models).out
    assert text.startswith("small-film 1: small-film")
    assert f"  digest: {shown['digest']}\n  weights: model.onnx: {shown['sha256']}\n" in text


def test_a_network_that_does_not_give_what_its_card_says_is_told_by_check_and_analyse(
    run: Callable[..., Said], tmp_path: Path, films: Path
) -> None:
    model = write_models(tmp_path / "models") / "small-film"
    network = onnx.load(model / "model.onnx")
    network.graph.output[0].type.tensor_type.ClearField("shape")  # else it is told when the card is read
    before = hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()
    onnx.save(network, model / "model.onnx")
    after = hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()
    card = (model / "card.toml").read_text().replace("channel = 0", "channel = 1")
    (model / "card.toml").write_text(card.replace(before, after))
    wanted = "the network's output y is (1, 1), expected (1, at least 2): (batch, channels)"
    checked = run("models", "check", "small-film", "--models", model)
    assert (checked.status, checked.out) == (1, f"small-film: {wanted}\n")
    said = run("analyse", films, "--models", model, "--json")
    (study,) = said.json["studies"]
    assert [(each["state"], each["reason"], each["findings"]) for each in study["results"]] == [("failed", wanted, [])]
    assert (said.status, said.err.splitlines()[-1]) == (1, "imaging analyse: 1 of 1 answers failed: small-film")


def test_a_model_without_a_golden_case_is_called_unproven_by_each_that_speaks_of_it(
    run: Callable[..., Said], models: Path, home: Path
) -> None:
    checked = run("models", "check", "small-film", "--models", models)
    assert (checked.status, checked.out) == (1, "small-film: unproven: its card has no golden case\n")
    for what in (["models", "list"], ["models", "show"], ["models", "list", "--json"]):
        said = run(*what, "--models", models)
        assert (said.status, said.out.count("unproven")) == (0, 2)
    doctor = run("doctor", "--home", home, "--models", models, "--dicom-port", "0", "--web-port", "0")
    assert (doctor.status, doctor.out.count("unproven")) == (0, 2)


def test_a_disabled_model_is_a_failure_of_the_check_and_told_by_its_name(
    run: Callable[..., Said], tmp_path: Path
) -> None:
    write_models(tmp_path)
    (tmp_path / "small-volume" / "model.onnx").write_bytes(b"other weights")
    card = tmp_path / "small-film" / "card.toml"
    card.write_text(card.read_text().replace("threshold = 0.6", "threshold = 6"))
    for what in (["check"], ["show"], ["check", "small-film", "small-volume"], ["show", "small-film", "small-volume"]):
        said = run("models", *what, "--models", tmp_path)
        assert said.status == 1
        assert f"small-film: disabled: {card}: finding[0].threshold = 6: must lie in 0..1" in said.out
        assert "small-volume: disabled: " in said.out
        assert "(sha256-differs)" in said.out
    assert run("models", "check", "small-film", "--models", tmp_path, "--json").json["small-film"][0] == "disabled"
    assert list(run("models", "show", "small-film", "--models", tmp_path, "--json").json["disabled"]) == ["small-film"]
    assert run("models", "list", "--models", tmp_path).status == 0


@pytest.mark.parametrize("command", [["serve"], ["doctor"], ["analyse"], ["models", "list"], ["models", "check"]])
def test_where_no_model_is_every_command_has_been_asked_wrongly(
    run: Callable[..., Said], films: Path, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    place = {"analyse": [films], "models": []}.get(command[0], ["--home", tmp_path / "home"])
    said = run(*command, *place, "--models", tmp_path / "none", "--models", tmp_path / "empty", "--jsn")
    assert said.status == 2
    assert f"--models {tmp_path / 'none'}: no such folder" in said.err
    assert f"--models {tmp_path / 'empty'}: no card.toml" in said.err
    assert "--jsn: unknown" in said.err
    assert not (tmp_path / "home").exists()


def test_dicom_that_cannot_be_read_is_named_with_the_reason(
    run: Callable[..., Said], films: Path, models: Path, tmp_path: Path
) -> None:
    image = drawn()
    del image.StudyInstanceUID
    write(tmp_path / "without.dcm", image)
    alone = run("analyse", tmp_path, "--models", models)
    assert (alone.status, f"{tmp_path / 'without.dcm'}: " in alone.err) == (2, True)
    beside = run("analyse", tmp_path, films, "--models", models, "--json")
    assert (beside.status, len(beside.json["studies"])) == (0, 1)
    assert f"{tmp_path / 'without.dcm'}: " in beside.err
    assert "1 files skipped" in beside.err


def test_the_time_that_is_given_is_the_reports_whatever_the_machines_zone(
    run: Callable[..., Said], films: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for zone in ("UTC", "Asia/Ho_Chi_Minh"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        run("analyse", films, "--models", models, "--at", "2026-11-24T09:30:00+07:00", "--output", tmp_path / zone)
    monkeypatch.undo()
    time.tzset()
    utc, local = (
        {file.name: file.read_bytes() for file in (tmp_path / zone).rglob("*.dcm")}
        for zone in ("UTC", "Asia/Ho_Chi_Minh")
    )
    assert utc == local
    assert len(utc) > 0


def test_a_folder_for_reports_that_is_a_file_is_refused_beforehand(
    run: Callable[..., Said], films: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = run("analyse", films, "--output", tmp_path / "file", "--language", "de")
    assert said.status == 2
    assert f"--output {tmp_path / 'file'}: is not a folder" in said.err
    assert "--language 'de'" in said.err


def test_a_models_own_folder_will_do_as_well_as_one_that_holds_it(
    run: Callable[..., Said], films: Path, models: Path
) -> None:
    said = run("analyse", films, "--models", models / "small-film", "--json")
    (result,) = said.json["studies"][0]["results"]
    assert (result["model"], result["state"]) == ("small-film", "analysed")


def test_the_doctor_says_what_to_do_about_each_thing_that_is_wrong(
    run: Callable[..., Said], home: Path, models: Path
) -> None:
    options = ["doctor", "--home", home, "--models", models, "--dicom-port", "0", "--web-port", "0"]
    well = run(*options, "--json")
    assert (well.status, [each["what"] for each in well.json["findings"] if not each["is_well"]]) == (0, [])
    away = run(*options, "--deliver-to", f"PACS=PACS@127.0.0.1:{free_port()}", "--json")
    (wrong,) = [each for each in away.json["findings"] if not each["is_well"]]
    assert (away.status, wrong["what"]) == (1, "peer PACS")
    assert wrong["mend"].startswith("check that it is running, that PACS@127.0.0.1:")
    silent = DeafPort(drops=False)
    (wrong,) = [
        each
        for each in run(
            *options,
            *("--deliver-to", f"PACS=PACS@127.0.0.1:{silent.port}", "--deliver-times", "PACS=accept:0.2", "--json"),
        ).json["findings"]
        if not each["is_well"]
    ]
    silent.stop()
    assert wrong["said"] == "no answer to the request for an association within 0.2 s"
    assert "raise --deliver-times PACS=accept:0.2" in wrong["mend"]
    stranger = StoragePeer(ae_title="OTHER").start()
    twice = [f"--deliver-to={name}={stranger.address}" for name in ("A", "B")]
    found = run(*options, *twice, "--json").json["findings"]
    stranger.stop(wait=False)
    assert [each["mend"] for each in found if not each["is_well"]] == [
        f"check that {stranger.address} is right and that it knows our AE title IMAGING"
    ] * 2
    assert [each["said"] for each in found if each["what"] == "peers"] == [
        f"A, B have one address, {stranger.address}: common results are sent there 2 times"
    ]
    small = run(*options, "--worker-memory-mb", "300", "--json")
    (wrong,) = [each for each in small.json["findings"] if not each["is_well"]]
    assert (wrong["what"], wrong["said"]) == ("model small-volume", "a job may need 400 MB, a worker may use 300")
    peer = StoragePeer(sop_classes=()).start()
    (wrong,) = [
        each
        for each in run(*options, "--deliver-to", f"PACS={peer.address}", "--json").json["findings"]
        if not each["is_well"]
    ]
    assert wrong["said"] == "answers C-ECHO, accepts no report"
    peer.sop_classes = ("1.2.840.10008.5.1.4.1.1.88.33",)
    peer.stop()
    peer.start()
    assert "accepts Comprehensive SR" in run(*options, "--deliver-to", f"PACS={peer.address}").out
    peer.stop(wait=False)
    no_database = run(*options, "--database", "nonsense")
    assert (no_database.status, "correct --database" in no_database.out) == (1, True)


def test_the_doctor_changes_nothing(run: Callable[..., Said], tmp_path: Path, models: Path) -> None:
    home, elsewhere = tmp_path / "home", f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    said = run("doctor", "--home", home, "--database", elsewhere, "--models", models, "--json")
    assert "schema None" in [each["said"] for each in said.json["findings"] if each["what"] == "ledger"]
    assert not home.exists()


def test_the_doctor_says_whether_anything_keeps_the_clock_right(run: Callable[..., Said], home: Path) -> None:
    said = run("doctor", "--home", home, "--dicom-port", "0", "--web-port", "0", "--json").json
    (clock,) = [each for each in said["findings"] if each["what"] == "clock"]
    assert clock["is_well"]
    assert clock["said"].endswith("synchronised")
    assert ("not synchronised" in clock["said"]) == ("start chrony" in clock["mend"])


def test_a_port_that_a_stranger_has_is_bad_though_the_home_was_served(
    serve: Callable[..., Node], run: Callable[..., Said]
) -> None:
    node = serve("--role", "web")
    port = int(node.url.rstrip("/").rpartition(":")[2])
    doctor = ["doctor", "--home", node.home, "--dicom-port", "0", "--web-port", port, "--json"]
    assert of_the_port(run(*doctor)) == (True, "in use, while this home is being served")
    assert node.stop() == 0
    with socket.create_server(("127.0.0.1", port)):
        assert of_the_port(run(*doctor)) == (False, "cannot listen: Address already in use")


def of_the_port(said: Said) -> tuple[bool, str]:
    """What the doctor says of the web port."""
    (found,) = [each for each in said.json["findings"] if each["what"].startswith("web port")]
    return found["is_well"], found["said"].partition(" (while")[0]


# Serving ---------------------------------------------------------------------------------------------------


def test_what_the_settings_no_longer_name_is_not_told_of_once_the_home_is_served_again(
    serve: Callable[..., Node], home: Path, models: Path
) -> None:
    ledger = Ledger(home)
    for name in ("worker-0", "worker-1", "deliver"):
        views.note_role(ledger, name, "down")
    views.note_model(ledger, "an-older-model", "1", "")
    ledger.close()
    node = serve("--role", "worker", "--models", str(models), home=home)
    said = node.status()
    assert [each["name"] for each in said["roles"]] == ["deliver", "worker-0"]
    assert {each["name"] for each in said["models"]} == {"small-film", "small-volume"}


def test_a_home_is_served_once_a_taken_port_is_named_and_sigterm_ends_it_with_pages_open(
    serve: Callable[..., Node], run: Callable[..., Said], tmp_path: Path
) -> None:
    node = serve("--role", "web")
    assert node.ready_line == f"ready web={node.url}\n"
    second = run("serve", "--home", node.home, "--role", "web", "--web-port", "0")
    assert second.status == 1
    assert f"{node.home} is already being served: process {node.process.pid}" in second.err

    port = node.url.rstrip("/").rpartition(":")[2]
    taken = imaging("serve", "--home", str(tmp_path / "other"), "--role", "web", "--web-port", port)
    assert (taken.returncode, taken.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1:{port} (--web-port): " in taken.stderr

    with urllib.request.urlopen(f"{node.url}events", timeout=10):
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 10
    assert run("status", "--home", node.home, "--json").json["roles"][0]["state"] == "stopped"


def test_each_name_of_loopback_will_do_for_the_pages(serve: Callable[..., Node], run: Callable[..., Said]) -> None:
    node = serve("--role", "web", "--web-host", "::1")
    assert node.url.startswith("http://[::1]:")
    with urllib.request.urlopen(f"{node.url}healthz", timeout=10) as answer:
        assert answer.read() == b"ok"
    port = node.url.rstrip("/").rpartition(":")[2]
    doctor = ["doctor", "--home", node.home, "--dicom-port", "0", "--web-host", "::1", "--web-port", port, "--json"]
    assert of_the_port(run(*doctor)) == (True, "in use, while this home is being served")


def test_a_home_that_cannot_be_made_is_a_failure_in_words(run: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run("serve", "--home", tmp_path / "file" / "home")
    assert (said.status, "cannot be created" in said.err) == (1, True)
