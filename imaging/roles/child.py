"""What every child process has: its settings on stdin, a word when it is ready, an end with its parent.

`imaging.start` calls `main` with ROLE, READY_FD and LIFE_FD. Settings come as JSON on stdin: they may hold a password.
"""

import importlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from imaging.domain.faults import fingerprint
from imaging.ledger.unusable import SchemaDiffers
from imaging.memory import importing

MODULES: Final = {
    "node": "imaging.roles.node",
    "worker": "imaging.roles.beginning",
    "deliver": "imaging.roles.deliver",
    "web": "imaging.roles.web",
}

LOOK_S: Final = 5.0
"""How often a waiter looks without being woken: a lost wake-up costs this much."""

CANNOT_RUN: Final = 4
"""The exit status of a role that cannot be run here, where trying again is of no use: a taken port, another schema."""


@dataclass(frozen=True)
class Lifecycle:
    """How a role and its supervisor speak. `stop` is set when the role shall drain and end."""

    stop: threading.Event
    ready: Callable[[Mapping[str, Any]], None]
    on_stop: Callable[[Callable[[], None]], None]


class CannotRun(Exception):
    """The role cannot be run here, and trying again is of no use; the text says why and what to do."""


class Role(Protocol):
    """A module of a role has `run(config, lifecycle)`, which returns when it has drained."""

    def run(self, config: Mapping[str, Any], lifecycle: Lifecycle) -> None: ...


def main(arguments: list[str]) -> None:
    """Runs a role until SIGTERM, or until the supervisor's end of the life pipe is gone."""
    name, ready_fd, life_fd = arguments
    quiet_logging(name)
    lifecycle = _life(int(ready_fd), int(life_fd))
    config = json.load(sys.stdin)
    error_file = Path(config["home"]) / "run" / f"{config['name']}.error"
    threading.excepthook = partial(_thread_died, error_file)
    status = 0
    try:
        with importing():
            module: Role = importlib.import_module(MODULES[name])
        module.run(config, lifecycle)
    except (CannotRun, SchemaDiffers) as error:
        error_file.write_text(str(error))
        status = CANNOT_RUN
    except Exception as error:
        logging.exception("role_failed error=%s", type(error).__name__)
        error_file.write_text(fingerprint(error))
        status = 1
    logging.shutdown()
    os._exit(status)  # threads of libraries may still wait for a peer; what is durable is durable


def _thread_died(error_file: Path, args: threading.ExceptHookArgs) -> None:
    """A thread of ours that dies ends its process: half a role is worse than none, which is started again."""
    _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    began = [Path(frame.filename) for frame in traceback.extract_tb(args.exc_traceback)]
    first = next((file for file in began if file.name != "threading.py"), None)
    if args.exc_value is not None and first is not None and first.resolve().is_relative_to(_PACKAGE):
        error_file.write_text(fingerprint(args.exc_value))
        os._exit(1)


_PACKAGE: Final = Path(__file__).resolve().parents[1]


def quiet_logging(name: str) -> None:
    """Lines are past events with fields, on stderr. What libraries say quotes patients' data: it stays out."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    warnings.simplefilter("ignore")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_WithoutTexts(f"%(asctime)s {name} %(levelname)s %(message)s"))
        handler.addFilter(_is_ours)  # a level would not do: libraries set theirs when they are imported
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None:
        logging.error("uncaught error=%s", kind.__name__, exc_info=(kind, error, trace))


class _WithoutTexts(logging.Formatter):
    """Says the time with its zone; of an error, and of those it came from, type and place.

    Never an error's text, which may quote patients' data.
    """

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the library's name)
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            lines += [*traceback.format_list(traceback.extract_tb(error.__traceback__)), f"{type(error).__name__}\n"]
            error = error.__cause__ or error.__context__
        return "".join(lines).rstrip()


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == "root" or record.name.partition(".")[0] == "imaging"


def _life(ready_fd: int, life_fd: int) -> Lifecycle:
    stop = threading.Event()
    wake: list[Callable[[], None]] = []

    def end(*_: object) -> None:
        stop.set()
        for each in wake:
            each()

    def outlived() -> None:
        os.read(life_fd, 1)  # returns when the supervisor is gone
        os._exit(3)

    def ready(facts: Mapping[str, Any]) -> None:
        os.write(ready_fd, json.dumps(dict(facts)).encode() + b"\n")
        os.close(ready_fd)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=outlived, name="life", daemon=True).start()
    return Lifecycle(stop, ready, wake.append)
