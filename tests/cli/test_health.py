"""`status`, `/healthz`, the page and the doctor tell the same of a home, and what they tell is true."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from command_result import CommandResult
from ledger_cases import answered, claim, film, receive
from peers import Node, eventually, free_port
from sqlalchemy import select, update

from imaging.cli import doctor
from imaging.domain.clock_anchor import Anchor
from imaging.domain.retry import Transient
from imaging.ledger import deliveries, registry, tables
from imaging.ledger.store import Ledger
from imaging.settings import Settings

NOBODY = 65534


@pytest.fixture
def examine(run: Callable[..., CommandResult], home: Path, models: Path) -> Callable[..., CommandResult]:
    """The doctor, on this home."""
    free = {"--dicom-port": "0", "--web-port": "0", "--home": home, "--models": models}

    def call(**others: object) -> CommandResult:
        chosen = free | {f"--{name.replace('_', '-')}": value for name, value in others.items()}
        return run("doctor", *(word for pair in chosen.items() for word in pair), "--json")

    return call


def requests(url: str) -> tuple[int, str]:
    """The status and the text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_home_that_was_never_served_is_said_to_be_so(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    never = f"{tmp_path / 'none'} has never been served"
    for options in ([], ["--check"]):
        result = run("status", "--home", tmp_path / "none", *options)
        assert (result.status, result.out.splitlines()[-1].removeprefix("alarm: ")) == (1, never)
    assert [each["kind"] for each in run("status", "--home", tmp_path / "none", "--json").json["alarms"]] == [
        "never-served"
    ]


def test_a_home_that_nothing_serves_is_an_alarm_and_its_status_is_told_all_the_same(
    run: Callable[..., CommandResult], home: Path
) -> None:
    result = run("status", "--home", home)
    assert (result.status, result.out.splitlines()[-1]) == (0, "alarm: this home is not being served")
    assert (run("status", "--home", home, "--check").status) == 1


def test_monitor_status_page_and_doctor_tell_the_same_alarms(
    serve: Callable[..., Node],
    run: Callable[..., CommandResult],
    home: Path,
    ledger: Ledger,
    examine: Callable[..., CommandResult],
) -> None:
    node = serve("--role", "web", home=home)
    port = node.url.rstrip("/").rpartition(":")[2]
    assert requests(f"{node.url}healthz") == (200, "ok")
    check = run("status", "--home", home, "--check")
    assert (check.status, check.out) == (0, "no alarm\n")
    assert examine(web_port=port).finding("page") == (True, "answers", "")
    answered(ledger, "1.2.1")
    answered(ledger, "1.2.2")
    deliveries.conclude(ledger, claim(ledger)[0], Transient("no connection"), 0.0, peer_is_down=True)
    deliveries.release_leases(ledger, "")
    words = "PACS is down, 2 waiting: no connection"
    eventually(lambda: requests(f"{node.url}healthz") == (503, words), what="the alarm in /healthz")
    check = run("status", "--home", home, "--check")
    assert (check.status, check.out) == (1, f"{words}\n")
    completed = run("status", "--home", home)
    assert (
        completed.status,
        f"alarm: {words}" in completed.out,
        "peer PACS: down no connection, 2 waiting" in completed.out,
    ) == (
        *(0, True),
        True,
    )
    assert "PACS does not answer, reports waiting: 2: no connection" in requests(f"{node.url}?lang=en")[1]
    result = examine(web_port=port)
    assert (result.status, result.finding("destination PACS")[:2]) == (1, (False, words))
    assert run("status", "--home", home, "--check", "--json").json["alarms"][0]["kind"] == "destination"


def test_a_role_whose_supervisor_was_killed_is_gone_for_all_who_ask(
    serve: Callable[..., Node], run: Callable[..., CommandResult], home: Path, models: Path
) -> None:
    web = serve("--role", "web", home=home)
    node = serve("--role", "node", "--models", str(models), home=home)
    assert run("status", "--home", home, "--check").out == "no alarm\n"
    node.kill()
    eventually(lambda: requests(f"{web.url}healthz") == (503, "node is stopped"), what="the alarm in /healthz")
    assert run("status", "--home", home, "--check").out == "node is stopped\n"
    assert "Receiving: down" in requests(f"{web.url}?lang=en")[1]


def test_a_page_that_does_not_answer_is_found(
    serve: Callable[..., Node], examine: Callable[..., CommandResult], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_PAGE_S", 0.3)
    node = serve("--role", "web", home=home)
    pid = node.children()["web"]
    os.kill(pid, signal.SIGSTOP)
    is_well, text, _ = examine(web_port=node.url.rstrip("/").rpartition(":")[2]).finding("page")
    os.kill(pid, signal.SIGCONT)
    assert (is_well, text) == (False, "does not answer within 0.3 s (TimeoutError)")


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_was_set_is_an_alarm_of_status_and_doctor(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger, examine: Callable[..., CommandResult], hours: int
) -> None:
    with ledger.write() as connection:
        is_clock = tables.meta.c.key == "clock"
        anchor = Anchor.from_json(connection.scalar(select(tables.meta.c.value).where(is_clock)) or "")
        before = replace(anchor, at=anchor.at - timedelta(hours=hours))  # as if the wall clock had been set since
        connection.execute(update(tables.meta).where(is_clock).values(value=before.to_json()))
    words = f"the clock was changed by {hours:+d} h since `imaging serve` started"
    assert words in run("status", "--home", home, "--check").out
    is_well, _, mend = examine().finding("clock")
    assert (is_well, words in mend) == (False, True)
    receive(Ledger(home), film())
    assert run("status", "--home", home, "--json").json["oldest_s"]["receiving"] < 60


def test_a_row_number_of_a_log_leads_to_its_study(
    run: Callable[..., CommandResult], home: Path, ledger: Ledger
) -> None:
    receive(ledger, film("1.2.1"))
    answered(ledger, "1.2.2")
    for row, uid in (("1", "1.2.1"), ("study=1", "1.2.1"), ("study=2", "1.2.2"), ("job=1", "1.2.2")):
        result = run("status", "--home", home, "--row", row)
        assert (result.status, result.out.splitlines()[0].startswith(f"study {uid} (row ")) == (0, True)
    assert run("status", "--home", home, "--row", "delivery=1", "--json").json["studies"][0]["row"] == 2
    assert "no study has the row 9" in run("status", "--home", home, "--row", "9").err
    for wrong in ("x", "series=3", "-1", "study="):
        result = run("status", "--home", home, f"--row={wrong}")
        assert (result.status, "expected a number or one of study=N, job=N, delivery=N, copy=N" in result.err) == (
            2,
            True,
        )
    assert (
        "--study and --row: expected only one of them"
        in run("status", "--home", home, "--row", "1", "--study", "1").err
    )


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Without root's rights, where we have them."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that everybody may enter and we may not write."""
    folder = Path(tempfile.mkdtemp(prefix="imaging-"))
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_the_doctor_tells_permission_from_room(
    foreign_folder: Path, models: Path, unprivileged: None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {each.what: each for each in _of_the_disk(foreign_folder / "home")}
    assert (found["home"].is_well, found["disk"].is_well) == (False, True)
    assert found["home"].said.startswith(f"no permission: {foreign_folder} belongs to ")
    assert "(mode 0555)" in found["home"].said
    assert "chown" in found["home"].mend


def _of_the_disk(home: Path) -> list[doctor.Finding]:
    settings = Settings(home=home)
    return [doctor._home(settings), *doctor._disk(settings)]


def test_the_doctor_tells_inodes_from_bytes(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=40", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("the right to mount a tmpfs is missing")
    for number in range(34):
        (tmp_path / str(number)).touch()
    found = {each.what: each for each in _of_the_disk(tmp_path)}
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    assert [found[what].is_well for what in ("home", "disk", "disk inodes")] == [True, True, False]
    assert found["disk inodes"].said == "5 inodes free, reserve 4"
    assert "small files" in found["disk inodes"].mend


def test_a_port_under_1024_needs_a_capability_which_the_doctor_names(unprivileged: None) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first < 1024:
        pytest.skip("everybody may have ports under 1024 here")
    finding = doctor._port("DICOM", "127.0.0.1", 104, "--dicom-port", False)
    assert (finding.is_well, finding.said.startswith("cannot listen: Permission denied")) == (False, True)
    assert "need CAP_NET_BIND_SERVICE" in finding.mend
    with socket.create_server(("127.0.0.1", port := free_port())):
        assert "stop the program that uses it" in doctor._port("DICOM", "127.0.0.1", port, "--dicom-port", False).mend


def test_the_units_capability_is_in_the_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    assert "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n" in manual


def test_what_the_models_lack_is_an_alarm_too(run: Callable[..., CommandResult], home: Path, ledger: Ledger) -> None:
    registry.note_model(ledger, "chest-film", "1", "", "its golden case differs", is_served=False)
    registry.note_role(ledger, "worker-0", "up")
    assert run("status", "--home", home, "--check").out == (
        "this home is not being served\nthe model chest-film is disabled: its golden case differs\n"
    )
