"""What the doctor finds wrong, and what it says to do."""

import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

from command_result import CommandResult
from peers import Node, free_port
from storage_peer import DeafPort, StoragePeer


def test_the_doctor_says_what_to_do_about_each_thing_that_is_wrong(
    run: Callable[..., CommandResult], home: Path, models: Path
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


def test_the_doctor_changes_nothing(run: Callable[..., CommandResult], tmp_path: Path, models: Path) -> None:
    home, elsewhere = tmp_path / "home", f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    result = run("doctor", "--home", home, "--database", elsewhere, "--models", models, "--json")
    assert "schema None" in [each["said"] for each in result.json["findings"] if each["what"] == "ledger"]
    assert not home.exists()


def test_the_doctor_says_whether_anything_keeps_the_clock_right(run: Callable[..., CommandResult], home: Path) -> None:
    value = run("doctor", "--home", home, "--dicom-port", "0", "--web-port", "0", "--json").json
    (clock,) = [each for each in value["findings"] if each["what"] == "clock"]
    assert clock["is_well"]
    assert clock["said"].endswith("synchronised")
    assert ("not synchronised" in clock["said"]) == ("start chrony" in clock["mend"])


def test_a_port_that_a_stranger_has_is_bad_though_the_home_was_served(
    serve: Callable[..., Node], run: Callable[..., CommandResult]
) -> None:
    node = serve("--role", "web")
    port = int(node.url.rstrip("/").rpartition(":")[2])
    doctor = ["doctor", "--home", node.home, "--dicom-port", "0", "--web-port", port, "--json"]
    assert of_the_port(run(*doctor)) == (True, "in use, while this home is being served")
    assert node.stop() == 0
    with socket.create_server(("127.0.0.1", port)):
        assert of_the_port(run(*doctor)) == (False, "cannot listen: Address already in use")


def of_the_port(result: CommandResult) -> tuple[bool, str]:
    """What the doctor says of the web port."""
    (found,) = [each for each in result.json["findings"] if each["what"].startswith("web port")]
    return found["is_well"], found["said"].partition(" (while")[0]


def test_each_name_of_loopback_will_do_for_the_pages(
    serve: Callable[..., Node], run: Callable[..., CommandResult]
) -> None:
    node = serve("--role", "web", "--web-host", "::1")
    assert node.url.startswith("http://[::1]:")
    with urllib.request.urlopen(f"{node.url}healthz", timeout=10) as answer:
        assert answer.read() == b"ok"
    port = node.url.rstrip("/").rpartition(":")[2]
    doctor = ["doctor", "--home", node.home, "--dicom-port", "0", "--web-host", "::1", "--web-port", port, "--json"]
    assert of_the_port(run(*doctor)) == (True, "in use, while this home is being served")
