"""How the command line answers who asks wrongly: in a line, with the nearest that there is."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from imaging.cli import main
from imaging.cli.main import COMMANDS
from imaging.settings import nearest


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["stauts"], "imaging: 'stauts' is not a command; did you mean status? (see `imaging help`)"),
        (["help", "stauts"], "imaging: 'stauts' is not a command; did you mean status? (see `imaging help`)"),
        (
            ["serve", "--port", "104"],
            "imaging serve: --port: unknown; did you mean --dicom-port? (see `imaging help serve`)\n",
        ),
        (
            ["status", "now", "--jsn"],
            "imaging status: now: unknown\nimaging status: --jsn: unknown; did you mean --json?",
        ),
        (["doctor", "--port=104"], "imaging doctor: --port=104: unknown; did you mean --dicom-port?"),
        (["status", "--port", "104"], "imaging status: --port: unknown; the DICOM port is --dicom-port of"),
        (["status", "--sutdy", "1"], "imaging status: --sutdy: unknown; did you mean --study?"),
    ],
    ids=" ".join,
)
def test_a_fault_is_a_line_without_a_page_of_usage(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], line: str
) -> None:
    status, err = output(capsys, *arguments)
    assert status == 2
    assert err.startswith(line)
    assert "usage:" not in err
    assert all(each.startswith("imaging") for each in err.splitlines())


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in ("serve", "doctor")])
def test_the_dicom_port_is_named_by_every_command_that_has_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    status, err = output(capsys, command, "--port", "104")
    assert (status, "--port: unknown; the DICOM port is --dicom-port of `imaging serve`" in err) == (2, True)


def test_keys_and_variables_are_answered_alike() -> None:
    keys = ["web_port", "dicom_port", "dicom_host", "home"]
    assert nearest("port", keys) == "; did you mean dicom_port?"
    assert nearest("host", keys) == "; did you mean dicom_host?"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_a_command_as_the_command_does(capsys: pytest.CaptureFixture[str], command: str) -> None:
    texts = []
    for arguments in (["help", command], [command, "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith(f"usage: imaging {command}")


def test_a_reader_that_has_seen_enough_is_no_error_to_complain_of() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "imaging", "models", "show", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
