"""Threads come from what a process may use, not from what the machine has."""

from pathlib import Path

import pytest

from imaging.roles.cores import cores, cores_within

SERVICE = "0::/system.slice/imaging.service\n"
FIRST_VERSION = "12:pids:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/docker/1\n"


def written(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("1600000 100000", 8)],
)
def test_a_quota_bounds_the_cores_and_a_part_of_one_counts_whole(tmp_path: Path, text: str, wanted: int) -> None:
    written(tmp_path / "system.slice" / "imaging.service", cpu__max=text)
    assert cores_within(8, SERVICE, tmp_path) == wanted


def test_the_least_quota_of_the_groups_that_a_group_lies_in_counts(tmp_path: Path) -> None:
    written(tmp_path / "system.slice" / "imaging.service", cpu__max="400000 100000")
    written(tmp_path / "system.slice", cpu__max="300000 100000")
    assert cores_within(8, SERVICE, tmp_path) == 3


def test_in_a_container_its_own_group_is_the_root_that_it_sees(tmp_path: Path) -> None:
    written(tmp_path, cpu__max="200000 100000")
    for groups in ("0::/\n", "0::/docker/of-the-host\n", "0::/../..\n"):
        assert cores_within(8, groups, tmp_path) == 2


@pytest.mark.parametrize(("quota", "wanted"), [("-1", 8), ("200000", 2)])
def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path, quota: str, wanted: int) -> None:
    written(tmp_path / "cpu" / "docker" / "1", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert cores_within(8, FIRST_VERSION, tmp_path) == wanted


def test_without_control_groups_affinity_decides(tmp_path: Path) -> None:
    assert cores_within(3, "", tmp_path) == 3
    assert cores_within(3, "nonsense\n", tmp_path / "none") == 3
    assert cores() >= 1
