"""Bringing a database to this version's schema. Only the supervisor, or `imaging migrate`, does it."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from imaging import crash
from imaging.ledger.store import Ledger
from imaging.ledger.unusable import SchemaDiffers, Unusable

if TYPE_CHECKING:  # a process that finds its schema in place, as almost all do, never loads it
    from alembic.config import Config

HEAD: Final = "0006"
"""The schema's version that this code works with; a test compares it with the newest migration."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def version(ledger: Ledger) -> str | None:
    """The database's schema version; None where it is empty. Raises Unusable where it does not answer."""
    try:
        with ledger.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return found
    except (DBAPIError, sqlite3.Error) as error:
        message = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        raise Unusable(f"the database cannot be used: {message}") from error


def migrate(ledger: Ledger) -> None:
    """Runs the migrations that are missing, all in one transaction: a kill inside leaves the old schema.

    Raises SchemaDiffers where a newer version of imaging was here.
    """
    found = version(ledger)
    if found == HEAD:
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = configuration()
    known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaDiffers(_differs(found))
    with ledger.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        crash.point("migration-not-committed")


def check(ledger: Ledger) -> None:
    """Raises SchemaDiffers where the database is not of this version."""
    found = version(ledger)
    if found != HEAD:
        raise SchemaDiffers(_differs(found))


def _differs(found: str | None) -> str:
    return (
        f"the ledger has schema {found or 'none'}, this version works with {HEAD}; run `imaging migrate` "
        "with the newest version of imaging that serves this home"
    )


def configuration() -> "Config":
    """Alembic's configuration: the migrations lie in the package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
