"""A home that is served."""

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from command_result import CommandResult
from peers import Node, imaging

from imaging.ledger import registry
from imaging.ledger.store import Ledger


def test_what_the_settings_no_longer_name_is_not_told_of_once_the_home_is_served_again(
    serve: Callable[..., Node], home: Path, models: Path
) -> None:
    ledger = Ledger(home)
    for name in ("worker-0", "worker-1", "deliver"):
        registry.note_role(ledger, name, "down")
    registry.note_model(ledger, "an-older-model", "1", "")
    ledger.close()
    node = serve("--role", "worker", "--models", str(models), home=home)
    value = node.status()
    assert [each["name"] for each in value["roles"]] == ["deliver", "worker-0"]
    assert {each["name"] for each in value["models"]} == {"small-film", "small-volume"}


def test_a_home_is_served_once_a_taken_port_is_named_and_sigterm_ends_it_with_pages_open(
    serve: Callable[..., Node], run: Callable[..., CommandResult], tmp_path: Path
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


def test_a_home_that_cannot_be_made_is_a_failure_in_words(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("serve", "--home", tmp_path / "file" / "home")
    assert (result.status, "cannot be created" in result.err) == (1, True)
