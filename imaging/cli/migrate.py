"""Migrate the ledger of a home to this version's schema. `imaging serve` does this by itself."""

from imaging.cli.parsing import Arguments, CommandError, Parser, add_home, settings_of
from imaging.ledger import migrate
from imaging.ledger.store import Ledger
from imaging.ledger.unusable import Unusable


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    add_home(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    found = settings_of(arguments)
    found.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        ledger = Ledger(found.home, found.database)
        before = migrate.version(ledger)
        migrate.migrate(ledger)
    except Unusable as error:
        raise CommandError(str(error)) from None
    print(f"schema {before or 'none'} -> {migrate.HEAD}")
    return 0
