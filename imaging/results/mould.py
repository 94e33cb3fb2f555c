"""Documents that are encoded once and filled many times.

highdicom and pydicom take tens of milliseconds for an SR of fifteen groups, of which all but a hundred short values
are the same in each study. So one document per shape is built with a **mark** in each place that changes, written
by pydicom, and its bytes cut at the marks; filling joins the pieces with the study's values between them. Sequences
have undefined length (PS3.5 7.5.1), so no length but the value's own depends on what is filled in.

A place is named by text ("patient.name", "finding.3.probability"); what is filled into it is a text too. A pen is
what a builder asks for the value of a place: `Marker` gives a mark, and nothing else tells a mould from a document
that is built with one study's values, as the tests do.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.config import IGNORE
from pydicom.tag import Tag

Point = NDArray[np.float32]
"""(1, 3): x, y, z in mm, LPS."""

_TEXT_MARK: Final = "~~{:04d}~~"
_NUMBER_MARK: Final = "14142{:05d}"  # within IS as well as DS
_UID_MARK: Final = "2.25.14142{:04d}"
_POINT_MARK: Final = "~~{:04d}~~~~~~"  # as 12 bytes: three finite float32

_MARK: Final = re.compile(
    rb"(?:"
    rb"(?:LO|SH|PN|DA|TM|DT|CS)\x08\x00(?=(~~\d{4}~~))"
    rb"|(?:UT|UC)\x00\x00\x08\x00\x00\x00(?=(~~\d{4}~~))"
    rb"|(?:DS|IS)\x0a\x00(?=(14142\d{5}))"
    rb"|UI\x0e\x00(?=(2\.25\.14142\d{4}))"
    rb"|FL\x0c\x00(?=(~~\d{4}~~~~~~))"
    rb")"
)
"""A VR, the length of its mark, and the mark: a value that merely has a mark's digits in it is none."""

_META_LENGTH_AT: Final = 140
_META_END: Final = 144
"""File Meta Information Group Length (0002,0000): its value is the first thing after preamble, prefix and tag."""


class Pen(Protocol):
    """What a builder asks for the value of a place."""

    def text(self, place: str) -> str: ...
    def uid(self, place: str) -> str: ...
    def number(self, place: str) -> str: ...
    def point(self, place: str) -> Point: ...


@dataclass(frozen=True)
class Marker:
    """Writes a mark for each place, the same one wherever that place is written."""

    marks: dict[str, str] = field(default_factory=dict)

    def text(self, place: str) -> str:
        return self._mark(_TEXT_MARK, place)

    def uid(self, place: str) -> str:
        return self._mark(_UID_MARK, place)

    def number(self, place: str) -> str:
        return self._mark(_NUMBER_MARK, place)

    def point(self, place: str) -> Point:
        return np.frombuffer(self._mark(_POINT_MARK, place).encode(), "<f4").reshape(1, 3)

    def _mark(self, form: str, place: str) -> str:
        return self.marks.setdefault(place, form.format(len(self.marks)))


@dataclass(frozen=True)
class Piece:
    """Bytes that never change, up to and with the VR of the element that `place` fills."""

    fixed: bytes
    place: str
    vr: bytes


class Unlike(Exception):
    """Bytes that did not come out of this mould, and where they differ."""


@dataclass
class Mould:
    """An encoded document with places. `is_proven`: a document out of it passed the whole verifier."""

    pieces: tuple[Piece, ...]
    rest: bytes
    meta_places: int
    is_proven: bool = False

    @classmethod
    def cut(cls, marked: Dataset, marker: Marker) -> "Mould":
        """Cut what pydicom writes of a dataset with marks."""
        data = encoded(marked)
        (meta_length,) = struct.unpack_from("<L", data, _META_LENGTH_AT)
        places = {mark.encode(): place for place, mark in marker.marks.items()}
        pieces, start, meta_places = [], 0, 0
        for found in _MARK.finditer(data):
            mark = next(filter(None, found.groups()))
            pieces.append(Piece(data[start : found.start() + 2], places[mark], data[found.start() :][:2]))
            start = found.end() + len(mark)
            meta_places += start <= _META_END + meta_length
        missed = set(marker.marks) - {piece.place for piece in pieces}
        if missed:
            raise AssertionError(f"places whose marks pydicom did not write as they are: {sorted(missed)}")
        return cls(tuple(pieces), data[start:], meta_places)

    def fill(self, values: Mapping[str, str]) -> bytes:
        """The bytes that pydicom would write of the document with these values. Each must fit its VR."""
        out: list[bytes] = []
        for piece in self.pieces:
            out += (piece.fixed, _element_rest(piece.vr, values[piece.place]))
        out.append(self.rest)
        data = bytearray().join(out)
        meta_length = sum(map(len, out[: 2 * self.meta_places])) + self._meta_tail() - _META_END
        struct.pack_into("<L", data, _META_LENGTH_AT, meta_length)
        return bytes(data)

    def read(self, data: bytes) -> Iterator[tuple[str, bytes, bytes]]:
        """The place, VR and raw value of each hole, in the order of the bytes.

        Everything else is compared with the mould; raises Unlike where it differs (the meta group's length, which
        follows from the rest, excepted).
        """
        at = 0
        for number, piece in enumerate(self.pieces):
            until = at + len(piece.fixed)
            same = data[at:until] == piece.fixed if number else _like_start(data[at:until], piece.fixed)
            if not same:
                raise Unlike(f"the bytes before {piece.place} are not the mould's")
            form = "<2xL" if piece.vr in _LONG_VRS else "<H"
            try:
                (length,) = struct.unpack_from(form, data, until)
            except struct.error:
                raise Unlike(f"the bytes end before {piece.place}") from None
            at = until + struct.calcsize(form)
            yield piece.place, piece.vr, data[at : at + length]
            at += length
        if data[at:] != self.rest:
            raise Unlike("the bytes after the last place are not the mould's")

    def _meta_tail(self) -> int:
        """How many bytes of the meta group lie behind its last place: up to the first element of group 0008."""
        return self.pieces[self.meta_places].fixed.index(b"\x08\x00\x05\x00CS")


_LONG_VRS: Final = frozenset((b"UT", b"UC"))


def _like_start(data: bytes, fixed: bytes) -> bool:
    return data[:_META_LENGTH_AT] == fixed[:_META_LENGTH_AT] and data[_META_END:] == fixed[_META_END:]


def _element_rest(vr: bytes, value: str) -> bytes:
    """Length and value of an element, padded to even length (PS3.5 6.2, 7.1.2)."""
    raw = _point_bytes(value) if vr == b"FL" else value.encode()
    if len(raw) % 2:
        raw += b"\0" if vr == b"UI" else b" "
    return struct.pack("<2xL" if vr in _LONG_VRS else "<H", len(raw)) + raw


def _point_bytes(value: str) -> bytes:
    return struct.pack("<3f", *map(float, value.split("\\")))


def encoded(dataset: Dataset) -> bytes:
    """A Part 10 file as pydicom writes it, with sequences and items of undefined length."""
    _open_ended(dataset)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def _open_ended(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _open_ended(item)


def put(dataset: Dataset, keyword: str, vr: str, value: str | None) -> None:
    """Set an element to exactly this text: pydicom would warn of a mark, and of a source's illegal UID."""
    dataset.add(DataElement(Tag(keyword), vr, value, validation_mode=IGNORE))
