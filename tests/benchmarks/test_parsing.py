"""The demonstration and the benchmarks are asked as the commands are: wrongly is exit 2, with all faults."""

import subprocess
import sys
from pathlib import Path

import pytest

from imaging.cli.parsing import Parser

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("module", "arguments", "faults"),
    [
        ("demo", ["--studies", "none", "--models", "/none"], ["--studies 'none'", "--models /none: no such"]),
        ("end_to_end", ["--rate", "0", "--models", "/none"], ["--rate '0'", "--models /none: no such"]),
        ("ingest", ["--rounds", "0", "--dir", "/none"], ["--rounds '0'", "--dir /none: no such"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_unknown_option_is_refused_with_every_other_fault(
    module: str, arguments: list[str], faults: list[str]
) -> None:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--onse", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    for each in ("--onse: unknown", *faults):
        assert each in done.stderr


@pytest.mark.parametrize("module", ["demo", "end_to_end", "ingest"])
def test_an_unknown_option_alone_is_refused_too(module: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--onse"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=20)
    assert (done.returncode, "--onse: unknown" in done.stderr) == (2, True)


def test_nothing_asked_is_no_fault() -> None:
    assert Parser("demo", None).parse([]).faults == []
