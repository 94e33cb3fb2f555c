"""A small PACS: it takes every object, keeps the structured reports, and knows when each came."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from benchmarks.wire import IMPLICIT_LITTLE, Acceptor
from imaging.encoding.part10 import StoreRequest

STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
"""What the UIDs of the SR Storage SOP classes begin with (PS3.4 B.5)."""
_WANTED = [Tag(each) for each in ("StudyInstanceUID", "SeriesInstanceUID", "PredecessorDocumentsSequence")]


@dataclass(frozen=True)
class Arrival:
    """A structured report that came. `at`: `time.time()` of its last byte."""

    at: float
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    has_predecessor: bool


class Pacs:
    """Listens on loopback until `close`; port 0 takes any free one."""

    def __init__(self, port: int = 0) -> None:
        self.reports: dict[str, list[Arrival]] = {}
        """By Study Instance UID."""
        self._changed = threading.Condition()
        self._acceptor = Acceptor(port, self._on_store)
        self.address = f"PACS@127.0.0.1:{self._acceptor.port}"

    def close(self) -> None:
        self._acceptor.close()

    def wait(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Whether `enough()` came true, looked at after each arrival, for at most `seconds`."""
        with self._changed:
            return self._changed.wait_for(enough, seconds)

    @property
    def duplicates(self) -> int:
        """Reports that answer for the second time: under a UID that came, or in a series without a predecessor.

        A series holds one model's answers for one study, and a later answer names the one that it replaces.
        """
        arrivals = [each for of_study in self.reports.values() for each in of_study]
        uids = Counter(each.sop_instance_uid for each in arrivals)
        distinct = {each.sop_instance_uid: each for each in arrivals}.values()
        series = Counter(
            (each.study_instance_uid, each.series_instance_uid) for each in distinct if not each.has_predecessor
        )
        return sum(count - 1 for count in (*uids.values(), *series.values()))

    def _on_store(self, at: float, request: StoreRequest) -> None:
        if not request.sop_class_uid.startswith(STRUCTURED_REPORTS):
            return
        data = read_dataset(
            BytesIO(request.data), request.transfer_syntax_uid == IMPLICIT_LITTLE, True, specific_tags=_WANTED
        )
        arrival = Arrival(
            at,
            str(data.StudyInstanceUID),
            str(data.SeriesInstanceUID),
            request.sop_instance_uid,
            "PredecessorDocumentsSequence" in data,
        )
        with self._changed:
            self.reports.setdefault(arrival.study_instance_uid, []).append(arrival)
            self._changed.notify_all()
