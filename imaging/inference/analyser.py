"""The door to a model: instances in, an `Answer` out.

`prepare` and `run` are apart so that a worker can prepare the next studies while the engine runs these, and so that
one batch serves several studies. Both may be called from several threads. The same input gives the same outcome but
for its timings: nothing here reads a clock for anything else, or draws a number.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Card
from imaging.domain.faults import fingerprint, is_out_of_memory
from imaging.domain.findings import Answer, Finding, ImageRef, State
from imaging.domain.fitting import model_input, select
from imaging.domain.reasons import NotAnalysable, Reason
from imaging.domain.source import Source
from imaging.inference import decode, engine
from imaging.inference.film import read_film
from imaging.inference.pixels import read_file
from imaging.inference.prepare import PreparedVolume, prepare_film, prepare_volume
from imaging.inference.series import read_volume
from imaging.inference.volume import Volume
from imaging.inference.window import slide

Tensor = NDArray[np.float32]

_ANY_SIDE: Final = 64
"""Of the empty image for a network whose card names no shape; a multiple of what networks halve it by."""


@dataclass(frozen=True)
class Prepared:
    """A study's input as the network takes it: `films`, one tensor per image, or one `volume`."""

    images: tuple[ImageRef, ...]
    films: tuple[Tensor, ...] = ()
    volume: tuple[Volume, PreparedVolume] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)


