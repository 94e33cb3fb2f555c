"""The measurement itself: that it runs, adds up, and counts what went wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import model, studies
from benchmarks.end_to_end import stages_of
from benchmarks.figures import percentile

ROOT = Path(__file__).resolve().parents[2]


def test_three_small_films_are_answered_and_their_stages_add_up_to_the_latency(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model.write(tmp_path, model.TINY_BLOCKS)
    command = [sys.executable, "-m", "benchmarks.end_to_end", "--models", str(tmp_path), "--studies", "3", "--json"]
    command += ["--modes", "serial,full", "--size", "256x256", "--idle", "0", "--limit-rounds", "1", "--limit-s", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["limit"]["images_per_s"] > 0
    assert value["node"]["second_start_s"] > 0
    assert value["node"]["memory_mib"] > 0
    for each in value["modes"].values():
        assert (each["studies"], each["lost"], each["duplicates"], each["errors"]) == (3, 0, 0, {})
        assert each["ratio_to_limit"] > 0
        assert sum(each["stages_ms"].values()) == pytest.approx(1000 * each["mean_s"], abs=3)


def test_stages_are_read_from_a_studys_story() -> None:
    story = {
        "revisions": [{"settled_at": "2026-11-24T08:00:00.100+00:00"}],
        "results": [{"ended_at": "2026-11-24T08:00:00.400+00:00", "timings_ms": {"infer": 200.0, "report": 5.0}}],
    }
    began = 1795507200.0
    stages = stages_of(story, began, began + 0.450)
    assert stages == pytest.approx({"settle": 100, "wait": 95, "infer": 200, "report": 5, "deliver": 50}, abs=0.1)


def test_copies_of_a_study_differ_in_their_identifiers_and_in_nothing_else() -> None:
    template = studies.film(64, 64)
    one, other = (template.copy() for _ in range(2))
    assert one.study_instance_uid != other.study_instance_uid
    (first,), (second,) = one.requests, other.requests
    assert first.sop_instance_uid != second.sop_instance_uid
    assert len(first.data) == len(second.data)
    assert one.study_instance_uid.encode() in bytes(first.data)
    differing = sum(a != b for a, b in zip(first.data, second.data, strict=True))
    assert 0 < differing < 250


def test_percentiles_are_nearest_rank() -> None:
    values = [float(each) for each in range(1, 41)]
    assert percentile(values, 0.5) == 20
    assert percentile(values, 0.99) == 40
    assert percentile([], 0.5) is None
