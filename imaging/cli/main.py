"""The command line's table of contents."""

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Final

from imaging import __version__
from imaging.cli.parsing import CommandError, Parser, UsageError
from imaging.memory import importing
from imaging.settings import nearest

COMMANDS: Final = {
    "serve": "receive, analyse, deliver and show: everything, supervised",
    "analyse": "analyse files or folders, without a server",
    "send": "send files or folders to a DICOM node",
    "status": "counts per state, peers, roles; or the full history of one study",
    "associations": "who sent to us, what was negotiated, how it ended",
    "conflicts": "objects kept apart because their UID or patient is in doubt",
    "replay": "retry failed and refused work",
    "purge": "remove old studies that are answered and delivered",
    "models": "add, list, check, tune and evaluate models; make golden cases",
    "doctor": "check this node, and suggest what to do about problems",
    "simulate": "make synthetic studies with known truth, in a folder or for a node",
    "migrate": "migrate the ledger of a home to this version",
}
"""Each command lies in the module of its name, which has `options(parser)` and `run(asked) -> int`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    warnings.simplefilter("ignore")  # libraries' warnings quote patients' data
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    if command_line[:1] == ["help"] and len(command_line) > 1:
        command_line = [command_line[1], "--help"]
    if not command_line or command_line[0] not in COMMANDS:
        return _without_command(command_line)
    with importing():
        command = importlib.import_module(f"imaging.cli.{command_line[0]}")
    parser = Parser(prog=f"imaging {command_line[0]}", description=command.__doc__)
    command.options(parser)
    try:
        status: int = command.run(parser.parse(command_line[1:]))
        sys.stdout.flush()
    except UsageError as wrong:
        return _refused(f"imaging {command_line[0]}", str(wrong).splitlines(), f"imaging help {command_line[0]}")
    except CommandError as failed:
        print(f"imaging {command_line[0]}: {failed}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a pipe has seen enough; Python would try once more at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder that may not be written: where it is, and what the system says
        print(
            f"imaging {command_line[0]}: {error.filename or 'the operation failed'}: {error.strerror}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _refused(who: str, faults: Sequence[str], more: str) -> int:
    """A line for each fault; where to read on stands in the last."""
    lines = [f"{who}: {each}" for each in faults]
    print("\n".join(lines) + f" (see `{more}`)", file=sys.stderr)
    return 2


def _without_command(command_line: Sequence[str]) -> int:
    if command_line and command_line[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if command_line == ["--version"]:
        print(f"imaging {__version__}")
        return 0
    if command_line:
        return _refused(
            "imaging", [f"{command_line[0]!r} is not a command{nearest(command_line[0], COMMANDS)}"], "imaging help"
        )
    print(_overview(), file=sys.stderr)
    return 2


def _overview() -> str:
    lines = [f"  {name:<14}{meaning}" for name, meaning in COMMANDS.items()]
    return "\n".join(
        [
            "usage: imaging COMMAND ...",
            "",
            "Triage of medical images: DICOM in, structured findings out, a worklist in order.",
            "Not a medical device; its results are not a diagnosis.",
            "",
            *lines,
            "",
            "Run `imaging help COMMAND` for the options of a command.",
        ]
    )