class Analyser:
    """A model, loaded once. `threads`: of its engine, and for decoding a volume's slices."""

    def __init__(self, card: Card, threads: int = 1) -> None:
        self.card = card
        self._threads = threads
        self._engine: engine.Engine | None = None
        self._loading = threading.Lock()

    def warm(self) -> None:
        """Loads the engine and runs it once, so that the first study does not wait for it."""
        self._loaded().run(np.zeros((1, *self._shape_by_card()), np.float32))

    def of_nothing(self, image: ImageRef) -> Answer:
        """What a film's network says of an empty film: an answer of the form that real ones have."""
        empty = np.zeros(self._shape_by_card(), np.float32)
        return self.run([Prepared((image,), films=(empty,), facts={"images": "1"})])[0]

    def close(self) -> None:
        """Gives the engine's memory back; the next run loads it again."""
        with self._loading:
            if self._engine is not None:
                self._engine.close()
            self._engine = None

    def analyse(self, sources: Sequence[Source]) -> Answer:
        """The model's answer for a study. Never raises."""
        prepared = self.prepared(sources)
        return prepared if isinstance(prepared, Answer) else self.run([prepared])[0]

    def prepared(self, sources: Sequence[Source]) -> Prepared | Answer:
        """What the engine takes of a study, or how it ends without: by a reason, or by a fingerprint of our fault."""
        try:
            return self.prepare(sources)
        except NotAnalysable as refused:
            state, reason = State.NOT_ANALYSED, str(refused.reason)
        except Exception as error:  # noqa: BLE001 - the work ends here, whatever happened to it
            state, reason = _state_of(error)
        considered = model_input(self.card, [source.header for source in sources])
        refs = {each.header.sop_instance_uid: each.ref for each in sources}
        return Answer(state, reason=reason, images=tuple(refs[uid] for uid in sorted(considered)), facts=self._facts())

    def prepare(self, sources: Sequence[Source]) -> Prepared:
        """Chooses, reads and prepares what the model takes of a study. Raises NotAnalysable."""
        timings: dict[str, float] = {}
        with _timed(timings, "select"):
            selected = select(self.card, [source.header for source in sources])
        if isinstance(selected, Reason):
            raise NotAnalysable(selected.code, selected.detail)
        by_uid = {source.header.sop_instance_uid: source for source in sources}
        prepared = self.prepare_chosen([by_uid[header.sop_instance_uid] for header in selected.headers])
        return replace(prepared, timings_ms={**timings, **prepared.timings_ms})

    def prepare_chosen(self, sources: Sequence[Source]) -> Prepared:
        """Reads and prepares these instances, whose gates have been asked. Raises NotAnalysable."""
        return self._prepare_volume(sources) if self.card.is_volume else self._prepare_films(sources)

    @property
    def together(self) -> int:
        """How many studies had best be run at once."""
        return 1 if self.card.is_volume else self._loaded().together

    def run(self, prepared: Sequence[Prepared], *, is_alone: bool = True) -> list[Answer]:
        """The outcomes of prepared studies, in their order. One that fails does so alone.

        `is_alone`: no other run is expected meanwhile, so that this one may take all cores.
        """
        try:
            loaded = self._loaded()
        except Exception as error:  # noqa: BLE001 - without an engine all of them have failed, and say so
            return [self._failed(each, error, each.timings_ms) for each in prepared]
        if self.card.is_volume:
            return [self._guarded(each, partial(self._volume_outcome, each, loaded)) for each in prepared]
        return self._run_films(prepared, loaded, is_alone)

    def _guarded(self, prepared: Prepared, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - one study's failure is its own
            return self._failed(prepared, error, prepared.timings_ms)

    # Films

    def _prepare_films(self, sources: Sequence[Source]) -> Prepared:
        timings = {"read": 0.0, "prepare": 0.0}
        films, images, refused = [], [], []
        for source in sources:
            try:
                with _timed(timings, "read"):
                    film = read_film(read_file(source.path))
                with _timed(timings, "prepare"):
                    films.append(prepare_film(film, self.card.prepare))
            except NotAnalysable as error:
                refused.append(error)
            else:
                images.append(source.ref)
        if not films:
            raise refused[0]
        facts = {"images": str(len(images))}
        if refused:
            facts["images_left_out"] = "; ".join(sorted({str(each.reason) for each in refused}))
        return Prepared(tuple(images), films=tuple(films), facts=facts, timings_ms=timings)

    def _run_films(self, prepared: Sequence[Prepared], loaded: engine.Engine, is_alone: bool) -> list[Answer]:
        """Batches mix studies; each study's findings come from its own rows."""
        rows: list[Tensor | Exception] = []
        spent: list[float] = []
        films = [film for each in prepared for film in each.films]
        for first in range(0, len(films), loaded.together):
            batch = films[first : first + loaded.together]
            began = time.perf_counter()
            rows += _run_batch(partial(loaded.run, is_alone=is_alone), batch)
            spent += [1000 * (time.perf_counter() - began) / len(batch)] * len(batch)
        outcomes, at = [], 0
        for each in prepared:
            mine = slice(at, at + len(each.films))
            at = mine.stop
            outcomes.append(self._guarded(each, partial(self._film_outcome, each, rows[mine], sum(spent[mine]))))
        return outcomes

    def _film_outcome(self, prepared: Prepared, rows: Sequence[Tensor | Exception], infer_ms: float) -> Answer:
        timings = {**prepared.timings_ms, "infer": infer_ms}
        outputs = []
        for row in rows:
            if isinstance(row, Exception):
                raise row
            outputs.append(row)
        with _timed(timings, "decode"):
            uids = [image.sop_instance_uid for image in prepared.images]
            findings = decode.labels(self.card, np.stack(outputs), uids)
        return self._analysed(prepared, findings, timings, {})

    # Volumes

    def _prepare_volume(self, sources: Sequence[Source]) -> Prepared:
        timings: dict[str, float] = {}
        with _timed(timings, "read"):
            volume = read_volume(sources, self.card.inputs[0], self._threads)
        with _timed(timings, "prepare"):
            prepared = prepare_volume(volume, self.card.prepare)
        grid = prepared.grid
        facts = {**volume.facts, "prepared_mm": "x".join(f"{each:.4g}" for each in grid.spacing_mm)}
        images = tuple(dict.fromkeys(volume.images))
        return Prepared(images, volume=(volume, prepared), facts=facts, timings_ms=timings)

    def _volume_outcome(self, prepared: Prepared, loaded: engine.Engine) -> Answer:
        assert prepared.volume is not None
        volume, tensor = prepared.volume
        timings = dict(prepared.timings_ms)
        facts = {}
        with _timed(timings, "infer"):
            window = self.card.engine.window
            if window is None:
                outputs = loaded.run(tensor.values[None])[0]
            else:
                outputs, patches = slide(loaded.run, tensor.values, window)
                facts["patches"] = str(patches)
        with _timed(timings, "decode"):
            findings = decode.segments(self.card, outputs, tensor, volume)
        return self._analysed(prepared, findings, timings, facts)

    # Both

    def _analysed(
        self, prepared: Prepared, findings: tuple[Finding, ...], timings: Mapping[str, float], facts: Mapping[str, str]
    ) -> Answer:
        rule = decode.fired(self.card, findings)
        fired = f"{rule.finding} >= {rule.at_least:g}: {rule.triage}" if rule else "no rule applies"
        return Answer(
            State.ANALYSED,
            findings=findings,
            triage=rule.triage if rule else None,
            images=prepared.images,
            facts=self._facts({**prepared.facts, **facts, "triage": fired, "engine": self._loaded().description}),
            timings_ms=_rounded(timings),
        )

    def _failed(self, prepared: Prepared, error: Exception, timings: Mapping[str, float]) -> Answer:
        state, reason = _state_of(error)
        return Answer(
            state,
            reason=reason,
            images=prepared.images,
            facts=self._facts(prepared.facts),
            timings_ms=_rounded(timings),
        )

    def _facts(self, facts: Mapping[str, str] | None = None) -> dict[str, str]:
        """What was run, and on what: sorted, without anything that differs between two runs."""
        said = {
            "card": self.card.digest[:12],
            "weights": self.card.engine.sha256[:12],
            "precision": self.card.engine.precision,
            **(facts or {}),
        }
        return dict(sorted(said.items()))

    def _loaded(self) -> engine.Engine:
        with self._loading:
            if self._engine is None:
                self._engine = engine.load(self.card, self._threads)
            return self._engine

    def _shape_by_card(self) -> list[int]:
        """(channels, ...) as the card's steps make it."""
        channels = next((step.options["count"] for step in self.card.prepare if step.do == "repeat-channels"), 1)
        window = self.card.engine.window
        if window is not None:
            return [channels, *window.roi]
        shapes = [step.options["shape"] for step in self.card.prepare if step.do in ("resize", "crop-centre")]
        return [channels, *(shapes[0] if shapes else (_ANY_SIDE,) * (3 if self.card.is_volume else 2))]


def _state_of(error: Exception) -> tuple[State, str]:
    """How work ends that met this error, and what is said of it: a fingerprint holds no patient's data."""
    return (State.NOT_ANALYSED, "memory") if is_out_of_memory(error) else (State.FAILED, fingerprint(error))


def _run_batch(run: Callable[[Tensor], Tensor], films: Sequence[Tensor]) -> list[Tensor | Exception]:
    """A row per film. A batch that fails is halved until what fails is alone: it may be memory, or one film."""
    try:
        outputs = run(np.stack(films))
        return list(outputs.reshape(len(films), -1))
    except Exception as error:  # noqa: BLE001 - it becomes the outcome of whom it concerns
        if len(films) == 1:
            return [error]
        half = len(films) // 2
        return _run_batch(run, films[:half]) + _run_batch(run, films[half:])


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the stage's milliseconds."""
    began = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + 1000 * (time.perf_counter() - began)


def _rounded(timings: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(spent, 2) for stage, spent in timings.items()}
