"""Writes a migration from the difference between the database's schema and `tables`: a tool for developers.

Run as `python -m imaging.ledger.generate NUMBER "what it does"`; read what it wrote before committing it.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command

from imaging.ledger.migrate import configuration
from imaging.ledger.store import Ledger


def main(number: str, message: str) -> None:
    """Brings an empty database to the newest migration and writes the next one."""
    with tempfile.TemporaryDirectory() as home:
        ledger = Ledger(Path(home))
        config = configuration()
        with ledger.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            command.revision(config, message, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    main(*sys.argv[1:])
