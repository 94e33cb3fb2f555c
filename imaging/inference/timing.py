"""How long the stages of a study's way took, in milliseconds by name."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the stage's milliseconds."""
    began = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + 1000 * (time.perf_counter() - began)


def rounded(timings: Mapping[str, float]) -> dict[str, float]:
    """The milliseconds of each stage, to a hundredth."""
    return {stage: round(spent, 2) for stage, spent in timings.items()}
