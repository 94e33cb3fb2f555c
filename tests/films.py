"""Small drawn films, and a modality that sends each until it is acknowledged."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO

from peers import Orthanc
from pydicom import Dataset, dcmread

from imaging.dicom_node.sending import Sender, Unreachable
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted
from imaging.phantoms.study import film_study


def a_film(seed: int, run: str) -> tuple[str, bytes]:
    """Study Instance UID and bytes of a film; another run is another study."""
    study = film_study(seed, frozenset(), datetime.now(UTC), run=run, rows=256, columns=256)
    return study.study_instance_uid, encoded(study.instances[0])


def encoded(image: Dataset) -> bytes:
    """A data set as a Part 10 file."""
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def send_until_acknowledged(port: Callable[[], int], data: bytes, seconds: float = 60.0) -> int:
    """Sends an object again, on a new association, until it is answered with 0x0000; how often it was sent."""
    until, pause = time.monotonic() + seconds, threading.Event()
    for count in range(1, 10_000):
        sender = Sender(Address("IMAGING", "127.0.0.1", port()), "MODALITY")
        try:
            if isinstance(sender.send(data), Accepted):
                return count
        except Unreachable:
            pass
        finally:
            sender.close()
        if time.monotonic() > until:
            break
        pause.wait(0.05)
    raise AssertionError(f"not acknowledged within {seconds:g} s")


def reports(pacs: Orthanc) -> dict[str, list[Dataset]]:
    """The SRs in the PACS by Study Instance UID."""
    found: dict[str, list[Dataset]] = {}
    for instance in pacs.instances("SR"):
        report = dcmread(BytesIO(pacs.file(instance)))
        found.setdefault(str(report.StudyInstanceUID), []).append(report)
    return found


def predecessors(report: Dataset) -> list[str]:
    """SOP Instance UIDs of the documents that a report replaces (PS3.3 C.17.2)."""
    return [
        str(each.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for each in series.ReferencedSOPSequence
    ]


def doubled(found: Sequence[Dataset]) -> int:
    """How many of one study's reports answer again without naming the answer before."""
    ordered = sorted(found, key=lambda report: len(predecessors(report)))
    return sum(not predecessors(report) for report in ordered[1:])
