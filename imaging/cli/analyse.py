"""Analyse files or folders, without a server.

Files that are not DICOM are skipped and counted; DICOM files that cannot be read are named. "Not analysed" is a result
too (exit status 0). Models of every mode are run and printed; of one in shadow no SR is written. The same files, models
and --at give the same bytes. A study that needs more memory than the limit
is not analysed; the time limit in the card applies only to workers. Exit status 1 if a model failed.

  imaging analyse study/ --output results/
  imaging analyse film.dcm --json --at 2026-11-24T09:30:00+07:00
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from imaging.cli.parsing import (
    UNITS,
    Arguments,
    CommandError,
    Parser,
    UsageError,
    add_json,
    add_models,
    moment,
    parsed,
    settings_of,
)
from imaging.confined.client import Confined, Ended
from imaging.domain.findings import NO_EVIDENCE, WHY_UNPROVEN, Answer, Finding, State, StudyResults, document
from imaging.domain.modes import Mode
from imaging.domain.patient import placeholder_words
from imaging.memory import memory_limit
from imaging.models.catalogue import load_models
from imaging.roles.analysis import Analysis, Collected, collect
from imaging.roles.cores import cores
from imaging.roles.machine_memory import MAX_MB, of_a_worker
from imaging.settings import Settings


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="file or folder")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="folder for the SRs, readable only by you (default: write none)"
    )
    parser.add_argument("--at", metavar="DATETIME", help="date and time in all objects (default: now)")
    parser.add_argument(
        "--language", metavar="LANG", help="language of imaging's own texts in the SRs: vi, fr or en (default vi)"
    )
    parser.add_argument(
        "--site-words",
        metavar="MEANING=WORDS",
        action="append",
        help="meaning of this site's own words in headers, such as CHEST=nguc thang, repeatable",
    )
    parser.add_argument(
        "--ignore-patient-orientation",
        metavar="AET",
        action="append",
        help="a sender whose films' Patient Orientation is ignored, as named in the files' meta information "
        "(0002,0017 or 0002,0016); *: every sender; repeatable",
    )
    parser.add_argument(
        "--patient-placeholders",
        metavar="WORD",
        action="append",
        help="what the site writes for an unknown patient, repeatable",
    )
    add_models(parser)
    parser.add_argument(
        "--memory-mb",
        metavar="MB",
        help=f"memory limit (default: three quarters of the machine's, at most {MAX_MB:.0f}); a study that "
        "needs more: memory",
    )
    add_json(parser)


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults = [f"{path}: no such file or folder" for path in arguments.paths if not path.exists()]
    if not arguments.paths:
        faults.append("PATH: name at least one file or folder")
    at = parsed(faults, moment, "--at", arguments.at) if arguments.at else datetime.now().astimezone()
    memory_mb = (
        parsed(faults, _megabytes, "--memory-mb", arguments.memory_mb) if arguments.memory_mb else of_a_worker(1)
    )
    if arguments.output is not None and arguments.output.exists() and not arguments.output.is_dir():
        faults.append(f"--output {arguments.output}: is not a folder")
    settings = settings_of(arguments, faults, needs_models=True)
    assert at is not None
    assert memory_mb is not None
    with memory_limit(memory_mb):
        return _analyse(arguments, settings, at, memory_mb)


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 30:
        raise ValueError("expected a number of megabytes, such as 6000")
    return int(text)


def _analyse(arguments: Arguments, settings: Settings, at: datetime, memory_mb: float) -> int:
    collected = collect(arguments.paths, placeholder_words(settings.patient_placeholders))
    reasons = [f"{file}: {why}" for file, why in collected.unreadable.items()]
    reasons += [f"{collected.reports} reports of our own skipped"] if collected.reports else []
    if not collected.studies:
        raise UsageError("\n".join([f"no readable files: {collected.passed_over} files are not DICOM", *reasons]))
    catalogue = load_models(settings.model_folders, settings.site_words, settings.model_mode)
    for name, why in catalogue.disabled.items():
        print(f"model {name} is disabled: {why}", file=sys.stderr)
    shadows = [card.id for card in catalogue.models if card.mode is Mode.SHADOW and arguments.output is not None]
    for each in shadows:
        print(f"model {each} is in shadow: no SR is written; --model-mode {each}=findings writes one", file=sys.stderr)
    language, untrusted_senders = settings.language, frozenset(settings.ignore_patient_orientation)
    with Confined(catalogue.models, threads=cores(), memory_mb=memory_mb) as confined:
        analysis = Analysis(catalogue, confined, at, arguments.output, language, untrusted_senders, settings.site_words)
        results = _answers(analysis, collected, arguments.output)
    print(f"\n{collected.passed_over} files skipped", *reasons, sep="\n", file=sys.stderr)
    print(json.dumps(document(results), indent=2, ensure_ascii=False) if arguments.json else _text(results))
    every = [each for study in results for each in study.results]
    if failed := [each for each in every if each.state is State.FAILED]:
        names = ", ".join(sorted({str(each.model) for each in failed}))
        raise CommandError(f"{len(failed)} of {len(every)} answers failed: {names}")
    return 0


def _answers(analysis: Analysis, collected: Collected, output: Path | None) -> list[StudyResults]:
    """Study by study, with a line of progress. Raises CommandError."""
    results = []
    for number, (study_uid, sources) in enumerate(collected.studies.items(), 1):
        print(f"\rstudy {number} of {len(collected.studies)}, {len(sources)} images", end="", file=sys.stderr)
        try:
            results.append(analysis.study(study_uid, sources))
        except OSError as error:
            raise CommandError(f"--output {output}: {error.strerror}") from None
        except Ended as error:
            raise CommandError(f"study {study_uid}: {error}") from None
    return results


def _text(studies: list[StudyResults]) -> str:
    lines = []
    for study in studies:
        lines += [f"study {study.study_uid}", *(f"  {each}" for each in _named(study.files))]
        for result in study.results:
            lines += [f"  {each}" for each in _answer(result)]
    return "\n".join([*lines, "", "Not a diagnosis: imaging is not a medical device."])


WHY_NO_FLAG: Final[Mapping[str, str]] = {
    NO_EVIDENCE: "the finding's evidence in the card is too weak; `imaging models check` says why",
    **{f"mode-{mode}": f"its mode is {mode}; --model-mode {{model}}=live" for mode in Mode if mode is not Mode.LIVE},
}
"""By `Answer.no_flag`."""
FILES_NAMED: Final = 4
"""Of a study; of a series with hundreds the ends will do, and --json has them all."""


def _named(files: Sequence[str]) -> list[str]:
    if len(files) <= FILES_NAMED:
        return list(files)
    return [files[0], f"... {len(files) - 2} more files ...", files[-1]]


def _answer(result: Answer) -> Iterator[str]:
    name = f"{result.model} {result.version}" if result.model else "no model"
    mode = f" (mode {result.mode})" if result.mode is not Mode.LIVE else ""
    flag = f", flag {result.flag}" if result.flag else ""
    yield f"{name}{mode}: {result.state}{': ' + result.why if result.why else ''}{flag}"
    if result.no_flag:
        yield f"  raises no flag: {WHY_NO_FLAG[result.no_flag].format(model=result.model)}"
    yield from (f"  {each}" for each in result.sentences)
    for each in result.findings:
        yield f"  {'; '.join(_finding(each, result))}"
        for measured in each.measurements:
            of = f" ({', '.join(measured.sop_instance_uids)})" if measured.sop_instance_uids else ""
            unit = UNITS.get(measured.unit, measured.unit)
            yield f"    {measured.code.meaning} {measured.value:g} {unit}".rstrip() + of
        yield from _places(each)
    if result.sr:
        yield f"  {result.sr}"


PLACES_NAMED: Final = 5
"""Of a finding; --json has them all."""


def _places(finding: Finding) -> Iterator[str]:
    for number, place in enumerate(finding.found[:PLACES_NAMED], 1):
        (uid, frame), (left, top, right, bottom) = place.image, place.box
        score = "" if place.score is None else f" score {place.score:.3f},"
        image = uid if frame == 1 else f"{uid} frame {frame}"
        middle = place.centre_mm and " ".join(f"{each:g}" for each in place.centre_mm)
        centre = f"; centre {middle} mm LPS, on {len(place.images)} images" if middle else ""
        box = f"columns {left:g} to {right:g}, rows {top:g} to {bottom:g}"
        yield f"    place {number}:{score} {box}{centre}, image {image}"
    if more := len(finding.found) - PLACES_NAMED:
        yield from [f"    ... {more} more places"] if more > 0 else []


def _finding(finding: Finding, result: Answer) -> Iterator[str]:
    kind = ", calibrated" if finding.is_calibrated else ""
    number = "" if finding.probability is None else f" {finding.probability:.3f}{kind} (threshold {finding.threshold})"
    yield f"{finding.code.meaning}: {finding.verdict}{number}"
    if finding.is_near_chance:
        yield "near chance by the card's evidence"
    if result.unproven:
        yield WHY_UNPROVEN[result.unproven]
