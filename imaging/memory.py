"""What a process may hold, and giving back what it does not use."""

import ctypes
import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_limit(megabytes: float) -> Iterator[None]:
    """Inside, an allocation that would take the process beyond it fails, and the study that asked ends as `memory`."""
    before, maximum = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(megabytes) << 20
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if maximum == resource.RLIM_INFINITY else min(limit, maximum), maximum)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, maximum))


@contextmanager
def importing() -> Iterator[None]:
    """Inside, modules are imported. They stay, so they are not looked through for garbage: not meanwhile, which takes a
    tenth of the time that importing takes, and never later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def trim_memory() -> None:
    """Returns to the system what a burst took: cycles hold buffers of ended associations, glibc keeps freed memory."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none, and need none
    if trim is not None:
        trim(0)
