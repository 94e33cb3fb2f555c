"""Who talks to us and whom we talk to: Application Entities with their addresses (PS3.8)."""

import ipaddress
import re
from dataclasses import dataclass


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
