"""Who talks to us and whom we talk to: Application Entities with their addresses (PS3.8)."""

import ipaddress
import re
from dataclasses import dataclass, fields
from typing import Final


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain_title(said: str) -> bool:
    """Whether a text can be an AE title: printable ASCII without backslash, no space at its ends (PS3.5 6.2)."""
    return 0 < len(said) <= 16 and said.isascii() and said.isprintable() and "\\" not in said and said == said.strip()


@dataclass(frozen=True)
class Caller:
    """Who may open an association: an AE title and the address that it comes from."""

    ae_title: str
    address: str


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
        return cls(match[1], match[2].strip("[]"), int(match[3]))

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


_LONGEST_S: Final = 3600.0


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
        said = [each.partition(":") for each in text.split("+")]
        known = {each.name for each in fields(cls)}
        try:
            found = {name: float(seconds) for name, _, seconds in said}
        except ValueError:
            found = {}
        if not found or not found.keys() <= known or not all(0 < each <= _LONGEST_S for each in found.values()):
            raise ValueError(f"{text!r} is not of the form {cls()}, in seconds up to {_LONGEST_S:g}")
        return cls(**found)

    def __str__(self) -> str:
        return "+".join(f"{each.name}:{getattr(self, each.name):g}" for each in fields(self))
