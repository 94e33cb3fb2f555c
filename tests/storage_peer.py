"""A Storage SCP of a test's own: it answers with the status, takes the contexts and knows the AE titles it is told."""

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from peers import free_port
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import CTImageStorage, Verification

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


class StoragePeer:
    """Listens once `start` is called, on a port that it keeps. `stored`: what came, in its order."""

    def __init__(
        self,
        *,
        status: int = 0x0000,
        sop_classes: Sequence[str] = (SR_CLASS,),
        syntaxes: Sequence[str] = NATIVE,
        ae_title: str = "PACS",
        hangs_up: bool = False,
        refuses: Mapping[str, int] | None = None,
    ) -> None:
        """`refuses`: the status for objects of these SOP classes, whose contexts it takes."""
        self.status, self.sop_classes, self.syntaxes, self.ae_title = status, sop_classes, syntaxes, ae_title
        self.hangs_up, self.refuses = hangs_up, refuses or {}
        self.port = free_port()
        self.stored: list[Dataset] = []
        self.answers = threading.Event()
        """Cleared: what comes waits for its answer until it is set again."""
        self.answers.set()
        self.associations = 0
        self.released = threading.Event()
        self._server: Any = None
        self._unrestricted = False

    @property
    def address(self) -> str:
        return f"PACS@127.0.0.1:{self.port}"

    def start(self) -> "StoragePeer":
        entity = AE(self.ae_title)
        entity.require_called_aet = True
        entity.add_supported_context(Verification)
        entity.add_supported_context(CTImageStorage)
        for each in self.sop_classes:
            entity.add_supported_context(each, list(self.syntaxes))
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_RELEASED, self._released),
        ]
        self._unrestricted = _config.UNRESTRICTED_STORAGE_SERVICE  # our own acceptor, once imported, sets it for all
        _config.UNRESTRICTED_STORAGE_SERVICE = False
        self._server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def stop(self, *, wait: bool = True) -> None:
        """Ends it; `wait` until its port is free, which takes half a second."""
        if self._server is None:
            return
        _config.UNRESTRICTED_STORAGE_SERVICE = self._unrestricted
        ending = threading.Thread(target=self._server.shutdown, daemon=True)
        self._server = None
        ending.start()
        if wait:
            ending.join()

    def uids(self) -> list[str]:
        return [str(each.SOPInstanceUID) for each in self.stored]

    def _store(self, event: evt.Event) -> int:
        if self.hangs_up:
            event.assoc.abort()
            return 0x0110
        if refused := self.refuses.get(str(event.request.AffectedSOPClassUID)):
            return refused
        if self.status < 0x0100 or self.status >> 12 == 0xB:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            self.stored.append(dataset)
        self.answers.wait(30)
        return self.status

    def _requested(self, _: evt.Event) -> None:
        self.associations += 1

    def _released(self, _: evt.Event) -> None:
        self.released.set()


class DeafPort:
    """A port where every connection is taken and dropped; `at`: when each came, in seconds."""

    def __init__(self, *, drops: bool = True) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.at: list[float] = []
        self._drops = drops
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.at.append(time.monotonic())
            if self._drops:
                connection.close()
            else:
                self._kept.append(connection)

    def stop(self) -> None:
        self._socket.close()
        for each in self._kept:
            each.close()
