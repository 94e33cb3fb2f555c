"""The spool in a local folder."""

import hashlib
import mmap
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from imaging import crash
from imaging.domain.disk_space import DiskSpace
from imaging.domain.header import Header
from imaging.spool.files import SpoolFull, refused_by_the_disk, sync_folder
from imaging.spool.out import OUT, Out
from imaging.spool.protocol import Stored

Buffer = bytes | bytearray | memoryview

_MAX_FOLDERS: Final = 100_000
"""That are known to be on disk."""


@dataclass(frozen=True)
class Incoming:
    """A whole object under `incoming/` that has no row yet, or whose row is not known to be committed."""

    path: Path
    size: int

    @property
    def name(self) -> str:
        """Its own name, drawn when it came."""
        return self.path.stem


def key_of(header: Header, name: str, *, is_apart: bool = False) -> str:
    """Where an object lies, relative to the spool; `is_apart`: where it is kept apart, since another holds its UID.

    The parts of a key are digests and chance, never text of the wire. `name`: that of the object under `incoming/`,
    so that no key is ever used twice: a file may be deleted once its row is gone, whatever comes again meanwhile.
    """
    study, series, instance = (
        hashlib.sha256(uid.encode()).hexdigest()[:32]
        for uid in (header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid)
    )
    return f"{'apart' if is_apart else 'studies'}/{study[:2]}/{study}/{series[:16]}/{instance}-{name[:16]}.dcm"


MAX_SPARE_INODES: Final = 10_000
INODE_FRACTION: Final = 10
"""A tenth of a disk's inodes is left free, or 10,000 where that is less: ledger, models and reports need some."""


