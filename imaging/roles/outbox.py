"""Result objects between the spool, where their bytes lie, and the ledger, which knows them by key and digest."""

import hashlib
from collections.abc import Sequence

from imaging.domain.artefacts import Artefact, StoredArtefact
from imaging.spool import Spool


class Lost(Exception):
    """The bytes of an object are not there as they were put; the text says what is wrong and what to do."""


def keep(spool: Spool, artefacts: Sequence[Artefact]) -> list[StoredArtefact]:
    """Puts objects into the spool, before the transaction that names them. Raises SpoolFull."""
    return [
        StoredArtefact(
            new.kind, new.sop_class_uid, new.sop_instance_uid, new.series_instance_uid, at.key, at.digest, at.size
        )
        for new, at in zip(artefacts, spool.put([each.data for each in artefacts]), strict=True)
    ]


def fetch(spool: Spool, kept: StoredArtefact) -> Artefact:
    """An object with its bytes. Raises Lost."""
    try:
        with spool.open(kept.key) as file:
            data = file.read()
    except OSError as error:
        raise Lost(_lost_message(f"cannot be read: {error.strerror}")) from error
    if hashlib.sha256(data).hexdigest() != kept.digest:
        raise Lost(_lost_message("differs from what was written"))
    return Artefact(kept.kind, kept.sop_class_uid, kept.sop_instance_uid, kept.series_instance_uid, data)


def _lost_message(what: str) -> str:
    return f"its file in spool/out {what}; restore it from the backup, then run `imaging replay`"
