"""Wake-ups between processes, so that nobody polls: `notify(topics)` here, `wait(seconds)` there.

They may be lost, also by a kill between commit and notify: each waiter looks at start and every few seconds as well,
so that a lost one costs seconds, never a study. `SocketWakeUps` reaches the processes of one machine.
"""

import os
import select
import socket
from pathlib import Path
from typing import Final, Protocol

STUDY: Final = "study"
"""A study's row changed: the page looks."""
JOB: Final = "job"
"""A job was queued: workers look."""
DELIVERY: Final = "delivery"
"""A delivery is due: senders look."""
SETTLE: Final = "settle"
"""A study may be whole, or waits at another time: the node looks."""


class Listener(Protocol):
    """One waiter; made by `WakeUps.listen`."""

    def fileno(self) -> int:
        """Of what can be read from once a topic was notified; then `drain` is to be called."""

    def wait(self, seconds: float) -> set[str]:
        """The topics notified since the last call; waits up to `seconds` for the first. Empty: none came."""

    def drain(self) -> set[str]:
        """The topics notified since the last call, without waiting."""

    def close(self) -> None:
        """Hears no more."""


class WakeUps(Protocol):
    """How the processes of a ledger wake each other."""

    def listen(self, name: str) -> Listener:
        """A listener to every topic; `name` starts with the topics that it cares about: `job+study`, say."""

    def notify(self, *topics: str) -> None:
        """Tells every listener whose name holds one of the topics. Never waits and never fails."""

    def close(self) -> None:
        """Notifies no more."""


class SocketListener:
    """A datagram socket in a folder of the home."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.{os.getpid()}.sock"
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with _ShortName(folder) as prefix:
            self._socket.bind(f"{prefix}/{self._path.name}")

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def wait(self, seconds: float) -> set[str]:
        """The topics that came within so many seconds; returns at the first."""
        if seconds > 0:
            select.select([self._socket], [], [], seconds)
        return self.drain()

    def drain(self) -> set[str]:
        """The topics that have come, without waiting."""
        topics: set[str] = set()
        while True:
            try:
                topics.add(self._socket.recv(64).decode(errors="replace"))
            except (BlockingIOError, InterruptedError):
                return topics

    def close(self) -> None:
        """Removes the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class SocketWakeUps:
    """The wake-ups of one machine: a datagram to the socket of each listener that is in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def listen(self, name: str) -> SocketListener:
        """A socket in the folder, named after the topics that it hears."""
        return SocketListener(self._folder, name)

    def notify(self, *topics: str) -> None:
        """Sends the topics to every listener, and waits for none; one that is gone is removed."""
        try:
            with _ShortName(self._folder) as prefix:
                for name in os.listdir(self._folder):  # noqa: PTH208 (names only, and often)
                    for topic in topics:
                        if topic in name.partition(".")[0].split("+"):
                            self._send(f"{prefix}/{name}", topic, self._folder / name)
        except OSError:  # no descriptor is free, or the home is gone: the waiters look of themselves
            return

    def _send(self, address: str, topic: str, path: Path) -> None:
        try:
            self._socket.sendto(topic.encode(), address)
        except ConnectionRefusedError:  # its process is dead
            path.unlink(missing_ok=True)
        except OSError:  # full, or gone meanwhile
            return

    def close(self) -> None:
        """Closes the socket that sends."""
        self._socket.close()


class _ShortName:
    """The folder under a name that fits into a socket address (108 bytes), however deep the home lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
