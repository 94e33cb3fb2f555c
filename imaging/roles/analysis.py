"""One study through its models: what the worker does with a job, and `imaging analyse` with files."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from imaging.confined.analyser import LOADING_S, ConfinedAnalyser, compare
from imaging.confined.client import Confined
from imaging.domain.artefacts import REPORT
from imaging.domain.card import Card
from imaging.domain.findings import GOLDEN_CASE_FAILED, Answer, ImageRef, State, StudyResults
from imaging.domain.fitting import fits
from imaging.domain.header import Header
from imaging.domain.languages import Language
from imaging.domain.modes import Mode
from imaging.domain.orientation import with_trusted_orientation
from imaging.domain.own_results import is_ours
from imaging.domain.patient import Seen, Words, are_consistent, newest
from imaging.domain.reasons import Reason
from imaging.domain.source import Source
from imaging.domain.uids import derived_uid
from imaging.encoding.headers import Mismatch, Unreadable, read_header
from imaging.encoding.part10 import files_under, is_part_10, split_part_10
from imaging.models.catalogue import Catalogue
from imaging.results.registry import build
from imaging.results.report import CannotReport, Report
from imaging.roles.comparing import distinct


def not_analysed(code: str, sources: Sequence[Source] = (), detail: str = "") -> Answer:
    """The outcome of work that ends with a reason of the closed list."""
    return Answer(State.NOT_ANALYSED, reason=Reason(code, detail), images=_refs(sources))


def failed(why: str, sources: Sequence[Source]) -> Answer:
    """The outcome of work that failed by our fault."""
    return Answer(State.FAILED, fault=why, images=_refs(sources))


def _refs(sources: Sequence[Source]) -> tuple[ImageRef, ...]:
    return tuple(source.ref for source in sources)


def source_header(outcome: Answer, headers: Sequence[Header]) -> Header:
    """The header of an image that the outcome names, else the first: a report's patient and study are its."""
    named = {ref.sop_instance_uid for ref in outcome.images}
    return next((header for header in headers if header.sop_instance_uid in named), headers[0])


def kind_of(outcome: Answer) -> str:
    """What a destination may choose by: positive, negative, not_analysed or failed."""
    if outcome.state is not State.ANALYSED:
        return str(outcome.state)
    return "positive" if any(finding.present for finding in outcome.findings) else "negative"


def rehearse_report(card: Card, analyser: ConfinedAnalyser, language: Language) -> None:
    """Builds reports of an empty film, for their effects on caches alone: the first takes half a second."""
    image = ImageRef("2.25.1", "2.25.2", "2.25.3")
    for modality in card.inputs[0].modality:
        header = Header(image.sop_class_uid, image.sop_instance_uid, "2.25.4", image.series_instance_uid, "", modality)
        _write_for_nobody(card, analyser.of_nothing(image), header, language)


def rehearse(card: Card, analyser: ConfinedAnalyser, language: Language) -> None:
    """Takes a card's golden case through analysis and report, for its effects on caches alone."""
    assert card.golden is not None
    for sources in collect([card.folder / card.golden.input]).studies.values():
        outcome = analyser.analyse(sources, seconds=LOADING_S + card.engine.seconds)
        header = source_header(outcome, [source.header for source in sources])
        _write_for_nobody(card, outcome, header, language)


def _write_for_nobody(card: Card, outcome: Answer, header: Header, language: Language) -> None:
    build(Report(header, card, outcome, "rehearsal", datetime.fromtimestamp(0).astimezone(), language=language))


@dataclass(frozen=True)
class Collected:
    """What was found under some paths.

    `passed_over`: how many files are no DICOM. `unreadable`: those that are, with why they cannot be read. `reports`:
    how many are reports of ours, which are nobody's image.
    """

    studies: dict[str, list[Source]]
    passed_over: int
    unreadable: dict[Path, str]
    reports: int = 0


def collect(paths: Iterable[Path], placeholders: Words = frozenset()) -> Collected:
    """The DICOM objects in files and folders, by Study Instance UID, in the order of their names.

    `placeholders`: the site's own words for a patient whom nobody knows.
    """
    studies: dict[str, list[Source]] = {}
    passed_over, reports, unreadable = 0, 0, {}
    for file in files_under(paths):
        try:
            if not is_part_10(file):
                passed_over += 1
                continue
            request = split_part_10(file.read_bytes())
            header = read_header(request.data, request.transfer_syntax_uid, sender=request.sender)
            header = header.judged_by(placeholders)
        except (Unreadable, Mismatch) as error:
            unreadable[file] = str(error)
        except OSError as error:
            unreadable[file] = error.strerror or type(error).__name__
        except MemoryError:
            unreadable[file] = "it needs more memory than the limit (--memory-mb)"
        else:
            if is_ours(header):
                reports += 1
            else:
                studies.setdefault(header.study_instance_uid, []).append(Source(file, header))
    return Collected(studies, passed_over, unreadable, reports)