def disk_space_on(folder: Path, reserve_bytes: int) -> DiskSpace:
    """The room on a folder's disk. So many bytes are to be left free, or 5 % of them where that is less."""
    usage = os.statvfs(folder)
    return DiskSpace(
        free=usage.f_bavail * usage.f_frsize,
        reserve=min(reserve_bytes, usage.f_blocks * usage.f_frsize // 20),
        free_inodes=usage.f_favail if usage.f_files else None,
        reserve_inodes=min(MAX_SPARE_INODES, usage.f_files // INODE_FRACTION),
    )


class FolderSpool:
    """Objects as files under `root`: a `Spool`, and more for what is received.

    `reserve_bytes`: what is left free of the disk; results are written all the same.
    """

    def __init__(self, root: Path, reserve_bytes: int = 2 << 30) -> None:
        self._root, self._reserve_bytes = root, reserve_bytes
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._incoming_fd = os.open(self._incoming, os.O_RDONLY | os.O_DIRECTORY)
        self._out = Out(root)
        self._synced: set[Path] = set()  # folders whose own names are on disk, or just being synced
        for folder in (root, root.parent):  # a new folder's own name has to be on disk as well
            sync_folder(folder)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self._root / key

    def put(self, objects: Sequence[bytes]) -> list[Stored]:
        """As `Spool` says."""
        return self._out.put(objects)

    def open(self, key: str) -> BinaryIO:
        """As `Spool` says."""
        return self.path(key).open("rb")

    def sweep(self, known: Collection[str]) -> int:
        """As `Spool` says."""
        return self._out.sweep(known)

    def drop_from_cache(self, key: str) -> None:
        """Says that an object is not read again soon: its pages in memory are free for what comes next."""
        with suppress(OSError), self.path(key).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def check_disk_space(self, size: int) -> None:
        """Raises SpoolFull where writing an object of `size` bytes would go below the watermark."""
        space = disk_space_on(self._root, self._reserve_bytes)
        if space.free - size < space.reserve or space.lacks_inodes:
            raise SpoolFull(str(space))

    def make_folder(self, key: str) -> None:
        """Makes the folder that a key lies in, so that its name needs no room any more. Raises SpoolFull."""
        try:
            self._make(self.path(key).parent)
        except OSError as error:
            raise SpoolFull(f"the spool cannot be written: {error.strerror}") from error

    def _make(self, folder: Path) -> None:
        """A folder that a purge took away is a new one: its name is not on disk before it is synced again."""
        if not folder.is_dir():
            self._synced.discard(folder)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self) -> "Part":
        """An object to be written under `incoming/`. Raises SpoolFull."""
        return Part(self._incoming / f"{secrets.token_hex(16)}.part")

    def write(self, chunks: Sequence[Buffer]) -> Incoming:
        """Writes a whole object under `incoming/` (`Part.end`). Raises SpoolFull where the disk refuses."""
        with self.begin() as part:
            for chunk in chunks:
                part.write(chunk)
            return part.end()

    def sync_names(self) -> None:
        """When this returns, the names of all that ended before are on disk. Raises OSError."""
        os.fsync(self._incoming_fd)
        crash.point("spool-name-synced")

    def link(self, incoming: Incoming, key: str) -> None:
        """Gives a whole object its final name; a name that exists stays as it is."""
        final = self.path(key)
        for is_last in (False, True):
            self._make(final.parent)
            try:
                os.link(incoming.path, final)
            except FileExistsError:
                return
            except FileNotFoundError:  # a purge took the empty folder away just now
                if is_last:
                    raise
            else:
                return

    def forget(self, incoming: Sequence[tuple[Incoming, str | None]]) -> None:
        """Drops the first names of linked objects, once the final ones are on disk; None: there is no final one."""
        folders = {self.path(key).parent for _, key in incoming if key}
        above = {parent for each in folders - self._synced for parent in self._parents(each)}
        if len(self._synced) > _MAX_FOLDERS:
            self._synced.clear()
        self._synced |= folders  # before they are synced: one that is made anew meanwhile is taken out again
        try:
            for folder in sorted(folders | above, key=lambda each: len(each.parts), reverse=True):
                sync_folder(folder)
        except OSError:
            self._synced -= folders
            raise
        crash.point("final-names-synced")
        for each, _ in incoming:
            each.path.unlink(missing_ok=True)

    def left_over(self) -> Iterator[Incoming]:
        """What a crash left under `incoming/`, whole. Only to be asked before receiving."""
        for path in sorted(self._incoming.glob("*.dcm")):
            yield Incoming(path, path.stat().st_size)

    def remove_halves(self) -> int:
        """Removes what was not yet whole at a crash, and so never acknowledged. Only to be asked before receiving."""
        halves = list(self._incoming.glob("*.part"))
        for path in halves:
            path.unlink(missing_ok=True)
        return len(halves)

    def remove(self, keys: Collection[str]) -> None:
        """Removes objects that nothing needs any more, and the folders of their series and studies once empty.

        When this returns, no power failure brings them back. Raises OSError.
        """
        paths = [self.path(key) for key in keys]
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths if path.parent.name != OUT}:
            with suppress(OSError):  # others lie there still
                folder.rmdir()
                folder.parent.rmdir()
        left = {next(each for each in self._parents(path) if each.is_dir()) for path in paths}
        for folder in sorted(left):
            with suppress(FileNotFoundError):  # taken away with its last object just now, by another purge
                sync_folder(folder)

    def _parents(self, path: Path) -> Iterator[Path]:
        for parent in path.parents:
            yield parent
            if parent == self._root:
                return


class Part:
    """An object that is being written; as a context manager it is dropped at the end, unless it was ended.

    `name`: its own, drawn when it came.
    """

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path
        self.name = path.stem
        self._size = 0
        with refused_by_the_disk():
            self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def write(self, chunk: Buffer) -> None:
        """Writes on. Raises SpoolFull."""
        with refused_by_the_disk(), memoryview(chunk) as view:
            at = 0
            while at < len(view):
                at += os.write(self._fd, view[at:])
        self._size += at

    def view(self, at: int) -> memoryview:
        """What was written, from this byte on, without being held in memory."""
        return memoryview(mmap.mmap(self._fd, self._size, access=mmap.ACCESS_READ))[at:]

    def end(self) -> Incoming:
        """When this returns, the object's data is on disk, and its name after `sync_names`. Raises SpoolFull."""
        assert self._path is not None
        with refused_by_the_disk():
            os.fdatasync(self._fd)
            crash.point("spool-data-synced")
            whole = self._path.with_suffix(".dcm")
            self._path.rename(whole)
        self._path = None
        return Incoming(whole, self._size)
