"""Results in the spool: durable under their digest before anything names them, and gone where nothing does."""

import errno
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from imaging.spool import FolderSpool, Spool, SpoolFull


@pytest.fixture
def spool(tmp_path: Path) -> FolderSpool:
    return FolderSpool(tmp_path / "spool")


def names(spool: FolderSpool) -> list[str]:
    return sorted(each.name for each in spool.path("out").iterdir())


def test_what_is_put_is_read_again_and_its_owners_alone(spool: Spool, tmp_path: Path) -> None:
    one, other = spool.put([b"one", b"other"])
    assert (one.digest, one.size) == (sha256(b"one").hexdigest(), 3)
    with spool.open(other.key) as file:
        assert file.read() == b"other"
    assert (tmp_path / "spool" / one.key).stat().st_mode & 0o777 == 0o600


def test_the_same_content_is_one_file_however_often_it_is_put(spool: FolderSpool) -> None:
    assert spool.put([b"one"]) == spool.put([b"one"])
    assert len(names(spool)) == 1


def test_data_is_synced_before_it_gets_its_name_and_the_names_once_for_all(
    spool: FolderSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*given: Any) -> Any:
            made = act(*given)
            done.append(what)
            return made

        return acted

    monkeypatch.setattr(os, "fdatasync", noted("data", os.fdatasync))
    monkeypatch.setattr(os, "fsync", noted("folder", os.fsync))
    monkeypatch.setattr(Path, "rename", noted("name", Path.rename))
    spool.put([b"one", b"other"])
    assert done == ["data", "name", "data", "name", "folder"]


def test_a_disk_that_refuses_leaves_nothing_half_written(spool: FolderSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(SpoolFull, match="No space left"):
        spool.put([b"one"])
    assert names(spool) == []


def test_sweeping_leaves_what_is_known_and_nothing_else(spool: FolderSpool) -> None:
    known, _ = spool.put([b"known", b"of a transaction that never was"])
    spool.path("out/half.part").touch()
    assert spool.sweep({known.key}) == 2
    assert names(spool) == [f"{known.digest}.dcm"]


def test_a_result_that_is_removed_leaves_the_folder_for_the_next(spool: FolderSpool) -> None:
    (only,) = spool.put([b"one"])
    spool.remove([only.key])
    spool.remove([only.key])
    assert names(spool) == []
    assert spool.put([b"one"]) == [only]
