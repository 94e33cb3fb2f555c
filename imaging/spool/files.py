"""What writing to the spool's disk needs: refusals as one error, and folders whose names are durable."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SpoolFull(Exception):
    """The disk is below its watermark, or refuses to be written to; the text says which, for the operator."""


@contextmanager
def refused_by_the_disk() -> Iterator[None]:
    """Turns what the disk refuses into SpoolFull."""
    try:
        yield
    except OSError as error:
        raise SpoolFull(f"the spool cannot be written: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """When this returns, the names in the folder are on disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
