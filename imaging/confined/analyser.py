"""A model in the confined process: what `imaging.inference.analyser` offers, asked from outside."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from imaging.confined.client import Confined, Ended
from imaging.domain.card import Card
from imaging.domain.faults import PublicError, fingerprint
from imaging.domain.findings import Answer, ImageRef, State
from imaging.domain.pictures import Pictures
from imaging.domain.reasons import Reason
from imaging.domain.same_image import Judgement
from imaging.domain.source import Source
from imaging.domain.tuning import Parity, Setup

LOADING_S: Final = 60.0
"""What reading and loading a network may take, beside what its card allows a job."""
GOLDEN_S: Final = 10.0
"""What a golden case may take, beside what its card allows for two jobs: it is the first."""


@dataclass(frozen=True)
class Prepared:
    """A study's input, which lies in the confined process under a number. `images`: of the whole study."""

    number: int
    images: tuple[ImageRef, ...]


class ConfinedAnalyser:
    """A model, loaded once. `site_words`: by which its card was read. `setup`: how it is run, where that is not as its
    card says. Calls from several threads are safe.

    Where the process is gone, every call raises Ended, but for those that say what they do then. Started anew, it
    loads the model at the next call.
    """

    def __init__(
        self, confined: Confined, card: Card, site_words: Sequence[str] = (), setup: Setup | None = None
    ) -> None:
        self.card = card if setup is None else setup.applied_to(card)
        self.max_batch = 1
        self._setup = setup
        self._confined, self._site_words = confined, list(site_words)
        self._opened_in, self._opening = 0, threading.Lock()

    def warm(self, *, is_proven: bool = False) -> None:
        """Loads the engine, and learns how many studies had best be run at once. Raises PublicError.

        It is run once as well, unless it `is_proven` that it runs: its golden case has come out with this very engine.
        """
        self.max_batch = self._ask("warm", seconds=LOADING_S + self.card.engine.seconds, is_proven=is_proven)

    def proof(self) -> str:
        """What the golden case has to be run again for, if it changes. Raises PublicError."""
        return str(self._ask("proof"))

    def golden_faults(self) -> tuple[str, ...]:
        """In what the golden case does not come out, or why it cannot be run; empty where it comes out.

        To be called once the model is warm.
        """
        try:
            return tuple(self._ask("golden", seconds=GOLDEN_S + 2 * self.card.engine.seconds))
        except Exception as error:  # noqa: BLE001 (whatever keeps it from running keeps the model from being served)
            return (fingerprint(error),)

    def prepared(
        self,
        sources: Sequence[Source],
        *,
        is_chosen: bool = False,
        seconds: float | None = None,
        pictures: Pictures | None = None,
    ) -> Prepared | Answer:
        """What the engine takes of a study, or how it ends without. `is_chosen`: whatever the gates would say.
        `pictures`: the files are plain pictures, not DICOM.
        """
        headers = [source.header.to_json() for source in sources]
        images = tuple(source.ref for source in sources)
        asked = {"headers": headers, "is_chosen": is_chosen, "pictures": pictures and pictures.to_json()}
        try:
            reply = self._ask("prepare", sources, seconds, **asked)
            return Answer.from_json(reply["answer"]) if "answer" in reply else Prepared(reply["prepared"], images)
        except Ended:
            raise
        except Exception as error:  # noqa: BLE001 (of the study, whatever happened to it)
            return _ended_by(error, images)

    def run(self, prepared: Sequence[Prepared], *, is_alone: bool = True, seconds: float | None = None) -> list[Answer]:
        """The outcomes of prepared studies, in their order. `is_alone`: no other run is expected meanwhile."""
        try:
            numbers = [each.number for each in prepared]
            reply = self._ask("run", seconds=seconds, prepared=numbers, is_alone=is_alone)
            return [Answer.from_json(answer) for answer, _ in zip(reply, prepared, strict=True)]
        except Ended:
            raise
        except Exception as error:  # noqa: BLE001 (of these studies)
            return [_ended_by(error, each.images) for each in prepared]

    def analyse(self, sources: Sequence[Source], *, is_chosen: bool = False, seconds: float | None = None) -> Answer:
        """The model's answer for a study. `seconds`: for each of its two steps; the process is ended beyond."""
        prepared = self.prepared(sources, is_chosen=is_chosen, seconds=seconds)
        return prepared if isinstance(prepared, Answer) else self.run([prepared], seconds=seconds)[0]

    def of_nothing(self, image: ImageRef) -> Answer:
        """What a film's network says of an empty film. Raises PublicError."""
        return Answer.from_json(self._ask("of_nothing", seconds=LOADING_S, image=list(vars(image).values())))

    def observe(self, seconds: float) -> Any:
        """What it makes of its golden case, or of drawn images; to be given to `parity`. Raises PublicError."""
        return self._ask("observe", seconds=seconds)

    def parity(self, reference: Any, seconds: float) -> Parity:
        """How far its answers are from those that `observe` gave of another setup. Raises PublicError."""
        return Parity(**self._ask("parity", seconds=seconds, reference=reference))

    def speed(self, measured_s: float, seconds: float) -> Mapping[str, float]:
        """How fast it is run as the pipeline runs it, measured for so long: `per_s`, `alone_ms`, `memory_mb`
        (`imaging.inference.speed`). Raises PublicError.
        """
        return dict(self._ask("speed", seconds=seconds, measured_s=measured_s))

    def close(self) -> None:
        """Gives the engine's memory back; the next run loads it again. One that was not loaded has none."""
        if self._opened_in == self._confined.starts:
            self._ask("close")

    def _ask(self, do: str, sources: Sequence[Source] = (), seconds: float | None = None, **fields: object) -> Any:
        with self._opening:
            if self._opened_in != self._confined.starts:
                self._confined.ask("open", self._of_card())
                self._opened_in = self._confined.starts
        return self._confined.ask(do, {"model": self.card.id, **fields}, sources, seconds)

    def _of_card(self) -> dict[str, object]:
        return {
            "model": self.card.id,
            "folder": str(self.card.folder.absolute()),
            "digest": self.card.digest,
            "kept": str(self._confined.weights(self.card)),
            "site_words": self._site_words,
            "setup": asdict(self._setup) if self._setup is not None else None,
        }


