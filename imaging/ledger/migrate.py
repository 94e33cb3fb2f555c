"""Bringing a database to this version's schema. Only the supervisor, or `imaging migrate`, does it."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from imaging.ledger.store import Ledger, SchemaDiffers

HEAD: Final = "0001"
"""The schema's version that this code works with; a test compares it with the newest migration."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def version(ledger: Ledger) -> str | None:
    """The database's schema version; None where it is empty."""
    with ledger.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def migrate(ledger: Ledger) -> None:
    """Runs the migrations that are missing, all in one transaction: a kill inside leaves the old schema."""
    if version(ledger) == HEAD:
        return
    with ledger.write() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(ledger: Ledger) -> None:
    """Raises SchemaDiffers where the database is not of this version."""
    found = version(ledger)
    if found != HEAD:
        raise SchemaDiffers(
            f"the ledger has schema {found or 'none'}, this version works with {HEAD}; run `imaging migrate` "
            "with the newest version of imaging that serves this home"
        )


def configuration() -> Config:
    """Alembic's configuration: the migrations lie in the package."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
