"""The confined process: takes its limits, then answers requests until its parent is gone.

The parent sends over the control socket what it is to be, then a socket for each thread of its own that asks: a
request and its answer go over one socket, one at a time, and wait for no other.
"""

import contextlib
import os
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from imaging.confined import messages
from imaging.confined.limits import confine
from imaging.memory import importing
from imaging.models.devices import CPU, number_of

Answerer = Callable[[Mapping[str, Any], Sequence[int]], Mapping[str, Any]]
"""Answers one request with its open files. Called from several threads; its errors are told by their fingerprint."""

CANNOT_START: Final = 4
_TOO_MANY: Final = {"error": "the study has more images than files may be open at once (RLIMIT_NOFILE)"}


def main(arguments: Sequence[str]) -> int:
    """`arguments`: the number of the control socket."""
    return run(int(arguments[0]), _answerer)


def run(control_fd: int, begin: Callable[[Mapping[str, Any]], Answerer]) -> int:
    """`begin` is called within the limits, and returns what answers."""
    control = socket.socket(fileno=control_fd)
    warnings.simplefilter("ignore")
    start_message = messages.receive(control).content
    readable = [Path(each) for each in start_message["readable"]]
    number = number_of(start_message.get("device", CPU))
    confinement = confine(start_message["parent"], readable, start_message["memory_mb"], number)
    try:
        answer = begin(start_message)
    except Exception as error:  # noqa: BLE001 (the parent says it; here is nobody who would read it)
        messages.send(control, {"cannot": _of_error(error)})
        return CANNOT_START
    _say_nothing()
    messages.send(control, {"confinement": confinement.to_json()})
    _serve(control, answer)
    os._exit(0)  # threads may be within a network


def _answerer(start_message: Mapping[str, Any]) -> Answerer:
    """The libraries are loaded within the limits too."""
    with importing():
        from imaging.confined.requests import Requests

    return Requests(start_message["threads"], start_message["device"]).answer


def _of_error(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _say_nothing() -> None:
    """Libraries' words may quote patients' data, and what a file makes of this process may say anything."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)
    sys.stdout = sys.stderr = None  # print and logging then say nothing


def _serve(control: socket.socket, answer: Answerer) -> None:
    while channels := socket.recv_fds(control, 1, 1)[1]:
        channel = socket.socket(fileno=channels[0])
        threading.Thread(target=_answer_all, args=(channel, answer), daemon=True).start()


def _answer_all(channel: socket.socket, answer: Answerer) -> None:
    with contextlib.suppress(messages.Closed), channel:
        while True:
            with messages.receive(channel) as request:
                response = _TOO_MANY if request.files is None else answer(request.content, request.files)
            messages.send(channel, response)
