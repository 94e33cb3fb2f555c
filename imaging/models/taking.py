"""Taking a model's files into a folder of their own: whole or not at all, and nothing from outside the place named.

They are copied into a hidden folder beside the last one, which gets its name once all is there and right.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

_AT_ONCE: Final = 1 << 20
"""Bytes that are copied and hashed at once."""
MOST_FILES: Final = 10_000
"""A folder with more is no model's."""

Progress = Callable[[int, int], None]
"""Called with bytes that are copied, and all that there are."""


class NotTaken(Exception):
    """Why files cannot be taken, in one line that names them."""


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder and of those below it, by their names from there. Hidden ones are left out.

    A link counts as the file that it leads to. Raises NotTaken for one that leads out of the folder, to a folder or to
    nothing, and for what is neither file nor folder; OSError.
    """
    root, found = folder.resolve(), dict[str, Path]()
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in (*folders, *sorted(each for each in files if not each.startswith("."))):
            path = Path(place, name)
            if name in folders and not path.is_symlink():
                continue
            found[path.relative_to(folder).as_posix()] = _file(path, root)
            if len(found) > MOST_FILES:
                raise NotTaken(f"{folder}: has more than {MOST_FILES:,} files: name the folder of one model")
    return found


def _file(path: Path, root: Path) -> Path:
    """The regular file that a path is, or leads to within `root`."""
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (FileNotFoundError, RuntimeError):
        raise NotTaken(f"{path}: is a link to nothing: remove it, or put the file in its place") from None
    if not real.is_relative_to(root):
        raise NotTaken(f"{path}: is a link that leads out of {root}: put the file itself in its place")
    if path.is_symlink() and stat.S_ISDIR(mode):
        raise NotTaken(f"{path}: is a link to a folder: put the folder itself in its place")
    if not stat.S_ISREG(mode):
        raise NotTaken(f"{path}: is neither a file nor a folder: remove it")
    return real


def _raise(error: OSError) -> None:
    raise error


@contextlib.contextmanager
def taken(files: Mapping[str, Path], target: Path, progress: Progress) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """The files copied to a folder, and their digests; at the end of the context it is named `target`.

    Where the context ends by an exception nothing is left. Raises NotTaken: `target` is there, or came meanwhile;
    OSError.
    """
    refuse_there(target)
    is_new = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    part.mkdir(mode=0o700)
    try:
        # one level further down than models are looked for, so that a copy that was cut off is none
        made = part / target.name
        made.mkdir()
        yield made, _copied(files, made, progress)
        _to_disk(made)
        refuse_there(target)
        made.rename(target)
        _to_disk(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty: the model is there
                target.parent.rmdir()


def refuse_there(target: Path) -> None:
    """Raises NotTaken where something has that name already: nothing is ever overwritten."""
    if os.path.lexists(target):
        raise NotTaken(f"{target}: is there already: choose another --id or --to, or remove it first")


def _copied(files: Mapping[str, Path], folder: Path, progress: Progress) -> dict[str, str]:
    total, done, digests = sum(each.stat().st_size for each in files.values()), 0, dict[str, str]()
    for name, source in files.items():
        into = folder / name
        into.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with source.open("rb") as file, into.open("xb") as copy:
            while chunk := file.read(_AT_ONCE):
                digest.update(chunk)
                copy.write(chunk)
                done += len(chunk)
                progress(done, total)
            copy.flush()
            os.fsync(copy.fileno())
        digests[name] = digest.hexdigest()
    return digests


def _to_disk(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
