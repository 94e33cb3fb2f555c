"""What was hashed is what is loaded: the weights of a card are copied, hashed on the way, and loaded from the copy.

A node keeps its copies, read-only, in `home/models/DIGEST`; who has no home loads from a folder that is gone again
once the engine has its network. A file that changes beside a card that is in use changes nothing that is loaded.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from imaging.domain.card import Card
from imaging.domain.faults import PublicError

_AT_ONCE: Final = 1 << 20
"""Bytes that are copied and hashed at once."""
_OURS: Final = re.compile(r"[0-9a-f]{64}(\.[0-9a-f]{8}\.(part|changed))?")
"""What copies are called. A site may keep its models in the same folder: these are not ours to remove."""


def digest_of(path: Path, into: Path | None = None) -> str:
    """SHA-256 of a file, in hex; copied to `into` as it is hashed. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file, contextlib.ExitStack() as opened:
        copy = opened.enter_context(into.open("xb")) if into is not None else None
        while chunk := file.read(_AT_ONCE):
            digest.update(chunk)
            if copy is not None:
                copy.write(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def copied(card: Card, within: Path | None = None) -> Iterator[Path]:
    """A folder with the card's weights and nothing else: the kept one, or one of its own until the end. Raises
    PublicError.

    `within`: the folder in which that is made; None: where the system has its temporary ones.
    """
    if card.kept is not None:
        yield card.kept
        return
    with contextlib.ExitStack() as opened:
        try:
            made = TemporaryDirectory(prefix="imaging-", dir=within, ignore_cleanup_errors=True)
            folder = Path(opened.enter_context(made))
            _copy(card, folder)
        except OSError as error:
            raise _cannot_copy("a temporary folder", error) from error
        yield folder


class Copies:
    """The copies of a home's workers. Any number of them may use it at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._in_use = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def begin(self, wanted: Collection[Card]) -> None:
        """Removes what no card has now, unless another worker lives, which may be about to load it."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            digests = {card.digest for card in wanted}
            for each in self._folder.iterdir():
                if _OURS.fullmatch(each.name) and each.name not in digests and not (each / "card.toml").exists():
                    _remove(each)
        fcntl.flock(self._in_use, fcntl.LOCK_SH)  # held until this process ends

    def kept(self, card: Card) -> Card:
        """The card with its weights kept, hashed now. Raises PublicError: they are not those that the card was read
        with.
        """
        final = self._folder / card.digest
        try:
            with (self._folder / "lock").open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)  # one worker copies, the others find it done
                if not _holds(final, card):
                    self._make(card, final)
        except OSError as error:
            raise _cannot_copy(str(self._folder), error) from error
        return replace(card, kept=final)

    def _make(self, card: Card, final: Path) -> None:
        """The copy under its last name only once it is whole: a worker may die at any time."""
        part = self._folder / f"{card.digest}.{secrets.token_hex(4)}.part"
        part.mkdir(mode=0o700)
        try:
            _copy(card, part)
            for folder in (part, *(each for each in part.rglob("*") if each.is_dir())):
                folder.chmod(0o500)
            if final.exists():
                final.rename(part.with_suffix(".changed"))  # others may have it loaded; it goes at a later start
            part.rename(final)
        except BaseException:
            _remove(part)
            raise

    def close(self) -> None:
        """Others may remove what only this one used."""
        os.close(self._in_use)


def _copy(card: Card, folder: Path) -> None:
    for file in card.engine.files:
        into = folder / file.name
        into.parent.mkdir(parents=True, exist_ok=True)
        found = digest_of(card.folder / file.name, into)
        into.chmod(0o400)
        if found != file.sha256:
            raise PublicError(
                f"{file.name} has changed since its card was read: its digest is {found}, not {file.sha256}"
            )


def _holds(folder: Path, card: Card) -> bool:
    """Whether a folder holds the card's weights, byte for byte, and nothing else."""
    there = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir()}
    wanted = {file.name: file.sha256 for file in card.engine.files}
    return there == set(wanted) and all(digest_of(folder / name) == sha256 for name, sha256 in wanted.items())


def _remove(folder: Path) -> None:
    """A folder that may be read-only. What cannot be removed stays until a later start."""
    for each in (folder, *(inner for inner in folder.rglob("*") if inner.is_dir())):
        with contextlib.suppress(OSError):
            each.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _cannot_copy(where: str, error: OSError) -> PublicError:
    return PublicError(f"the weights cannot be copied to {where}: {error.strerror or type(error).__name__}")
