"""Documents that are encoded once and filled many times.

highdicom and pydicom take tens of milliseconds for an SR of fifteen groups, of which all but a hundred short values
are the same in each study. So one document per shape is built with a **placeholder** in each slot that changes,
written by pydicom, and its bytes are cut at the placeholders; filling joins the pieces with the study's values.
Sequences have undefined length (PS3.5 7.5.1), so no length but the value's own depends on what is filled in.

A slot is named by text ("patient.name", "finding.3.probability"); what is filled into it is text too. A renderer gives
the builder the value of a slot. `PlaceholderRenderer` gives a placeholder: nothing else distinguishes a template from a
document that is built with the values of one study, as the tests do.
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

_TEXT_PLACEHOLDER: Final = "~~{:04d}~~"
_NUMBER_PLACEHOLDER: Final = "14142{:05d}"  # within IS as well as DS
_UID_PLACEHOLDER: Final = "2.25.14142{:04d}"
_POINT_PLACEHOLDER: Final = "~~{:04d}~~~~~~"  # as 12 bytes: three finite float32

_PLACEHOLDER: Final = re.compile(
    rb"(?:"
    rb"(?:LO|SH|PN|DA|TM|DT|CS)\x08\x00(?=(~~\d{4}~~))"
    rb"|(?:UT|UC)\x00\x00\x08\x00\x00\x00(?=(~~\d{4}~~))"
    rb"|(?:DS|IS)\x0a\x00(?=(14142\d{5}))"
    rb"|UI\x0e\x00(?=(2\.25\.14142\d{4}))"
    rb"|FL\x0c\x00(?=(~~\d{4}~~~~~~))"
    rb")"
)
"""A VR, the length of its placeholder, and the placeholder: a value that merely contains its digits is not one."""

_META_LENGTH_AT: Final = 140
_META_END: Final = 144
"""File Meta Information Group Length (0002,0000): its value is the first thing after preamble, prefix and tag."""


class Renderer(Protocol):
    """What a builder asks for the value of a place."""

    def text(self, slot: str) -> str: ...
    def uid(self, slot: str) -> str: ...
    def number(self, slot: str) -> str: ...
    def point(self, slot: str) -> Point: ...


@dataclass(frozen=True)
class PlaceholderRenderer:
    """Writes a placeholder for each slot, the same one wherever that slot is written."""

    placeholders: dict[str, str] = field(default_factory=dict)

    def text(self, slot: str) -> str:
        """A placeholder for text."""
        return self._placeholder(_TEXT_PLACEHOLDER, slot)

    def uid(self, slot: str) -> str:
        """A placeholder that is a UID."""
        return self._placeholder(_UID_PLACEHOLDER, slot)

    def number(self, slot: str) -> str:
        """A placeholder that is a number."""
        return self._placeholder(_NUMBER_PLACEHOLDER, slot)

    def point(self, slot: str) -> Point:
        """A placeholder for three 32-bit floats."""
        return np.frombuffer(self._placeholder(_POINT_PLACEHOLDER, slot).encode(), "<f4").reshape(1, 3)

    def _placeholder(self, form: str, slot: str) -> str:
        return self.placeholders.setdefault(slot, form.format(len(self.placeholders)))


@dataclass(frozen=True)
class Piece:
    """Bytes that never change, up to and with the VR of the element that `slot` fills."""

    fixed: bytes
    slot: str
    vr: bytes


class TemplateMismatch(Exception):
    """Bytes that were not filled from this template, and where they differ."""


@dataclass
class Template:
    """An encoded document with places. `is_proven`: a document out of it passed the whole verifier."""

    pieces: tuple[Piece, ...]
    rest: bytes
    meta_slots: int
    is_proven: bool = False

    @classmethod
    def cut(cls, rendered: Dataset, renderer: PlaceholderRenderer) -> "Template":
        """Cut what pydicom writes of a dataset with marks."""
        data = encoded(rendered)
        (meta_length,) = struct.unpack_from("<L", data, _META_LENGTH_AT)
        slots = {placeholder.encode(): slot for slot, placeholder in renderer.placeholders.items()}
        pieces, start, meta_slots = [], 0, 0
        for match in _PLACEHOLDER.finditer(data):
            placeholder = next(filter(None, match.groups()))
            pieces.append(Piece(data[start : match.start() + 2], slots[placeholder], data[match.start() :][:2]))
            start = match.end() + len(placeholder)
            meta_slots += start <= _META_END + meta_length
        missing = set(renderer.placeholders) - {piece.slot for piece in pieces}
        if missing:
            raise AssertionError(f"places whose marks pydicom did not write as they are: {sorted(missing)}")
        return cls(tuple(pieces), data[start:], meta_slots)

    def fill(self, values: Mapping[str, str]) -> bytes:
        """The bytes that pydicom would write of the document with these values. Each must fit its VR."""
        out: list[bytes] = []
        for piece in self.pieces:
            out += (piece.fixed, _element_rest(piece.vr, values[piece.slot]))
        out.append(self.rest)
        data = bytearray().join(out)
        meta_length = sum(map(len, out[: 2 * self.meta_slots])) + self._meta_tail() - _META_END
        struct.pack_into("<L", data, _META_LENGTH_AT, meta_length)
        return bytes(data)

    def read(self, data: bytes) -> Iterator[tuple[str, bytes, bytes]]:
        """The slot, VR and raw value of each gap, in the order of the bytes.

        Everything else is compared with the template; raises TemplateMismatch where it differs (except for the meta
        group's length, which follows from the rest).
        """
        at = 0
        for number, piece in enumerate(self.pieces):
            until = at + len(piece.fixed)
            same = data[at:until] == piece.fixed if number else _like_start(data[at:until], piece.fixed)
            if not same:
                raise TemplateMismatch(f"the bytes before {piece.slot} are not the template's")
            form = "<2xL" if piece.vr in _LONG_VRS else "<H"
            try:
                (length,) = struct.unpack_from(form, data, until)
            except struct.error:
                raise TemplateMismatch(f"the bytes end before {piece.slot}") from None
            at = until + struct.calcsize(form)
            yield piece.slot, piece.vr, data[at : at + length]
            at += length
        if data[at:] != self.rest:
            raise TemplateMismatch("the bytes after the last slot are not the template's")

    def _meta_tail(self) -> int:
        """How many bytes of the meta group lie behind its last place: up to the first element of group 0008."""
        return self.pieces[self.meta_slots].fixed.index(b"\x08\x00\x05\x00CS")


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
    """Set an element to exactly this text: pydicom would warn of a placeholder, and of a source's illegal UID."""
    dataset.add(DataElement(Tag(keyword), vr, value, validation_mode=IGNORE))
