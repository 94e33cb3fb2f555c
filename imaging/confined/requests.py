"""What may be asked of the confined process, and the answers."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from imaging.domain.faults import PublicError, fingerprint, is_out_of_memory
from imaging.domain.findings import Answer, ImageRef
from imaging.domain.header import Header
from imaging.domain.pictures import Pictures
from imaging.domain.site_words import SiteWords
from imaging.domain.source import Source
from imaging.domain.tuning import Setup
from imaging.inference import golden
from imaging.inference.analyser import Analyser
from imaging.inference.compare import compare
from imaging.inference.parity import Observed, observed, parity
from imaging.inference.pictures import PictureSource
from imaging.inference.prepared import Prepared
from imaging.inference.speed import speed
from imaging.memory import trim_memory
from imaging.models.catalogue import at_site
from imaging.models.reading import read_card

Json = Mapping[str, Any]


@dataclass(frozen=True)
class OpenFile(Source):
    """An instance whose file its parent opened: `fd` is read, and its path is nobody's business here."""

    fd: int = -1

    def read_bytes(self) -> bytes:
        """From the start, wherever others read it."""
        size, parts, at = os.fstat(self.fd).st_size, list[bytes](), 0
        while at < size and (part := os.pread(self.fd, size - at, at)):
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Requests:
    """Models by id, and what was prepared and waits for its engine."""

    def __init__(self, threads: int, device: str) -> None:
        self._threads, self._device = threads, device
        self._models: dict[str, Analyser] = {}
        self._prepared: dict[int, Prepared] = {}
        self._count, self._lock = 0, threading.Lock()

    def answer(self, request: Json, files: Sequence[int]) -> Json:
        """`value`: what was asked for; else `memory`: there was not enough; or `error`: what went wrong."""
        try:
            return {"value": _KNOWN[request["do"]](self, request, files)}
        except Exception as error:  # noqa: BLE001 (told to who asked)
            return {"memory": True} if is_out_of_memory(error) else {"error": fingerprint(error)}

    def open(self, request: Json, _: Sequence[int]) -> None:
        """Takes a model in, as the parent read its card, to be run as its `setup` says, where it has one. Its engine is
        loaded when it is first needed.
        """
        card = at_site(read_card(Path(request["folder"])), SiteWords.of(request["site_words"]))
        if card.digest != request["digest"]:
            raise PublicError("the card or its weights changed while it was loaded")
        if (setup := request["setup"]) is not None:
            card = Setup(**setup).applied_to(card)
        card = replace(card, kept=Path(request["kept"]), engine=replace(card.engine, device=self._device))
        self._models[request["model"]] = Analyser(card, self._threads)

    def warm(self, request: Json, _: Sequence[int]) -> int:
        """Loads the engine and runs it once, unless it is proven. Returns how many studies had best be run at once."""
        analyser = self._models[request["model"]]
        try:
            if not request["is_proven"]:
                analyser.warm()
            return analyser.max_batch
        except Exception as error:
            if isinstance(error, PublicError) or is_out_of_memory(error):
                raise
            raise PublicError(f"its engine cannot be loaded: {fingerprint(error)}") from error

    def proof(self, request: Json, _: Sequence[int]) -> str:
        """What the golden case has to be run again for, if it changes."""
        return golden.proof(self._models[request["model"]].card)

    def golden(self, request: Json, _: Sequence[int]) -> list[str]:
        """In what the golden case does not come out."""
        return list(golden.checked(self._models[request["model"]]).faults)

    def observe(self, request: Json, _: Sequence[int]) -> Json:
        """What the model makes of its golden case, or of drawn images, as JSON."""
        return observed(self._models[request["model"]]).to_json()

    def parity(self, request: Json, _: Sequence[int]) -> Json:
        """How far that is from what is given, as JSON."""
        reference = Observed.from_json(request["reference"])
        return asdict(parity(reference, observed(self._models[request["model"]])))

    def speed(self, request: Json, _: Sequence[int]) -> Json:
        """How fast the model is run as the pipeline runs it, as JSON."""
        return asdict(speed(self._models[request["model"]], request["measured_s"], self._threads))

    def close(self, request: Json, _: Sequence[int]) -> None:
        """Gives an engine's memory back."""
        self._models[request["model"]].close()

    def prepare(self, request: Json, files: Sequence[int]) -> Json:
        """`prepared`: the number by which it is run; or `answer`: how it ended already."""
        sources = _sources(request["headers"], files)
        if request["pictures"] is not None:
            window = Pictures.from_json(request["pictures"]).window
            sources = [PictureSource(each.path, each.header, each, window) for each in sources]
        prepared = self._models[request["model"]].prepared(sources, is_chosen=request["is_chosen"])
        if isinstance(prepared, Answer):
            return {"answer": prepared.to_json()}
        with self._lock:
            self._count += 1
            number = self._count
            self._prepared[number] = prepared
        return {"prepared": number}

    def run(self, request: Json, _: Sequence[int]) -> list[Json]:
        """The answers of what was prepared, in the order asked for. Afterwards it is gone."""
        with self._lock:
            prepared = [self._prepared.pop(each) for each in request["prepared"]]
        answers = self._models[request["model"]].run(prepared, is_alone=request["is_alone"])
        return [each.to_json() for each in answers]

    def of_nothing(self, request: Json, _: Sequence[int]) -> Json:
        """The answer of a model that was given no image of a study, as JSON."""
        return self._models[request["model"]].of_nothing(ImageRef(*request["image"])).to_json()

    def compare(self, request: Json, files: Sequence[int]) -> Json:
        """What the comparison of two objects under one UID found, as JSON."""
        first, second = _sources(request["headers"], files)
        return compare(first, second).to_json()

    def rest(self, _: Json, __: Sequence[int]) -> None:
        """Gives the system back what a burst took."""
        trim_memory()


def _sources(headers: Sequence[Json], files: Sequence[int]) -> list[Source]:
    pairs = zip(headers, files, strict=True)
    return [OpenFile(Path(f"/proc/self/fd/{fd}"), Header.from_json(header), fd) for header, fd in pairs]


_KNOWN: Final[Mapping[str, Callable[[Requests, Json, Sequence[int]], Any]]] = {
    name: getattr(Requests, name)
    for name in (
        *("open", "warm", "proof", "golden", "close", "prepare", "run", "of_nothing", "compare", "rest"),
        *("observe", "parity", "speed"),
    )
}
