"""Who talks to us and whom we talk to: Application Entities with their addresses (PS3.8)."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

MAX_ASSOCIATIONS: Final = 200
"""That the acceptor has open at a time."""
ANY_TITLE: Final = "*"
"""In place of a caller's AE title: whatever it is."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain_title(title: str) -> bool:
    """Whether a text can be an AE title: printable ASCII without backslash, no space at its ends (PS3.5 6.2)."""
    return (
        0 < len(title) <= 16
        and title.isascii()
        and title.isprintable()
        and "\\" not in title
        and title == title.strip()
    )


def plain_address(address: str) -> str:
    """An IPv4 address as itself where an IPv6 socket holds it, without a scope. Raises ValueError for what is none."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


def in_words(title: str, address: str) -> str:
    """Who called from where; some give no title."""
    return f"{title or '(no title)'} at {address}"


def is_same_title(one: str, other: str) -> bool:
    """Whether two AE titles are one: sites do not agree on case, nor devices on padding."""
    return one.strip().casefold() == other.strip().casefold()


@dataclass(frozen=True)
class Caller:
    """Who may open an association: an AE title, or ANY_TITLE, and the plain address that it comes from."""

    ae_title: str
    address: str

    def bears(self, title: str) -> bool:
        """Whether it is called so."""
        return self.ae_title == ANY_TITLE or is_same_title(self.ae_title, title)


def is_named(address: str, callers: Sequence[Caller]) -> bool:
    """Whether anybody may call from an address; where there are no callers, from loopback."""
    return any(each.address == address for each in callers) if callers else is_loopback(address)


def may_call(title: str, address: str, callers: Sequence[Caller]) -> bool:
    """Whether an Application Entity may open associations."""
    if not callers:
        return is_named(address, callers)
    return any(each.address == address and each.bears(title) for each in callers)


def is_expected_elsewhere(title: str, callers: Iterable[Caller]) -> bool:
    """Whether a caller of this title is named, at whatever address."""
    return any(is_same_title(each.ae_title, title) for each in callers)


@dataclass(frozen=True)
class Refused:
    """A peer that asked for an association and got none: the titles as far as they were read, and why."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    how: str


@dataclass(frozen=True)
class Address:
    """Where a peer is, written AET@HOST:PORT."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises ValueError with the form wanted."""
        match = re.fullmatch(r"([^@]{1,16})@([^@]+):(\d{1,5})", text)
        if match is None or not 0 < int(match[3]) < 65536:
            raise ValueError(f"{text!r} is not of the form AET@HOST:PORT, such as PACS@10.0.0.5:104")
        if not is_plain_title(match[1]):
            raise ValueError(f"{match[1]!r} is not an AE title (PS3.5 6.2); expected one as in PACS@10.0.0.5:104")
        return cls(match[1], match[2].strip("[]"), int(match[3]))

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


_MAX_S: Final = 3600.0


@dataclass(frozen=True)
class Times:
    """How long a peer that we ask may take, in seconds.

    `connect`: until the connection stands. `accept`: until it says whether it takes the association. `response`: until
    it answers a message.
    """

    connect: float = 5.0
    accept: float = 30.0
    response: float = 300.0

    @classmethod
    def parse(cls, text: str) -> "Times":
        """From `connect:5+accept:30+response:300`, or a part of it. Raises ValueError with the form wanted."""
        texts = [each.partition(":") for each in text.split("+")]
        known = {each.name for each in fields(cls)}
        try:
            found = {name: float(seconds) for name, _, seconds in texts}
        except ValueError:
            found = {}
        if not found or not found.keys() <= known or not all(0 < each <= _MAX_S for each in found.values()):
            raise ValueError(f"{text!r} is not of the form {cls()}, in seconds up to {_MAX_S:g}")
        return cls(**found)

    def __str__(self) -> str:
        return "+".join(f"{each.name}:{getattr(self, each.name):g}" for each in fields(self))
