"""What a newcomer sees first: `make demo`."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from films import a_film
from peers import eventually

from benchmarks.demo import as_table

DEMO = [sys.executable, "-m", "benchmarks.demo"]
ROOT = Path(__file__).resolve().parents[2]


def demo(*options: str) -> Any:
    """What `--once --json` prints."""
    done = subprocess.run([*DEMO, "--once", "--json", *options], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_drawn_study_is_answered_once_and_told_beside_its_truth() -> None:
    value = demo("--studies", "3")
    assert [each["modality"] for each in value["studies"]] == ["CR", "CT", "MR"]
    assert [each["truth"] for each in value["studies"]] == ["effusion", "bleed", "lesion"]
    assert value["lost"] == value["duplicates"] == 0
    assert value["url"].startswith("http://127.0.0.1:")
    film = value["studies"][0]
    assert film["seconds"] > 0
    assert film["flag"] == "urgent"
    assert value["latency_s"]["p50"] <= value["latency_s"]["p95"]
    effusion = next(each for each in film["findings"] if each["code"] == "60046008")
    assert effusion == {
        "code": "60046008",
        "scheme": "SCT",
        "meaning": "Pleural effusion",
        "present": True,
        "probability": pytest.approx(0.8, abs=0.2),
    }
    for each in value["studies"]:
        assert set(each) == {"study_uid", "modality", "truth", "flag", "findings", "reason", "seconds"}
        assert (each["reason"] is None) == bool(each["findings"])


def test_a_folder_of_files_is_sent_in_place_of_drawn_studies_and_ctrl_c_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    data, scratch, value = tmp_path / "data", tmp_path / "scratch", tmp_path / "said"
    data.mkdir()
    scratch.mkdir()
    (data / "film.dcm").write_bytes(a_film(2, "demo")[1])
    (data / "notes.txt").write_text("no DICOM")
    with value.open("w") as lines, (tmp_path / "progress").open("w") as progress:
        command = [*DEMO, "--json", "--data", str(data)]
        process = subprocess.Popen(
            command,
            stdout=lines,
            stderr=progress,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(scratch)},
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # whoever runs tests may ignore it
        )
    eventually(
        lambda: process.poll() is not None or "until Ctrl-C" in (tmp_path / "progress").read_text(),
        what="the demonstration's last word",
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    (study,) = json.loads(value.read_text())["studies"]
    assert study["modality"] == "DX"
    assert study["truth"] is None
    assert study["seconds"] is not None
    assert not list(scratch.glob("imaging-*"))
    assert not [each for each in _command_lines() if str(scratch) in each]


def test_what_is_asked_wrongly_is_said_at_once_and_starts_nothing() -> None:
    done = subprocess.run(
        [*DEMO, "--studies", "none", "--data", "/nowhere"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "--studies 'none'" in done.stderr
    assert "--data /nowhere" in done.stderr


def test_the_table_has_a_line_for_each_finding_that_is_present() -> None:
    finding = {"code": "1", "scheme": "SCT", "meaning": "Effusion", "present": True, "probability": 0.9}
    film = {
        "study_uid": "2.25.123456789012345",
        "modality": "DX",
        "truth": "effusion",
        "flag": "urgent",
        "seconds": 0.2,
    }
    film |= {"findings": [finding, finding | {"meaning": "Mass"}, finding | {"present": False}], "reason": None}
    head = film | {"modality": "CT", "flag": None, "findings": [], "reason": "no-model", "seconds": None}
    results = {
        "studies": [film, head],
        "latency_s": {"p50": 0.2, "p95": 0.2},
        "lost": 0,
        "duplicates": 0,
        "url": "http://x",
    }
    lines = [line.split() for line in as_table(results).splitlines()]
    assert ["...456789012345", "DX", "effusion", "Effusion", "0.90", "urgent", "0.20"] in lines
    assert ["Mass", "0.90"] in lines
    assert ["...456789012345", "CT", "effusion", "not", "analysed:", "no-model", "-", "-", "no", "report"] in lines


def _command_lines() -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(each.read_text())
        except OSError:  # it ended meanwhile
            continue
    return found
