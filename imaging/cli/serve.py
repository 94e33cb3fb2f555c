"""Receive by C-STORE, analyse, send results and serve the worklist, until SIGTERM.

Prints one line on stdout when all is ready: `ready dicom=HOST:PORT web=URL`. Everything is embedded: SQLite and a local
folder under --home. An existing home is used as it is.

  imaging serve --deliver-to PACS=PACS@10.0.0.5:104
  imaging serve --dicom-host 0.0.0.0 --accept CT1@10.0.0.7 --accept PACS@10.0.0.5
"""

import sys

from imaging.cli.parsing import Arguments, CommandError, Parser, add_settings, settings_of
from imaging.ledger.unusable import Unusable
from imaging.roles.child import quiet_logging
from imaging.supervise import CannotServe
from imaging.supervise import serve as supervise


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    add_settings(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    quiet_logging("supervisor")
    try:
        return supervise(settings_of(arguments, needs_models=True), sys.stdout)
    except (CannotServe, Unusable) as error:
        raise CommandError(str(error)) from None
