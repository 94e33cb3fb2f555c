"""UIDs that are derived, never drawn: the same work gives the same UID, and no UID ever has two contents."""

import re
import uuid
from typing import Final

from imaging import __version__

NAMESPACE: Final = uuid.UUID("6f4c6c1e-54a1-5d0e-9c55-0d3a0a6e2f11")
"""Never changes: derived UIDs would."""

_LEGAL = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def derived_uid(*parts: str) -> str:
    """`2.25.` and a version 5 UUID of the parts, in decimal: at most 44 characters. PS3.5 B.2."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '|'.join(parts)).int}"


IMPLEMENTATION_CLASS_UID: Final = derived_uid("implementation", "imaging")
IMPLEMENTATION_VERSION_NAME: Final = f"IMAGING_{__version__}"[:16]
"""What we are called on associations, in files that we keep and in objects that we make (PS3.7 D.3.3.2)."""


def instance_uid(digest: str, kind: str) -> str:
    """SOP Instance UID of a result object. `digest`: of all that the object is made from, so of its content."""
    return derived_uid(digest, kind, "instance")


def series_uid(study_uid: str, model: str, version: str, sop_class_uid: str, installation: str) -> str:
    """One series per study, model, version, SOP class and installation (empty: none)."""
    return derived_uid(study_uid, model, version, sop_class_uid, installation, "series")


def tracking_uid(study_uid: str, model: str, code_value: str, place: str, installation: str) -> str:
    """The same finding keeps it through the revisions of one installation; a new place is a new one."""
    return derived_uid(study_uid, model, code_value, place, installation, "tracking")


def is_legal(uid: str) -> bool:
    """Whether `uid` keeps PS3.5 9.1: at most 64 characters, components without leading zeros."""
    return 0 < len(uid) <= 64 and _LEGAL.fullmatch(uid) is not None


def is_usable(uid: str) -> bool:
    """Whether `uid` identifies something, though illegal: digits and dots, as old equipment writes leading zeros."""
    return 0 < len(uid) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid) is not None
