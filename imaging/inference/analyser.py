"""The door to a model: instances in, an `Answer` out.

`prepare` and `run` are apart so that a worker can prepare the next studies while the engine runs these, and so that
one batch serves several studies. Both may be called from several threads. The same input gives the same outcome but
for its timings: nothing here reads a clock for anything else, or draws a number.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.domain.card import Card
from imaging.domain.coverage import Coverage, counted
from imaging.domain.faults import fingerprint, is_out_of_memory
from imaging.domain.findings import NO_GOLDEN_CASE, Answer, Finding, ImageRef, State, seen_in_part
from imaging.domain.fitting import furthest, hold_memory, hold_study, in_scope, nothing_used, verdicts
from imaging.domain.gates import Scope, Verdict
from imaging.domain.header import Header
from imaging.domain.reasons import NotAnalysable, Reason
from imaging.domain.source import Source
from imaging.domain.turning import turn_of
from imaging.inference import decode, engine
from imaging.inference.acquisitions import read_study
from imaging.inference.decode import Stacked
from imaging.inference.film import read_film
from imaging.inference.pixels import read_file
from imaging.inference.prepare import PreparedVolume, prepare_film, prepare_volume
from imaging.inference.volume import Volume
from imaging.inference.window import slide

Tensor = NDArray[np.float32]

_ANY_SIDE: Final = 64
"""Of the empty image for a network whose card names no shape; a multiple of what networks halve it by."""


@dataclass(frozen=True)
class Prepared:
    """A study's input as the network takes it: `films`, one tensor per image, or `acquisitions` of stacks."""

    images: tuple[ImageRef, ...]
    coverage: Coverage
    films: tuple[Tensor, ...] = ()
    acquisitions: tuple[tuple[Stacked, ...], ...] = ()
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
        return self.run([Prepared((image,), Coverage(1), films=(empty,), facts={"images": "1"})])[0]

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

    def prepared(self, sources: Sequence[Source], *, is_chosen: bool = False) -> Prepared | Answer:
        """What the engine takes of a study, or how it ends without: by a reason, or by a fingerprint of our fault.

        `is_chosen`: these instances are taken, whatever the gates would say.
        """
        try:
            return self.prepare_chosen(sources) if is_chosen else self.prepare(sources)
        except NotAnalysable as refused:
            return self._not_analysed(sources, refused.reason)
        except Exception as error:  # noqa: BLE001 - the work ends here, whatever happened to it
            if is_out_of_memory(error):
                return self._not_analysed(sources, Reason("memory"))
            refs = tuple(source.ref for source in sources)
            return Answer(State.FAILED, fault=fingerprint(error), images=refs, facts=self._facts())

    def _not_analysed(self, sources: Sequence[Source], reason: Reason) -> Answer:
        headers = [source.header for source in sources]
        considered = in_scope(self.card, headers)
        refs = {each.header.sop_instance_uid: each.ref for each in sources}
        return Answer(
            State.NOT_ANALYSED,
            reason=reason,
            images=tuple(refs[uid] for uid in sorted(considered)),
            coverage=nothing_used(self.card, headers, reason),
            facts=self._facts(),
        )

    def prepare(self, sources: Sequence[Source]) -> Prepared:
        """Reads and prepares what the model takes of a study. Raises NotAnalysable."""
        known = {each.header.sop_instance_uid: each for each in sources if each.header.has_pixels}
        images = [known[uid] for uid in sorted(known)]
        said = verdicts(self.card, [each.header for each in images])
        taken = [each for each in images if said[each.header.sop_instance_uid].scope is not Scope.OUT]
        hold_study(self.card, [each.header for each in taken or images])
        return self._prepared(images, lambda header: said[header.sop_instance_uid])

    def prepare_chosen(self, sources: Sequence[Source]) -> Prepared:
        """Reads and prepares these instances, whose gates have been asked. Raises NotAnalysable."""
        return self._prepared(sources, lambda header: Verdict(Scope.IN))

    def _prepared(self, sources: Sequence[Source], judge: Callable[[Header], Verdict]) -> Prepared:
        work = self._prepare_volumes if self.card.is_volume else self._prepare_films
        return work(sources, judge)

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

    def _prepare_films(self, sources: Sequence[Source], judge: Callable[[Header], Verdict]) -> Prepared:
        timings = {"read": 0.0, "prepare": 0.0}
        films, images = list[Tensor](), list[ImageRef]()
        missing, out, turned = list[Reason](), list[Reason](), list[str]()
        for source in sources:
            said = judge(source.header)
            if said.reason is not None:
                (out if said.scope is Scope.OUT else missing).extend([said.reason] * source.header.number_of_frames)
                continue
            try:
                hold_memory(self.card, [source.header])
                turn = turn_of(source.header.patient_orientation)
                with _timed(timings, "read"):
                    film = read_film(read_file(source), turn)
                with _timed(timings, "prepare"):
                    films.append(prepare_film(film, self.card.prepare))
            except NotAnalysable as error:
                missing.extend([error.reason] * source.header.number_of_frames)
            else:
                images.append(source.ref)
                turned += ["/".join(source.header.patient_orientation)] if turn else []
        if not films:
            raise NotAnalysable(*furthest(missing or out))
        coverage = Coverage(len(images), counted(missing), {}, counted(out))
        facts = {"images": str(len(images))}
        if turned:
            facts["turned"] = f"{len(turned)} of {len(images)}, stored {', '.join(dict.fromkeys(turned))}"
        return Prepared(tuple(images), coverage, films=tuple(films), facts=facts, timings_ms=timings)

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

    def _prepare_volumes(self, sources: Sequence[Source], judge: Callable[[Header], Verdict]) -> Prepared:
        timings: dict[str, float] = {}
        with _timed(timings, "read"):
            room = self.card.engine.memory_mb << 20
            study = read_study(sources, self.card.inputs[0], judge, room, self._threads)
        volumes = [[part.volume for part in each.parts] for each in study.acquired]
        with _timed(timings, "prepare"):
            stacked = tuple(
                tuple(
                    Stacked(
                        each, prepare_volume(each, self.card.prepare, [other for other in whole if other is not each])
                    )
                    for each in whole
                )
                for whole in volumes
            )
        images = tuple(dict.fromkeys(image for each in volumes for volume in each for image in volume.images))
        facts = _volume_facts([volume for each in volumes for volume in each], stacked)
        return Prepared(images, study.coverage, acquisitions=stacked, facts=facts, timings_ms=timings)

    def _volume_outcome(self, prepared: Prepared, loaded: engine.Engine) -> Answer:
        timings = dict(prepared.timings_ms)
        patches = 0
        outputs: list[list[Tensor]] = []
        with _timed(timings, "infer"):
            for acquisition in prepared.acquisitions:
                outputs.append([])
                for stacked in acquisition:
                    output, count = self._run_volume(stacked.prepared, loaded)
                    outputs[-1].append(output)
                    patches += count
        with _timed(timings, "decode"):
            findings = decode.segments(self.card, outputs, prepared.acquisitions)
        return self._analysed(prepared, findings, timings, {"patches": str(patches)} if patches else {})

    def _run_volume(self, tensor: PreparedVolume, loaded: engine.Engine) -> tuple[Tensor, int]:
        window = self.card.engine.window
        if window is None:
            return loaded.run(tensor.values[None])[0], 0
        return slide(loaded.run, tensor.values, window)

    # Both

    def _analysed(
        self, prepared: Prepared, findings: tuple[Finding, ...], timings: Mapping[str, float], facts: Mapping[str, str]
    ) -> Answer:
        if prepared.coverage.missed:
            findings = seen_in_part(findings)
        rule = decode.fired(self.card, findings)
        return Answer(
            State.ANALYSED,
            findings=findings,
            triage=rule.triage if rule else None,
            images=prepared.images,
            coverage=prepared.coverage,
            facts=self._facts(
                {
                    **prepared.facts,
                    **facts,
                    "triage": rule.text if rule else "no rule applies",
                    "engine": self._loaded().description,
                }
            ),
            timings_ms=_rounded(timings),
            unproven="" if self.card.golden else NO_GOLDEN_CASE,
        )

    def _failed(self, prepared: Prepared, error: Exception, timings: Mapping[str, float]) -> Answer:
        """A lack of memory is a reason, any other error our fault."""
        reason = Reason("memory") if is_out_of_memory(error) else None
        return Answer(
            State.NOT_ANALYSED if reason else State.FAILED,
            reason=reason,
            fault=None if reason else fingerprint(error),
            images=prepared.images,
            coverage=prepared.coverage.given_up(reason) if reason else prepared.coverage,
            facts=self._facts(prepared.facts),
            timings_ms=_rounded(timings),
        )

    def _facts(self, facts: Mapping[str, str] | None = None) -> dict[str, str]:
        """What was run, and on what: sorted, without anything that differs between two runs."""
        said = {
            "card": self.card.digest[:12],
            "weights": self.card.engine.digest[:12],
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
        return [self.card.channels, *(self.card.sizes or (_ANY_SIDE,) * (3 if self.card.is_volume else 2))]


def _volume_facts(volumes: Sequence[Volume], acquisitions: Sequence[Sequence[Stacked]]) -> dict[str, str]:
    """How each stack was made, stack by stack where there are several."""
    every = [volume.facts for volume in volumes]
    names = sorted({name for each in every for name in each})
    facts = {name: "; ".join(dict.fromkeys(each[name] for each in every if name in each)) for name in names}
    facts["slices"] = "; ".join(each["slices"] for each in every)
    spacings = [stacked.prepared.grid.spacing_mm for each in acquisitions for stacked in each]
    made = ("x".join(f"{length:.4g}" for length in spacing) for spacing in spacings)
    facts["prepared_mm"] = "; ".join(dict.fromkeys(made))
    if len(volumes) > 1:
        facts["stacks"] = "; ".join(str(len(each)) for each in acquisitions)
    return facts


def _run_batch(run: Callable[[Tensor], Tensor], films: Sequence[Tensor]) -> list[Tensor | Exception]:
    """A row per film. A batch that fails is halved until what fails is alone: it may be memory, or one film."""
    try:
        outputs = run(np.stack(films))
        return list(outputs)
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
