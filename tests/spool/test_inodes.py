"""Inodes are room as bytes are: a disk that runs out of names refuses objects before anything else fails."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging.domain.disk_space import DiskSpace
from imaging.domain.header import Header
from imaging.spool import FolderSpool, SpoolFull, disk_space_on, folder
from imaging.spool.folder import key_of

RESERVE = 1 << 20


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB and 100 inodes, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=100", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("the right to mount a tmpfs is missing")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def keep(spool: FolderSpool, number: int) -> str:
    """Takes an object of a study of its own, as the node does; its key."""
    uids = ("1.2.840.10008.5.1.4.1.1.1.1", f"1.2.{number}.1.1", f"1.2.{number}", f"1.2.{number}.1")
    spool.check_disk_space(10)
    incoming = spool.write([b"0123456789"])
    key = key_of(Header(*uids, "1.2.840.10008.1.2.1"), incoming.name)
    spool.make_folder(key)
    spool.link(incoming, key)
    spool.forget([(incoming, key)])
    return key


def test_objects_are_refused_while_inodes_are_left_for_the_ledger_and_taken_again_after_a_purge(
    few_inodes: Path,
) -> None:
    spool = FolderSpool(few_inodes / "spool", RESERVE)
    keys: list[str] = []
    while not disk_space_on(few_inodes, RESERVE).is_full:
        keys.append(keep(spool, len(keys)))
    with pytest.raises(SpoolFull, match=r"1\d inodes free, reserve 10"):
        keep(spool, len(keys))
    space = disk_space_on(few_inodes, RESERVE)
    assert (space.is_full, space.lacks_inodes, space.lacks_bytes) == (True, True, False)
    assert len(keys) > 15
    (few_inodes / "ledger.sqlite-wal").touch()  # what else the home needs can still be made
    spool.remove(keys)
    assert not disk_space_on(few_inodes, RESERVE).is_full
    assert list((few_inodes / "spool" / "studies").glob("*/*")) == []
    assert spool.path(keep(spool, 7)).exists()


def test_a_folder_that_a_purge_took_away_is_synced_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = FolderSpool(tmp_path / "spool", 0)
    synced: list[Path] = []
    monkeypatch.setattr(folder, "sync_folder", synced.append)
    key = keep(spool, 1)
    its_own = [tmp_path / "spool" / each for each in Path(key).parents]
    assert set(its_own) == set(synced)
    synced.clear()
    again = keep(spool, 1)
    assert again != key
    assert synced == its_own[:1]
    synced.clear()
    spool.remove([key, again])
    assert synced == [tmp_path / "spool" / "studies" / Path(key).parts[1]], "what is left of where they lay"
    synced.clear()
    keep(spool, 1)
    assert set(its_own) == set(synced)


def test_a_file_system_without_a_fixed_number_of_inodes_never_lacks_them() -> None:
    assert not DiskSpace(free=10 << 20, reserve=1 << 20).is_full
    assert str(DiskSpace(free=10 << 20, reserve=1 << 20)) == "10 MiB free, reserve 1 MiB"
