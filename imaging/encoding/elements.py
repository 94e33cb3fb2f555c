"""A bounded reader of a data set's top level, for bytes from strangers (PS3.5 7).

It yields wanted elements up to the pixel data and skips the rest by length; no more than so many elements, levels and
bytes are looked at, so that no object can hold the receiver's interpreter. It never raises for what stands in the
bytes: reading stops, and `Elements.fault` says why.
"""

import math
import re
import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

MAX_ELEMENTS: Final = 30_000
MAX_IN_ITEMS: Final = 100_000
"""Elements within the items of sequences that are looked at; a frame of a multi-frame object takes a dozen."""
MAX_ITEMS: Final = 20_000
"""Items of a sequence that are looked at: frames, each of which takes more than one element."""
MAX_LEVELS: Final = 64
MAX_INFLATED: Final = 4 << 20
MAX_VALUE_LENGTH: Final = 32 << 20
"""Bytes of a value that are kept, of the frames of a multi-frame object say."""

DEFLATED: Final = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
"""Transfer syntaxes whose data set is deflated as a whole (PS3.5 A.5, A.7, A.9); Deflated Image Frame is not one."""
IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT_VRS = frozenset(
    each.encode()
    for each in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FL",
        "FD",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
)


@dataclass
class Elements:
    """What was found. `values`: raw value by tag, of wanted tags; sequences as the bytes of their items.

    `repeated`: wanted tags that came twice with other values. `pixels_at`: offset of the pixel data element.
    `looked_at`: how many elements within items, of all sequences together.
    """

    values: dict[int, bytes] = field(default_factory=dict)
    repeated: set[int] = field(default_factory=set)
    pixels_at: int | None = None
    fault: str = ""
    is_explicit: bool = True
    byte_order: str = "<"
    looked_at: list[int] = field(default_factory=lambda: [0])

    def number(self, tag: int) -> int | None:
        """An unsigned short (VR US) with one value."""
        raw = self.values.get(tag, b"")
        return int(struct.unpack(self.byte_order + "H", raw)[0]) if len(raw) == 2 else None

    def first_item(self, tag: int, wanted: Collection[int]) -> dict[int, bytes]:
        """The wanted elements of a sequence's first item."""
        raw = self.values.get(tag, b"")
        if len(raw) < 8:
            return {}
        reader = _Reader(raw, self.is_explicit, self.byte_order, wanted)
        return reader.first_item().values

    def double(self, tag: int) -> float | None:
        """The first value of a double (VR FD), if it is finite."""
        raw = self.values.get(tag, b"")
        value = float(struct.unpack_from(self.byte_order + "d", raw)[0]) if len(raw) >= 8 else math.nan
        return value if math.isfinite(value) else None

    def items(self, tag: int, wanted: Collection[int]) -> list["Elements"]:
        """The wanted elements of each item of a sequence. Raises TooMuch where they cannot all be looked at."""
        raw = self.values.get(tag, b"")
        return _Reader(raw, self.is_explicit, self.byte_order, wanted, self.looked_at).items() if raw else []


def read_elements(data: bytes | memoryview, transfer_syntax_uid: str, wanted: Collection[int]) -> Elements:
    """The wanted elements of a data set that is encoded in this transfer syntax."""
    if transfer_syntax_uid in DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_INFLATED)
        except zlib.error as error:
            return Elements(fault=f"the deflated data set cannot be inflated ({error})")
    explicit = transfer_syntax_uid != IMPLICIT_LITTLE
    order = ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
    return _Reader(data, explicit, order, wanted).top_level()


def read_file_meta(data: bytes | memoryview, at: int) -> tuple[dict[int, bytes], int]:
    """The file meta information that begins at `at` (group 0002, PS3.10 7.1), and where the data set begins.

    Raises ValueError where it cannot be read.
    """
    reader = _Reader(data, True, "<", ())
    values = {}
    try:
        while reader.is_group(at, 0x0002):
            tag, value, at = reader.element(at)
            values[tag] = value
    except _Stop as stop:
        raise ValueError(str(stop)) from None
    return values, at


def decimal_string(text: str) -> float | None:
    """A DS value (PS3.5 6.2), None where it is none or not finite."""
    if not re.fullmatch(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})? *", text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


class TooMuch(Exception):
    """The items of a sequence are broken, or too many to be looked at."""


class _Stop(Exception):
    """Reading cannot go on; the text is the fault."""


