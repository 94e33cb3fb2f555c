"""Unique studies without the cost of drawing each: one drawn study, copied under fresh identifiers.

A copy has its own UIDs, Patient ID and accession number, written over the drawn study's in the encoded bytes; each has
the length of what it replaces, so nothing else moves.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from imaging.cli.simulate import encoded
from imaging.encoding.part10 import StoreRequest, split_part_10
from imaging.phantoms.study import PhantomStudy, film_study, head_study

_IDENTIFIERS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "AccessionNumber",
)


@dataclass(frozen=True)
class Copy:
    """A study to send."""

    study_instance_uid: str
    requests: tuple[StoreRequest, ...]


class Template:
    """A drawn study that copies are made of."""

    def __init__(self, study: PhantomStudy) -> None:
        self._study_uid = study.study_instance_uid.encode()
        self._requests = [split_part_10(each) for each in encoded(study)]
        values = {str(each.get(keyword, "")).encode() for each in study.instances for keyword in _IDENTIFIERS} - {b""}
        self._places = [_places(bytes(each.data), values) for each in self._requests]
        self._values = sorted(values)
        self.contexts = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in self._requests})

    def copy(self) -> Copy:
        """The next study; no two are alike, in this run or another."""
        fresh = {value: _like(value) for value in self._values}
        pairs = zip(self._requests, self._places, strict=True)
        requests = tuple(_copied(request, places, fresh) for request, places in pairs)
        return Copy(fresh[self._study_uid].decode(), requests)


def film(rows: int, columns: int) -> Template:
    """A digital chest film with an effusion."""
    return Template(film_study(2, frozenset({"effusion"}), datetime.now().astimezone(), "", rows, columns))


def head(slices: int, size: int) -> Template:
    """A head CT with a bleed."""
    return Template(head_study(1, True, datetime.now().astimezone(), "", slices, size))


def _places(data: bytes, values: set[bytes]) -> list[tuple[int, bytes]]:
    found = []
    for value in values:
        at = data.find(value)
        while at >= 0:
            found.append((at, value))
            at = data.find(value, at + 1)
    return found


def _copied(request: StoreRequest, places: Sequence[tuple[int, bytes]], fresh: dict[bytes, bytes]) -> StoreRequest:
    data = bytearray(request.data)
    for at, value in places:
        data[at : at + len(value)] = fresh[value]
    uid = fresh[request.sop_instance_uid.encode()].decode()
    return StoreRequest(request.sop_class_uid, uid, request.transfer_syntax_uid, memoryview(data))


def _like(value: bytes) -> bytes:
    """Other digits under the same prefix: 2.25. of a UID (PS3.5 B.2), letters of other identifiers."""
    prefix = b"2.25." if value.startswith(b"2.25.") else bytes(each for each in value if not chr(each).isdigit())
    digits = len(value) - len(prefix)
    minimum = 10 ** (digits - 1)
    return prefix + b"%d" % (minimum + secrets.randbelow(min(10**digits, 1 << 128) - minimum))