def _ended_by(error: Exception, images: tuple[ImageRef, ...]) -> Answer:
    if isinstance(error, MemoryError):
        return Answer(State.NOT_ANALYSED, reason=Reason("memory"), images=images)
    return Answer(
        State.FAILED, fault=str(error) if isinstance(error, PublicError) else fingerprint(error), images=images
    )


def check(confined: Confined, card: Card) -> tuple[str, ...]:
    """In what a model's golden case does not come out, within the limits of a job. The process is there afterwards."""
    analyser = ConfinedAnalyser(confined, card)
    try:
        analyser.warm()
    except Exception as error:  # noqa: BLE001 (it cannot be served, whatever it is)
        faults: tuple[str, ...] = (str(error) if isinstance(error, PublicError) else fingerprint(error),)
    else:
        faults = analyser.golden_faults()
    confined.restart_if_ended()
    analyser.close()
    return faults


def load_fault(confined: Confined, card: Card) -> str:
    """Why a model's engine cannot be loaded; empty where it can. Nothing is run. The process is there afterwards."""
    analyser, fault = ConfinedAnalyser(confined, card), ""
    try:
        analyser.warm(is_proven=True)
    except Exception as error:  # noqa: BLE001 (it cannot be served, whatever it is)
        fault = str(error) if isinstance(error, PublicError) else fingerprint(error)
    confined.restart_if_ended()
    analyser.close()
    return fault


def compare(confined: Confined, first: Source, second: Source) -> Judgement:
    """What the second object is to the first. Raises OSError where a file cannot be had."""
    headers = [each.header.to_json() for each in (first, second)]
    return Judgement.from_json(confined.ask("compare", {"headers": headers}, [first, second]))