class _Reader:
    def __init__(
        self,
        data: bytes | memoryview,
        explicit: bool,
        order: str,
        wanted: Collection[int],
        looked_at: list[int] | None = None,
    ) -> None:
        self._data = memoryview(data)
        self._explicit = explicit
        self._wanted = wanted
        self._tag = struct.Struct(order + "HH")
        self._short = struct.Struct(order + "H")
        self._long = struct.Struct(order + "I")
        self._count = [0] if looked_at is None else looked_at
        self._max_elements = MAX_ELEMENTS if looked_at is None else MAX_IN_ITEMS
        self._found = Elements(is_explicit=explicit, byte_order=order)

    def top_level(self) -> Elements:
        try:
            self._read(0, len(self._data))
        except _Stop as stop:
            self._found.fault = str(stop)
        return self._found

    def first_item(self) -> Elements:
        try:
            tag, length = self._item_header(0)
            if tag == _ITEM:
                self._read(8, len(self._data) if length == _UNDEFINED else min(8 + length, len(self._data)))
        except _Stop as stop:
            self._found.fault = str(stop)
        return self._found

    def items(self) -> list[Elements]:
        found, at = list[Elements](), 0
        try:
            while at + 8 <= len(self._data):
                tag, _, length, start = self._header(at, False)
                if tag != _ITEM:
                    break
                if len(found) == MAX_ITEMS:
                    raise _Stop(f"more than {MAX_ITEMS} items in a sequence")
                self._found = Elements(
                    is_explicit=self._explicit, byte_order=self._found.byte_order, looked_at=self._count
                )
                at = self._read(start, len(self._data) if length == _UNDEFINED else start + length)
                found.append(self._found)
        except (_Stop, struct.error) as error:
            raise TooMuch(str(error)) from None
        return found

    def is_group(self, at: int, group: int) -> bool:
        return at + 2 <= len(self._data) and self._short.unpack_from(self._data, at)[0] == group

    def element(self, at: int) -> tuple[int, bytes, int]:
        """(tag, value, where the next one begins) of an element of defined length."""
        tag, _, length, start = self._header(at, self._explicit)
        if start + length > len(self._data):
            raise _Stop(f"{_named(tag)} claims {length} bytes, {len(self._data) - start} follow")
        return tag, bytes(self._data[start : start + length]), start + length

    def _read(self, at: int, end: int) -> int:
        """Reads elements; where the next item begins, or the pixel data."""
        while at < end:
            tag, vr, length, start = self._header(at, self._explicit)
            if tag in PIXEL_TAGS:
                self._found.pixels_at = at
                return at
            if tag == _ITEM_END:
                return start
            if length == _UNDEFINED:
                value_end = self._after_items(start, self._explicit and vr != b"UN")
            else:
                value_end = start + length
                if value_end > end:
                    raise _Stop(f"{_named(tag)} claims {length} bytes, {end - start} follow")
            if tag in self._wanted:
                if value_end - start > MAX_VALUE_LENGTH:
                    raise _Stop(f"{_named(tag)} has {value_end - start} bytes, more than the limit")
                self._keep(tag, bytes(self._data[start:value_end]))
            at = value_end
        return at

    def _keep(self, tag: int, value: bytes) -> None:
        if self._found.values.setdefault(tag, value) != value:
            self._found.repeated.add(tag)

    def _header(self, at: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """(tag, VR, length, where the value starts) of the element at `at`."""
        self._count[0] += 1
        if self._count[0] > self._max_elements:
            raise _Stop(f"more than {self._max_elements} elements before the pixel data")
        if at + 8 > len(self._data):
            raise _Stop("the data set ends inside an element")
        tag, length = self._item_header(at)
        if not explicit or tag >> 16 == 0xFFFE:
            return tag, b"", length, at + 8
        vr = bytes(self._data[at + 4 : at + 6])
        if vr in _SHORT_VRS:
            return tag, vr, self._short.unpack_from(self._data, at + 6)[0], at + 8
        if vr not in _LONG_VRS and not _looks_long(vr, self._data[at + 6 : at + 8]):
            raise _Stop(f"{_named(tag)} has no VR; is the data set in another transfer syntax than negotiated?")
        if at + 12 > len(self._data):
            raise _Stop("the data set ends inside an element")
        return tag, vr, self._long.unpack_from(self._data, at + 8)[0], at + 12

    def _item_header(self, at: int) -> tuple[int, int]:
        group, element = self._tag.unpack_from(self._data, at)
        return group << 16 | element, self._long.unpack_from(self._data, at + 4)[0]

    def _after_items(self, at: int, explicit: bool) -> int:
        """Where a value of undefined length ends: behind its delimiter. Items of undefined length nest."""
        levels = [explicit]
        while levels:
            if len(levels) > MAX_LEVELS:
                raise _Stop(f"sequences nested more than {MAX_LEVELS} deep")
            tag, vr, length, start = self._header(at, levels[-1])
            at = start
            if tag == _SEQUENCE_END:
                levels.pop()
            elif tag == _ITEM_END or (tag == _ITEM and length == _UNDEFINED):
                continue
            elif length == _UNDEFINED:
                levels.append(levels[-1] and vr != b"UN")
            else:
                at = start + length
                if at > len(self._data):
                    raise _Stop(f"{_named(tag)} claims {length} bytes, {len(self._data) - start} follow")
        return at


def _looks_long(vr: bytes, reserved: memoryview) -> bool:
    """A VR that the standard does not have yet takes a long length (PS3.5 7.1.2)."""
    return vr.isalpha() and vr.isupper() and bytes(reserved) == b"\0\0"


def _named(tag: int) -> str:
    return f"element ({tag >> 16:04X},{tag & 0xFFFF:04X})"