class Analysis:
    """Analyses collected studies without a ledger. `at` stands in every date and time, and in each UID.

    `disbelieved`: AE titles of senders whose Patient Orientation counts for nothing.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        confined: Confined,
        at: datetime,
        output: Path | None,
        language: Language,
        untrusted_senders: Collection[str] = frozenset(),
        site_words: Sequence[str] = (),
    ) -> None:
        self._cards, self._at, self._output, self._language = catalogue.models, at, output, language
        self._analysers = {card.id: ConfinedAnalyser(confined, card, site_words) for card in catalogue.models}
        self._compare = partial(compare, confined)
        self._untrusted_senders = untrusted_senders
        self._proven: dict[str, bool] = {}

    def study(self, study_uid: str, sources: Sequence[Source]) -> StudyResults:
        """Every fitting model's answer, with its SR written where there is a folder for it."""
        files = tuple(sorted(str(source.path) for source in sources))
        return StudyResults(study_uid, tuple(self._answers(sources)), files)

    def _answers(self, sources: Sequence[Source]) -> list[Answer]:
        if not are_consistent(Seen(source.header.person, source.path.absolute().parent) for source in sources):
            return [not_analysed("mixed-patients")]
        try:
            each_once = distinct(sources, self._compare)
        except OSError:  # a file is gone since it was found
            return [not_analysed("pixels-unreadable", sources)]
        taken = [
            replace(each, header=with_trusted_orientation(each.header, self._untrusted_senders))
            for each in each_once.sources
        ]
        headers = [source.header for source in taken]
        fitting = [card for card in self._cards if fits(card, headers)]
        if not fitting:
            return [not_analysed("no-model")]
        return [self._answer(card, taken, each_once.conflicts) for card in fitting]

    def _answer(self, card: Card, sources: Sequence[Source], conflicts: int) -> Answer:
        outcome = self._analysers[card.id].analyse(sources).doubted(conflicts)
        if outcome.state is State.ANALYSED and not outcome.unproven and not self._is_proven(card):
            outcome = replace(outcome, unproven=GOLDEN_CASE_FAILED)
        outcome = outcome.in_mode(card.mode)
        result = replace(outcome, model=card.id, version=card.version)
        if self._output is None or card.mode is Mode.SHADOW:
            return result
        return replace(result, sr=self._write(card, outcome, sources))

    def _is_proven(self, card: Card) -> bool:
        """Whether the golden case comes out, which a node asks before it serves; run once, and for who answers only."""
        if card.id not in self._proven:
            self._proven[card.id] = not self._analysers[card.id].golden_faults()
        return self._proven[card.id]

    def _write(self, card: Card, outcome: Answer, sources: Sequence[Source]) -> str | None:
        assert self._output is not None
        headers = [source.header for source in sources]
        header = source_header(outcome, headers).speaking_for(
            newest(each.person for each in sorted(headers, key=_made))
        )
        try:
            report = Report(header, card, outcome, self._at.isoformat(), self._at, language=self._language)
            artefacts = build(report)
        except CannotReport:
            return None
        name = derived_uid(header.study_instance_uid, card.id, self._at.isoformat()).removeprefix("2.25.")
        files = {each.kind: (self._output / _file_name(card.id, name, each.kind)).absolute() for each in artefacts}
        self._output.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in artefacts:
            _write_private(files[each.kind], each.data)
        return str(files[REPORT])


def _file_name(model: str, name: str, kind: str) -> str:
    return f"{model}-{name}.dcm" if kind == REPORT else f"{model}-{name}-{kind}.dcm"


def _write_private(file: Path, data: bytes) -> None:
    """A file that is its owner's alone from the first byte on, also where one of that name was open to others."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_bytes(data)


def _made(header: Header) -> tuple[str, str, str]:
    """The order in which objects were made, whatever their files are called."""
    return header.instance_creation_date, header.instance_creation_time, header.sop_instance_uid
