"""A worker's memory follows what the machine has and what a container or systemd leaves of it."""

from pathlib import Path

import pytest

from imaging.roles.machine_memory import MAX_MB, MIN_MB, fraction_of, memory_mb, memory_within, of_a_worker
from imaging.settings import Settings, load
from imaging.supervise import child_config

GIB = 1 << 30
SERVICE = "0::/system.slice/imaging.service\n"


def written(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_the_least_limit_of_the_groups_counts(tmp_path: Path) -> None:
    assert memory_within(8 * GIB, SERVICE, tmp_path) == 8 * GIB
    written(tmp_path / "system.slice" / "imaging.service", "memory.max", "max\n")
    assert memory_within(8 * GIB, SERVICE, tmp_path) == 8 * GIB
    written(tmp_path / "system.slice", "memory.max", f"{3 * GIB}\n")
    assert memory_within(8 * GIB, SERVICE, tmp_path) == 3 * GIB


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    written(tmp_path / "memory" / "docker" / "1", "memory.limit_in_bytes", f"{2 * GIB}\n")
    assert memory_within(8 * GIB, "4:memory:/docker/1\n0::/docker/1\n", tmp_path) == 2 * GIB
    written(tmp_path / "memory" / "docker" / "1", "memory.limit_in_bytes", "9223372036854771712\n")  # no limit
    assert memory_within(8 * GIB, "4:memory:/docker/1\n", tmp_path) == 8 * GIB


@pytest.mark.parametrize(
    ("machine_mb", "workers", "wanted"),
    [
        (64_000, 1, MAX_MB),
        (8_000, 1, MAX_MB),
        (4_000, 1, 3_000),
        (4_000, 2, 1_500),
        (16_000, 4, 3_000),
        (100, 1, MIN_MB),
    ],
)
def test_workers_share_three_quarters_of_the_machine_and_none_takes_more_than_it_needs(
    machine_mb: float, workers: int, wanted: float
) -> None:
    assert fraction_of(machine_mb, workers) == wanted


def test_a_setting_is_stronger_than_the_machine(tmp_path: Path) -> None:
    assert child_config("worker", 0, Settings(), tmp_path)["memory_mb"] == of_a_worker(1)
    assert child_config("worker", 0, load({"worker_memory_mb": "300"}), tmp_path)["memory_mb"] == 300
    assert memory_mb() > 0
