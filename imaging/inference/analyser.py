"""The door to a model: instances in, an `Answer` out.

`prepare` and `run` are apart so that a worker can prepare the next studies while the engine runs these, and so that
one batch serves several studies. Both may be called from several threads. The same input gives the same outcome but
for its timings: nothing here reads a clock for anything else, or draws a number.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from imaging.domain.card import Card, Input
from imaging.domain.coverage import Coverage
from imaging.domain.faults import fingerprint, is_out_of_memory
from imaging.domain.findings import NO_GOLDEN_CASE, Answer, ImageRef, State, seen_in_part
from imaging.domain.fitting import check_study, in_scope, nothing_used, verdicts_of
from imaging.domain.gates import Scope, Verdict
from imaging.domain.grid import FilmGrid
from imaging.domain.header import Header
from imaging.domain.reasons import NotAnalysable, Reason
from imaging.domain.source import Source
from imaging.domain.triage import proposed
from imaging.inference.decoders.registry import decode
from imaging.inference.engines import registry as engines
from imaging.inference.engines.engine import Engine, threads_of
from imaging.inference.prepared import FilmItem, Prepared
from imaging.inference.provenance import provenance
from imaging.inference.readers.registry import read
from imaging.inference.running import Ran, through
from imaging.inference.timing import rounded, timed
from imaging.preparation.array import Tensor
from imaging.preparation.registry import channels, sizes

_ANY_SIDE: Final = 64
"""Of the empty image for a network whose card names no shape; a multiple of what networks halve it by."""


class Analyser:
    """A model, loaded once. `threads`: of its engine, and for decoding a volume's slices."""

    def __init__(self, card: Card, threads: int = 1) -> None:
        self.card = card
        self._threads = threads
        self._engine: Engine | None = None
        self._loading = threading.Lock()

    def warm(self) -> None:
        """Loads the engine and runs it once, so that the first study does not wait for it."""
        names = self.card.engine.inputs
        self._loaded().run({names[role]: each[None] for role, each in self._empty().items()})

    def of_nothing(self, image: ImageRef) -> Answer:
        """What a film's network says of an empty film: an answer of the form that real ones have."""
        arrays = self._empty()
        rows, columns = next(iter(arrays.values())).shape[-2:]
        empty = FilmItem(arrays, (image,), FilmGrid(np.zeros(2), np.eye(2), (rows, columns)), (rows, columns))
        return self.run([Prepared((image,), Coverage(1), (empty,), facts={"images": "1"})])[0]

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
            return self._prepared_or_refused(sources, is_chosen=is_chosen)
        except Exception as error:  # noqa: BLE001 - the work ends here, whatever happened to it
            refs = tuple(source.ref for source in sources)
            return Answer(State.FAILED, fault=fingerprint(error), images=refs, facts=self._facts())

    def _prepared_or_refused(self, sources: Sequence[Source], *, is_chosen: bool) -> Prepared | Answer:
        try:
            return self.prepare_chosen(sources) if is_chosen else self.prepare(sources)
        except NotAnalysable as refused:
            return self._not_analysed(sources, refused.reason)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return self._not_analysed(sources, Reason("memory"))

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
        headers = [each.header for each in images]
        verdicts_by_role = {each.role: verdicts_of(each, headers) for each in self.card.inputs}
        taken = {uid for own in verdicts_by_role.values() for uid, each in own.items() if each.scope is not Scope.OUT}
        check_study(self.card, [each for each in headers if each.sop_instance_uid in taken] or headers)
        return read(self.card, images, verdicts_by_role, self._threads)

    def prepare_chosen(self, sources: Sequence[Source]) -> Prepared:
        """Reads and prepares these instances, whose gates have been asked. Raises NotAnalysable.

        Where the card has several inputs, each plays the role that its series' description names.
        """
        headers, inputs = [each.header for each in sources], self.card.inputs
        verdicts_by_role = {
            each.role: {one.sop_instance_uid: _chosen(each, one, len(inputs)) for one in headers} for each in inputs
        }
        return read(self.card, sources, verdicts_by_role, self._threads)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what the network takes once, by role: channels first. Sizes that the card leaves open are small ones."""
        return {role: each.shape for role, each in self._empty().items()}

    @property
    def engine(self) -> Engine:
        """Loaded when it is first asked for. Raises PublicError."""
        return self._loaded()

    @property
    def max_batch(self) -> int:
        """How many studies had best be run at once."""
        return self._loaded().max_batch

    def run(self, prepared: Sequence[Prepared], *, is_alone: bool = True) -> list[Answer]:
        """The answers for prepared studies, in their order. One that fails does so alone.

        `is_alone`: no other run is expected meanwhile, so that this one may take all cores.
        """
        try:
            loaded = self._loaded()
        except Exception as error:  # noqa: BLE001 - without an engine all of them have failed, and say so
            return [self._failed(each, error) for each in prepared]
        items = [item for each in prepared for item in each.items]
        ran = iter(through(loaded, self.card, items, is_alone=is_alone))
        answers = [self._answer(loaded, each, [next(ran) for _ in each.items]) for each in prepared]
        by = self._provenance(loaded, len(items), is_alone=is_alone)
        return [replace(each, provenance=by) for each in answers]

    def _provenance(self, loaded: Engine, items: int, *, is_alone: bool) -> dict[str, Any]:
        window, threads = self.card.engine.window, threads_of(self.card, self._threads)
        batch = window.batch if window is not None else min(items, loaded.max_batch)
        return provenance(self.card, loaded.identity, threads[0 if is_alone else 1], batch)

    def _answer(self, loaded: Engine, prepared: Prepared, ran: Sequence[Ran]) -> Answer:
        failed = next((each.outputs for each in ran if isinstance(each.outputs, Exception)), None)
        if failed is not None:
            return self._failed(prepared, failed)
        try:
            return self._analysed(loaded, prepared, ran)
        except Exception as error:  # noqa: BLE001 - one study's failure is its own
            return self._failed(prepared, error)

    def _analysed(self, loaded: Engine, prepared: Prepared, ran: Sequence[Ran]) -> Answer:
        timings = {**prepared.timings_ms, "infer": sum(each.ms for each in ran)}
        outputs = [each.outputs for each in ran if not isinstance(each.outputs, Exception)]
        with timed(timings, "decode"):
            findings = decode(self.card, outputs, prepared.items)
        if prepared.coverage.missed:
            findings = seen_in_part(findings)
        proposal = proposed(self.card, findings)
        patches = sum(each.patches for each in ran)
        facts = {"triage": proposal.words, **loaded.identity.facts}
        return Answer(
            State.ANALYSED,
            findings=findings,
            triage=proposal.triage,
            images=prepared.images,
            coverage=prepared.coverage,
            facts=self._facts({**prepared.facts, **facts, **({"patches": str(patches)} if patches else {})}),
            timings_ms=rounded(timings),
            unproven="" if self.card.golden else NO_GOLDEN_CASE,
            no_flag=proposal.no_flag,
        )

    def _failed(self, prepared: Prepared, error: Exception) -> Answer:
        """A lack of memory is a reason, any other error our fault."""
        reason = Reason("memory") if is_out_of_memory(error) else None
        return Answer(
            State.NOT_ANALYSED if reason else State.FAILED,
            reason=reason,
            fault=None if reason else fingerprint(error),
            images=prepared.images,
            coverage=prepared.coverage.given_up(reason) if reason else prepared.coverage,
            facts=self._facts(prepared.facts),
            timings_ms=rounded(prepared.timings_ms),
        )

    def _facts(self, facts: Mapping[str, str] | None = None) -> dict[str, str]:
        """What was run, and on what: sorted, without anything that differs between two runs."""
        data = {
            "card": self.card.digest[:12],
            "weights": self.card.engine.digest[:12],
            "precision": self.card.engine.precision,
            **(facts or {}),
        }
        return dict(sorted(data.items()))

    def _loaded(self) -> Engine:
        with self._loading:
            if self._engine is None:
                self._engine = engines.load(self.card, self._threads)
            return self._engine

    def _empty(self) -> dict[str, Tensor]:
        """An image of zeros for each of the network's inputs, as the card's steps make it."""
        card, known = self.card, sizes(self.card)
        return {
            roles[0]: _blank(card.input(roles[0]), channels(card, len(roles)), known)
            for roles in card.engine.roles.values()
        }


def _blank(card_input: Input, count: int, known: tuple[int, ...] | None) -> Tensor:
    """Zeros, as an item has them; of all films of a study, one."""
    shape = (count, *(known or (_ANY_SIDE,) * card_input.axes))
    return np.zeros((1, *shape) if card_input.is_together else shape, np.float32)


def _chosen(card_input: Input, header: Header, count: int) -> Verdict:
    """What a chosen image is to one of so many inputs."""
    is_its = count == 1 or header.series_description == card_input.role
    return Verdict(Scope.IN) if is_its else Verdict(Scope.OUT, Reason("sequence"))
