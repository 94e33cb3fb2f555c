"""The confined process as its parent has it: started, asked, ended.

Each thread that asks has a socket of its own for as long as it waits, so that no answer stands behind another's.
"""

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from imaging.confined import messages
from imaging.confined.limits import Confinement
from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.source import Source
from imaging.models.copies import copied
from imaging.models.devices import CPU
from imaging.start import isolated

_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
"""Threads are our own, and only the first arena of glibc's is ever given back. What a film takes stays for the next one
until there is rest: 3,400 new pages for each cost 10 ms of CPU.
"""
_PASSED_ON: Final = frozenset({"LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ"})
"""Of our own environment, which may hold a password."""
_END_S: Final = 5.0


class Ended(PublicError):
    """The process is gone: the text says how."""


class Confined:
    """The process. As a context manager it is ended, and its folder for weights removed.

    `readable`: the cards whose files it may read. `kept`: the folder of copies of weights; without one it gets its own.
    `on_end`: called once, from any thread, when the process has ended without being asked to, before those who wait for
    an answer hear of it. `command`: what starts it, by the number of its control socket. `device`: "cpu" or "cuda:N",
    where address space is not limited, since the driver reserves far more of it than it uses.
    """

    def __init__(
        self,
        readable: Collection[Card],
        *,
        threads: int,
        memory_mb: float | None,
        kept: Path | None = None,
        on_end: Callable[[str], None] = lambda why: None,
        command: Callable[[str], list[str]] = lambda fd: isolated("imaging.confined.process", fd),
        device: str = CPU,
    ) -> None:
        self._held = ExitStack()
        self._copies = kept or Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="imaging-")))
        paths = [self._copies.absolute(), *(path for card in readable for path in _files(card))]
        limits = {"memory_mb": memory_mb if device == CPU else None, "threads": threads, "device": device}
        self._start_message = {"parent": os.getpid(), "readable": [str(each) for each in paths]} | limits
        self._on_end, self._command = on_end, command
        self._lock, self._send_lock = threading.Lock(), threading.Lock()
        self._how = ""
        self.starts = 0
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        """Begins a process. It is not waited for: both sides load their libraries meanwhile."""
        self.starts += 1
        self._confinement: Confinement | None = None
        self._free: list[socket.socket] = []
        self._is_ending, self._how = False, ""
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = _started(self._command(str(theirs.fileno())), theirs.fileno())
        with suppress(messages.Closed):  # who asks hears of it
            messages.send(self._control, self._start_message)
        threading.Thread(target=self._wait, args=(self._process,), name="confined", daemon=True).start()

    def restart_if_ended(self) -> None:
        """Another process, where this one is gone. Models are loaded in it when they are next asked."""
        if self._process.poll() is not None:
            self._end()
            self._start()

    def call_at_end(self, on_end: Callable[[str], None]) -> None:
        """Another `on_end`. Where the process has already ended without being asked to, it is called at once."""
        with self._send_lock:
            self._on_end = on_end
            if self._how:
                on_end(self._how)

    @property
    def confinement(self) -> Confinement:
        """What holds the process, which is waited for. Raises Ended, or PublicError where it cannot be started."""
        with self._lock:
            if self._confinement is None:
                try:
                    content = messages.receive(self._control).content
                except (messages.Closed, ConnectionResetError):
                    raise self._ended() from None
                if "cannot" in content:
                    raise PublicError(
                        f"the process that decodes pixels and runs networks cannot start: {content['cannot']}"
                    )
                self._confinement = Confinement(**content["confinement"])
            return self._confinement

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(
        self,
        do: str,
        content: Mapping[str, object] = MappingProxyType({}),
        files: Sequence[Source] = (),
        seconds: float | None = None,
    ) -> Any:
        """The answer to a request; `files` are opened for it. One that takes longer than `seconds` ends the process.

        Raises PublicError, MemoryError, Ended, and OSError where a file cannot be opened.
        """
        channel = self._channel()
        try:
            if seconds is not None:
                channel.settimeout(seconds)
            messages.send(channel, {**content, "do": do}, [each.path for each in files])
            answer = messages.receive(channel).content
            if seconds is not None:
                channel.settimeout(None)
        except TimeoutError:
            self._end()
            raise Ended(f"it took longer than {seconds:g} s, and was stopped") from None
        except (messages.Closed, ConnectionResetError):
            channel.close()
            raise self._ended() from None
        except BaseException:
            channel.close()  # it may be in the middle of a message
            raise
        with self._lock:
            self._free.append(channel)
        return _value(answer)

    def _channel(self) -> socket.socket:
        """A socket that nobody uses."""
        self.confinement  # noqa: B018 (it listens once it is confined)
        with self._lock:
            if self._free:
                return self._free.pop()
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(self._control, [b"c"], [theirs.fileno()])
                except OSError:
                    ours.close()
                    raise self._ended() from None
            return ours

    def weights(self, card: Card) -> Path:
        """Where the process finds the card's weights until it ends. Raises PublicError."""
        return self._held.enter_context(copied(card, self._copies))

    def close(self) -> None:
        """Ends the process."""
        self._end()
        self._held.close()

    def _end(self) -> None:
        self._is_ending = True
        self._process.kill()
        self._process.wait()
        with self._lock:
            for each in (self._control, *self._free):
                each.close()
            self._free = []

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        if process is self._process:
            self._ended()

    def _ended(self) -> Ended:
        """What to raise; `on_end` is called before anybody hears of it, once."""
        how = self._how_ended()
        with self._send_lock:
            if not self._is_ending:
                self._is_ending = True
                self._how = how
                self._on_end(how)
        return Ended(how)

    def _how_ended(self) -> str:
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the process that decodes pixels and runs networks {how}"


def _started(command: Sequence[str], control: int) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if name in _PASSED_ON} | _ENVIRONMENT
    return subprocess.Popen(
        command,
        pass_fds=(control,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )


def _files(card: Card) -> list[Path]:
    """What is read of a model's folder. It may hold more than a model, if it is the site's."""
    names = ["card.toml", *(each.name for each in card.engine.files)]
    names += [card.golden.input, card.golden.output] if card.golden is not None else []
    return [(card.folder / name).absolute() for name in names]


def _value(answer: Mapping[str, Any]) -> Any:
    if "error" in answer:
        raise PublicError(answer["error"])
    if "memory" in answer:
        raise MemoryError
    return answer["value"]
