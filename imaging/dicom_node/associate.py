"""A-ASSOCIATE PDUs as bytes (PS3.8 9.3.2, 9.3.3; PS3.7 D.3.3): read with tolerance, written to the letter.

No input, no output. Peers get wrong in many ways what storing does not need: padding, version names, items of their
own. That is passed over. A context that cannot be read is a context to refuse; only where no context can be told, or
where one ends behind its PDU, is there no request at all.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from imaging.domain.peers import is_plain_title
from imaging.domain.transfer_syntaxes import IMPLICIT_LITTLE
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, is_usable

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 0x01, 0x02, 0x03
MAX_PDU: Final = 1 << 20
"""What we take; Maximum Length Received."""
ACCEPTED: Final = 0
MIN_PDU_LENGTH: Final = 8
"""A PDU of less holds no value of two bytes, which is the least that there is."""

_HEAD: Final = 6
_FIXED: Final = 68
"""Protocol version, AE titles and reserved bytes, ahead of the items."""
_APPLICATION_CONTEXT, _PROPOSED, _ANSWERED, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAXIMUM_LENGTH, _CLASS_UID, _ROLES, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
_DICOM: Final = "1.2.840.10008.3.1.1.1"
_MAX_UID_LENGTH: Final = 65
"""One more than there may be, so that an overlong one stays one."""


class Malformed(ValueError):
    """What came cannot be read as a PDU that begins an association; the text says what is at fault."""


class NoAssociate(Malformed):
    """What came is a PDU of another kind, or none."""


class Proposed(NamedTuple):
    """A presentation context of a request. The syntaxes are without padding, printable, and else as they came."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class Answered(NamedTuple):
    """What an acceptance says of a context; the transfer syntax is empty where it names none."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True)
class Request:
    """An A-ASSOCIATE-RQ that was read. `fixed`: what its answer repeats. `maximum_length`: of PDUs that the peer takes.

    `senders`: the SOP classes for which the peer asks to be SCU.
    """

    fixed: bytes
    contexts: tuple[Proposed, ...]
    maximum_length: int
    senders: tuple[str, ...] = ()

    @property
    def titles(self) -> tuple[str, str]:
        """Calling and called AE title."""
        return titles(self.fixed)


@dataclass(frozen=True)
class Acceptance:
    """An A-ASSOCIATE-AC that was read."""

    contexts: tuple[Answered, ...]
    maximum_length: int


class FirstPdu:
    """The first PDU of a peer, one of some kinds, as its bytes come. `kind` and `body` hold as far as it came."""

    def __init__(self, *kinds: int) -> None:
        self._kinds, self._raw = kinds, bytearray()

    @property
    def missing(self) -> int:
        """How many bytes are wanted next; 0 once it is whole."""
        return (_HEAD if len(self._raw) < _HEAD else _HEAD + self._length) - len(self._raw)

    @property
    def kind(self) -> int | None:
        """The PDU's type (PS3.8 9.3.1); None before its first byte."""
        return self._raw[0] if self._raw else None

    @property
    def body(self) -> bytes:
        """Behind the type and the length."""
        return bytes(self._raw[_HEAD:])

    def feed(self, data: bytes) -> None:
        """Takes what came, at most what is missing. Raises Malformed as soon as nothing good can come of it."""
        self._raw += data
        if self.kind not in self._kinds:
            raise NoAssociate(f"PDU type {self._raw[0]:#04x} came first")
        if len(self._raw) >= _HEAD and self._length > MAX_PDU:
            raise Malformed(f"a PDU of {self._length} bytes came first; at most {MAX_PDU} are accepted")

    @property
    def _length(self) -> int:
        return int.from_bytes(self._raw[2:_HEAD])


def titles(body: bytes) -> tuple[str, str]:
    """Calling and called AE title of a request, as far as it came: up to a NUL, without spaces around."""
    return _title(body[20:36]), _title(body[4:20])


def read_request(body: bytes) -> Request:
    """An A-ASSOCIATE-RQ without its head. Raises Malformed."""
    found, user = _read(body, _PROPOSED)
    contexts = tuple(_proposed(each) for each in found)
    return Request(body[:_FIXED], contexts, _maximum_length(user), tuple(_senders(user)))


def read_acceptance(body: bytes) -> Acceptance:
    """An A-ASSOCIATE-AC without its head. Raises Malformed."""
    found, user = _read(body, _ANSWERED)
    return Acceptance(tuple(_answered(each) for each in found), _maximum_length(user))


def request(called: str, calling: str, contexts: Mapping[int, tuple[str, str]]) -> bytes:
    """An A-ASSOCIATE-RQ without its head. `contexts`: abstract and transfer syntax by number.

    Raises ValueError where a title or a UID cannot be said.
    """
    items = [
        _item(_PROPOSED, bytes((number, 0, 0, 0)) + _uid_item(_ABSTRACT, abstract) + _uid_item(_TRANSFER, transfer))
        for number, (abstract, transfer) in contexts.items()
    ]
    fixed = struct.pack(">HH", 1, 0) + _padded(called) + _padded(calling) + bytes(32)
    return _written(fixed, items, ())


