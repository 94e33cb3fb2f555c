"""What the supervisor says of its children, and workers of the models: the latest word on each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, delete, select, update

from imaging.domain.modes import Mode
from imaging.ledger import tables
from imaging.ledger.jobs import MODEL_DISABLED
from imaging.ledger.store import Ledger


def note_role(ledger: Ledger, name: str, state: str, error: str = "") -> None:
    """The supervisor's word on a child of this place."""
    _note(ledger, tables.role, {"place": ledger.place, "name": name}, {"state": state, "error": error})


def keep_roles(ledger: Ledger, kinds: Collection[str], names: Collection[str]) -> None:
    """Forgets this place's children of these roles ("worker" of "worker-1") that are not among `names`."""
    role = tables.role
    with ledger.write() as connection:
        for known in connection.scalars(select(role.c.name).where(role.c.place == ledger.place)).all():
            if known.partition("-")[0] in kinds and known not in names:
                connection.execute(delete(role).where(role.c.place == ledger.place, role.c.name == known))


def keep_models(ledger: Ledger, names: Collection[str]) -> None:
    """Forgets the models that are not among `names`."""
    with ledger.write() as connection:
        connection.execute(delete(tables.model).where(tables.model.c.name.not_in(names)))


def note_model(
    ledger: Ledger,
    name: str,
    version: str,
    fingerprint: str,
    why: str = "",
    *,
    is_served: bool = True,
    is_synthetic: bool = False,
    mode: Mode = Mode.LIVE,
) -> None:
    """A worker's word on a model: served or disabled, with what there is to say of that in `why`; and its mode.

    `is_synthetic`: it was measured on drawn images alone.
    """
    values = {
        "version": version,
        "fingerprint": fingerprint,
        "is_served": is_served,
        "is_synthetic": is_synthetic,
        "why": why,
        "mode": mode,
    }
    _note(ledger, tables.model, {"name": name}, values)


def _note(ledger: Ledger, table: Table, key: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Puts the latest word on what has this key in place of the one before."""
    its = [table.c[name] == value for name, value in key.items()]
    with ledger.write() as connection:
        if not connection.execute(update(table).where(*its).values(values)).rowcount:
            connection.execute(table.insert().values(**key, **values))


def has_passed(ledger: Ledger, name: str, fingerprint: str) -> bool:
    """Whether the model's golden case passed already with these weights, on this kind of machine."""
    table = tables.model
    known = (table.c.name == name, table.c.fingerprint == fingerprint, table.c.is_served)
    with ledger.read() as connection:
        return connection.scalar(select(table.c.name).where(*known)) is not None


def models(ledger: Ledger) -> dict[str, str]:
    """The models that workers know, by name, and why those are not served that are not."""
    table = tables.model
    with ledger.read() as connection:
        found = connection.execute(select(table.c.name, table.c.is_served, table.c.why).order_by(table.c.name)).all()
    return {each.name: "" if each.is_served else each.why or MODEL_DISABLED for each in found}


@dataclass(frozen=True)
class Word:
    """A worker's last word on a model. `fingerprint`: what its golden case passed with, if it has one."""

    version: str
    fingerprint: str
    is_served: bool
    why: str


def words(ledger: Ledger) -> dict[str, Word]:
    """What workers said of the models, by name."""
    table = tables.model
    with ledger.read() as connection:
        found = connection.execute(select(table)).all()
    return {each.name: Word(each.version, each.fingerprint, each.is_served, each.why) for each in found}
