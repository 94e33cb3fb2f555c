"""How a run sends: one study after the other's answer, as fast as it is taken, or at a rate."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.studies import Copy, Template
from benchmarks.wire import Association, WireError
from imaging.domain.peers import Address

SERIAL, FULL, POISSON = "serial", "full", "poisson"
MODES: Final = (SERIAL, FULL, POISSON)
_SEED: Final = 20


@dataclass(frozen=True)
class Sent:
    """A study that was sent. Times are of `time.time()`; `acknowledged`: its last C-STORE response.

    `error`: what went wrong, or empty. `late_s`: how much later than planned it was begun.
    """

    study_instance_uid: str
    began: float
    acknowledged: float
    error: str
    late_s: float


def send_all(
    mode: str,
    template: Template,
    count: int,
    peer: Address,
    associations: int,
    rate: float,
    await_answer: Callable[[str], object],
) -> list[Sent]:
    """Sends `count` copies, each over an association of its own, at most `associations` at a time.

    `await_answer(study_instance_uid)` is called after each study of a serial run. `rate`: studies a second on average,
    at times that are the same in each Poisson run.
    """
    due = _schedule(mode, count, rate)
    numbers, lock = iter(range(count)), threading.Lock()
    sent: list[Sent] = []
    began = time.time()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            study = template.copy()
            late = _wait_until(began + due[number])
            sent.append(_send(study, template.contexts, peer, late))
            if mode == SERIAL and not sent[-1].error:
                await_answer(study.study_instance_uid)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(1 if mode == SERIAL else associations)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sent


def _schedule(mode: str, count: int, rate: float) -> list[float]:
    """Seconds after the start at which each study is due."""
    if mode != POISSON:
        return [0.0] * count
    draw, at, due = random.Random(_SEED), 0.0, []
    for _ in range(count):
        due.append(at)
        at += draw.expovariate(rate)
    return due


def _wait_until(moment: float) -> float:
    """Waits; returns how late it is already."""
    left = moment - time.time()
    if left > 0:
        time.sleep(left)
    return max(0.0, -left)


def _send(study: Copy, contexts: Sequence[tuple[str, str]], peer: Address, late: float) -> Sent:
    began = time.time()
    try:
        with Association(peer, contexts) as association:
            statuses = [association.store(each) for each in study.requests]
            acknowledged = time.time()
        error = next((f"C-STORE status 0x{each:04X}" for each in statuses if each), "")
    except (WireError, OSError) as wrong:
        acknowledged, error = time.time(), str(wrong)
    return Sent(study.study_instance_uid, began, acknowledged, error, late)