def acceptance(requested: Request, contexts: Iterable[Answered], senders: Iterable[str] = ()) -> bytes:
    """An A-ASSOCIATE-AC without its head. `senders`: the SOP classes for which the peer is confirmed as SCU."""
    items = [
        _item(_ANSWERED, bytes((number, 0, result, 0)) + _uid_item(_TRANSFER, syntax or IMPLICIT_LITTLE))
        for number, result, syntax in contexts
    ]
    return _written(struct.pack(">HH", 1, 0) + requested.fixed[4:], items, senders)


# Reading ---------------------------------------------------------------------------------------------------


class _Item(NamedTuple):
    kind: int
    at: int
    size: int
    value: bytes

    @property
    def is_complete(self) -> bool:
        return len(self.value) == self.size


def _items(raw: bytes, at: int = 0) -> Iterator[_Item]:
    """The items behind byte `at`, the last one cut where it ends behind them; less than an item's head is padding."""
    while at + 4 <= len(raw):
        kind, size = struct.unpack_from(">BxH", raw, at)
        yield _Item(kind, at, size, raw[at + 4 : at + 4 + size])
        at += 4 + size


def _read(body: bytes, wanted: int) -> tuple[list[bytes], bytes]:
    """The presentation context items that have a number, and the user information."""
    if len(body) < _FIXED:
        raise Malformed(f"it ends after {len(body)} of the {_FIXED} bytes before its items")
    contexts, user = [], b""
    for item in _items(body, _FIXED):
        if item.kind == wanted:
            if not item.is_complete:
                at, came = _HEAD + item.at, len(item.value)
                raise Malformed(f"the presentation context item at byte {at} has {came} of {item.size} bytes")
            contexts.append(item.value)
        elif item.kind == _USER:
            user += item.value
    numbered = [each for each in contexts if each]
    if not numbered:
        raise Malformed("it has no presentation context item with a number")
    return numbered, user


def _parts(raw: bytes, kind: int) -> Iterator[bytes]:
    """The values of the items of a kind; of one that is cut nobody knows what it was to say."""
    return (each.value for each in _items(raw) if each.kind == kind and each.is_complete)


def _proposed(raw: bytes) -> Proposed:
    abstract = next(_parts(raw[4:], _ABSTRACT), b"")
    return Proposed(raw[0], _uid(abstract), tuple(_uid(each) for each in _parts(raw[4:], _TRANSFER)))


def _answered(raw: bytes) -> Answered:
    result = raw[2] if len(raw) > 2 else 2  # no reason given
    return Answered(raw[0], result, _uid(next(_parts(raw[4:], _TRANSFER), b"")))


def _maximum_length(user: bytes) -> int:
    """In bytes; 0 where it is unlimited or not said, one in which no value fits included (PS3.8 D.1)."""
    found = next((int.from_bytes(each) for each in _parts(user, _MAXIMUM_LENGTH) if len(each) == 4), 0)
    return found if found >= MIN_PDU_LENGTH else 0


def _senders(user: bytes) -> Iterator[str]:
    for each in _parts(user, _ROLES):
        size = int.from_bytes(each[:2])
        uid, scu = _uid(each[2 : 2 + size]), each[2 + size : 3 + size]
        if is_usable(uid) and any(scu):
            yield uid


def _title(raw: bytes) -> str:
    return _printable(raw.partition(b"\0")[0].strip(b" "))


def _uid(raw: bytes) -> str:
    return _printable(raw.strip(b"\0 ")[:_MAX_UID_LENGTH])


def _printable(raw: bytes) -> str:
    return "".join(chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02x}" for each in raw)


# Writing ---------------------------------------------------------------------------------------------------


def _written(fixed: bytes, contexts: Iterable[bytes], senders: Iterable[str]) -> bytes:
    user = [
        _item(_MAXIMUM_LENGTH, struct.pack(">I", MAX_PDU)),
        _uid_item(_CLASS_UID, IMPLEMENTATION_CLASS_UID),
        *(_item(_ROLES, struct.pack(">H", len(each)) + each.encode("ascii") + b"\1\0") for each in senders),
        _item(_VERSION_NAME, IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    return b"".join((fixed, _uid_item(_APPLICATION_CONTEXT, _DICOM), *contexts, _item(_USER, b"".join(user))))


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _uid_item(kind: int, uid: str) -> bytes:
    """Raises ValueError where the text cannot be one, legal or not: files of strangers name odd ones."""
    if not uid.isascii() or not 0 < len(uid) <= 64:
        raise ValueError("a UID is empty, too long or not ASCII")
    return _item(kind, uid.encode("ascii"))


def _padded(title: str) -> bytes:
    if not is_plain_title(title):
        raise ValueError(f"{title!r} is not an AE title (PS3.5 6.2)")
    return title.encode("ascii").ljust(16)
