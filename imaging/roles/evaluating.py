"""A model's answers for exams whose truth is known, as cases for statistics."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Final

from imaging.confined.analyser import ConfinedAnalyser, Prepared, compare
from imaging.confined.client import Confined, Ended
from imaging.domain.card import Card, FindingSpec, SegmentSpec
from imaging.domain.evaluation.figures import Case
from imaging.domain.findings import Answer, Finding, State
from imaging.domain.image_kind import is_localizer
from imaging.domain.measures import MEASURES, VOLUME
from imaging.domain.orientation import with_trusted_orientation
from imaging.domain.patient import Seen, are_consistent
from imaging.domain.pictures import Pictures, Window
from imaging.domain.source import Source
from imaging.domain.triage import fired
from imaging.roles.analysis import failed, not_analysed
from imaging.roles.comparing import distinct
from imaging.roles.labelled import Exam

_AT_ONCE: Final = 16
"""Films that are under way before it is looked whether the process still lives; volumes are one at a time."""


class Evaluating:
    """Runs a model. `senders`: whose Patient Orientation counts for nothing. `window`: of pictures.

    `is_ungated`: what the gates refuse is run all the same; `forced` counts it, by the reason that they had.
    `are_probabilities`: whether all scores so far are; a segment without one is scored by its volume.
    """

    def __init__(
        self,
        confined: Confined,
        card: Card,
        spec: FindingSpec,
        *,
        threads: int,
        window: Window | None = None,
        is_ungated: bool = False,
        senders: Sequence[str] = (),
        site_words: Sequence[str] = (),
    ) -> None:
        self._confined, self._card, self._spec = confined, card, spec
        self._threads = threads if card.lane.is_side_by_side else 1
        self._pictures, self._is_ungated = Pictures(window), is_ungated
        self._senders = frozenset(senders)
        self._analyser = ConfinedAnalyser(confined, card, site_words)
        self._compare = partial(compare, confined)
        self.forced: Counter[str] = Counter()
        self.are_probabilities = True

    def unproven(self) -> tuple[str, ...]:
        """In what the golden case does not come out; empty where it comes out."""
        return self._analyser.golden_faults()

    def cases(self, exams: Sequence[Exam], told: Callable[[int], None]) -> list[Case]:
        """One for each exam, in their order. `told` hears how many are done."""
        found: list[Case] = []
        with ThreadPoolExecutor(self._threads) as pool:
            step = _AT_ONCE if self._threads > 1 else 1
            for first in range(0, len(exams), step):
                part = exams[first : first + step]
                answers = list(pool.map(self._answer_or_ended, part))  # none is under way when a process is begun anew
                for exam, answer in zip(part, answers, strict=True):
                    found.append(self._case(exam, answer or self._again(exam)))
                told(len(found))
        return found

    def _answer_or_ended(self, exam: Exam) -> Answer | None:
        """None where the process ended meanwhile, by this exam or by another beside it."""
        try:
            return self._answer(exam)
        except Ended:
            return None

    def _again(self, exam: Exam) -> Answer:
        """Once more in a new process, where nothing else can end it."""
        self._confined.restart_if_ended()
        try:
            return self._answer(exam)
        except Ended as error:
            self._confined.restart_if_ended()
            return failed(str(error), exam.sources)

    def _answer(self, exam: Exam) -> Answer:
        if exam.is_picture:
            return self._run(self._analyser.prepared(exam.sources, is_chosen=True, pictures=self._pictures))
        if not are_consistent(Seen(each.header.person, each.path.absolute().parent) for each in exam.sources):
            return not_analysed("mixed-patients")
        try:
            each_once = distinct(exam.sources, self._compare)
        except OSError:  # a file is gone since it was found
            return not_analysed("pixels-unreadable", exam.sources)
        sources = [
            replace(each, header=with_trusted_orientation(each.header, self._senders)) for each in each_once.sources
        ]
        return self._run(self._prepared(sources)).doubted(each_once.conflicts)

    def _prepared(self, sources: Sequence[Source]) -> Prepared | Answer:
        prepared = self._analyser.prepared(sources)
        if not self._is_ungated or isinstance(prepared, Prepared) or prepared.state is not State.NOT_ANALYSED:
            return prepared
        chosen = list(_images(self._card, sources))
        if not chosen:
            return prepared
        forced = self._analyser.prepared(chosen, is_chosen=True)
        if isinstance(forced, Prepared) and prepared.reason is not None:
            self.forced[prepared.reason.code] += 1
        return forced

    def _run(self, prepared: Prepared | Answer) -> Answer:
        if isinstance(prepared, Answer):
            return prepared
        return self._analyser.run([prepared], is_alone=self._threads == 1)[0]

    def _case(self, exam: Exam, answer: Answer) -> Case:
        case = Case(exam.name, exam.about.patient, exam.truth, about=exam.about)
        if answer.state is State.FAILED:
            return replace(case, reason=answer.why or "", is_failed=True)
        if answer.state is State.NOT_ANALYSED:
            return replace(case, reason=answer.reason.code if answer.reason else "")
        finding = next(each for each in answer.findings if each.code == self._spec.code)
        self.are_probabilities &= finding.probability is not None
        rules = [each for each in self._card.triage if each.finding == self._spec.code.value]
        rule = fired(rules, [finding])
        return replace(
            case,
            score=score_of(finding),
            present=finding.present is True,
            meets_rest=_meets_rest(self._spec, finding),
            flag=str(rule.triage) if rule is not None and rule.triage.is_flag else "",
        )


def score_of(finding: Finding) -> float:
    """Its probability, else its volume in ml, else what else was measured; else whether it is present."""
    if finding.probability is not None:
        return finding.probability
    first = finding.measurements[0].value if finding.measurements else float(finding.present is True)
    volume = VOLUME.value_in(finding)
    return first if volume is None else volume


def _meets_rest(spec: FindingSpec, finding: Finding) -> bool:
    """Whether all that the card asks of its measurements holds; of one that is not told, whether it is present."""
    if not isinstance(spec, SegmentSpec):
        return True
    values = {name: MEASURES[name].value_in(finding) for name in spec.present}
    return all(
        finding.present is True if value is None else value >= spec.present[name] for name, value in values.items()
    )


def _images(card: Card, sources: Iterable[Source]) -> Iterator[Source]:
    """What of a study may be given to a model past its gates: images of its modality that are no localizers."""
    modalities = {modality for each in card.inputs for modality in each.modality}
    for each in sources:
        if each.header.has_pixels and each.header.modality in modalities and not is_localizer(each.header):
            yield each
