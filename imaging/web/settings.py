"""What the pages need to be told; read and checked by the layers on top, passed down as a value."""

import re
import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from imaging.domain.languages import LANGUAGES, Language

VIEWER_PLACEHOLDERS: Final = frozenset({"study_uid", "accession_number", "patient_id"})
SCRIPT_SCHEMES: Final = frozenset({"", "javascript", "data", "vbscript", "blob", "file"})
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""The names of loopback, as a Host header has them."""


@dataclass(frozen=True)
class WebSettings:
    """How the pages are served.

    `viewer_url`: the address that opens a study's images, with {study_uid}, {accession_number}, {patient_id}, which
    are put in percent-encoded; "" means that there is no viewer. `heartbeat_s`: how often an open page hears from
    the server; after three beats of silence it says that it is stale. `hosts`: the names under which the pages are
    asked for, as a Host header has them. `max_pages`: how many pages may be open and hear of changes.
    """

    viewer_url: str = ""
    language: Language = "vi"
    heartbeat_s: float = 3.0
    stale_after_s: float = 10.0
    hosts: frozenset[str] = frozenset(LOOPBACK)
    max_pages: int = 256

    def __post_init__(self) -> None:
        faults = [f"viewer_url {self.viewer_url!r} {each}" for each in viewer_faults(self.viewer_url)]
        if self.language not in LANGUAGES:
            faults.append(f"language {self.language!r} is not one of {', '.join(LANGUAGES)}")
        if faults:
            raise ValueError("; ".join(faults))


def host_faults(name: str) -> list[str]:
    """What is wrong with a name under which the pages are to be asked for, to be said after it."""
    is_plain = re.fullmatch(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]", name)
    return [] if is_plain else ["is not a host name without scheme and port, such as worklist.hospital.example"]


def viewer_faults(template: str) -> list[str]:
    """What is wrong with a viewer's address, to be said after it; an empty one means that there is none."""
    if not template:
        return []
    try:
        named = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        scheme = urlsplit(template).scheme
    except ValueError as fault:
        return [f"is not a URL: {fault}"]
    faults = [f"has {{{name}}}; expected {known()}" for name in sorted(named - VIEWER_PLACEHOLDERS)]
    if scheme.lower() in SCRIPT_SCHEMES:
        faults.append("must begin with https:, http: or the scheme of a viewer")
    return faults


def known() -> str:
    """The placeholders of a viewer's address, for messages."""
    return ", ".join(f"{{{name}}}" for name in sorted(VIEWER_PLACEHOLDERS))
