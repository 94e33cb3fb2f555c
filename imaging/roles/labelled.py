"""Studies and pictures found under some paths, joined to a table of labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imaging.domain.card import Card
from imaging.domain.evaluation.about import About
from imaging.domain.evaluation.labels import Row, Table
from imaging.domain.header import Header, age_at
from imaging.domain.patient import Words
from imaging.domain.pictures import header_of, is_picture
from imaging.domain.source import Source
from imaging.encoding.part10 import files_under
from imaging.encoding.scanner import scanner_of
from imaging.roles.analysis import Collected, collect


@dataclass(frozen=True)
class Exam:
    """What has one label: images of a study, or a picture. `name`: as the table has it."""

    name: str
    truth: bool
    sources: tuple[Source, ...]
    about: About
    is_picture: bool = False


@dataclass(frozen=True)
class Joined:
    """`faults`: rows that can mean nothing. `missing`: rows whose path does not exist; `without_image`: those, and the
    rows of which no image was found under the paths. `without_label`: images that no row names. `is_one_patient`: all
    exams named the same patient, who cannot be resampled; each was then taken for a patient's of its own.
    """

    exams: tuple[Exam, ...]
    faults: tuple[str, ...]
    missing: tuple[Row, ...]
    without_image: tuple[Row, ...]
    without_label: int
    is_one_patient: bool
    collected: Collected


@dataclass(frozen=True)
class _Found:
    """An image file: a DICOM object, or a picture."""

    path: Path
    source: Source
    is_picture: bool = False


def joined(paths: Iterable[Path], table: Table, at: Path, card: Card, words: Words, *, scanners: bool) -> Joined:
    """The labelled exams under `paths`, in the table's order.

    `at`: the folder that the table's paths begin in. `words`: the site's placeholders for a patient. `scanners`:
    whether files are asked for their scanner.
    """
    found, collected = _images(paths, card, words)
    if table.key == "path":
        images_of, faults = _by_path(found, table, at)
    else:
        images_of, faults = _by_study(found, table), []
    exams = []
    for row in table.rows:
        images = images_of.get(row.line, [])
        if fault := _more_than_one(row, images):
            faults.append(fault)
        elif images:
            exams.append(_exam(row, images, scanners=scanners))
    taken = sum(len(each) for each in images_of.values())
    is_one_patient = len(exams) > 1 and len({each.about.patient for each in exams}) == 1
    if is_one_patient:
        exams = [replace(each, about=replace(each.about, patient=each.name)) for each in exams]
    return Joined(
        exams=tuple(exams),
        faults=tuple(faults),
        missing=tuple(each for each in table.rows if table.key == "path" and not (at / each.key).exists()),
        without_image=tuple(each for each in table.rows if not images_of.get(each.line)),
        without_label=len(found) - taken,
        is_one_patient=is_one_patient,
        collected=collected,
    )


def _images(paths: Iterable[Path], card: Card, words: Words) -> tuple[list[_Found], Collected]:
    """Each file once, however many of the paths lead to it."""
    files = list({each.resolve(): each for each in files_under(paths)}.values())
    pictures = [each for each in files if _begins_as_picture(each)]
    collected = collect([each for each in files if each not in set(pictures)], words)
    found = [_Found(each.path, each) for sources in collected.studies.values() for each in sources]
    found += [_Found(each, Source(each, header_of(card, str(each.resolve()))), is_picture=True) for each in pictures]
    return found, collected


def _begins_as_picture(file: Path) -> bool:
    try:
        with file.open("rb") as begin:
            return is_picture(begin.read(8))
    except OSError:
        return False  # `collect` says why


def _by_path(found: Sequence[_Found], table: Table, at: Path) -> tuple[dict[int, list[_Found]], list[str]]:
    """The images of each row, by its line: the file that it names, or those in the folder."""
    row_at: dict[Path, Row] = {}
    images_of: dict[int, list[_Found]] = {}
    faults = []
    for row in table.rows:
        path = (at / row.key).resolve()
        first = row_at.setdefault(path, row)
        if first is not row:
            faults.append(f"line {row.line}: {row.key}: a second label; the first is in line {first.line}")
    within: set[tuple[int, int]] = set()
    for image in found:
        path = image.path.resolve()
        rows = [row_at[each] for each in (path, *path.parents) if each in row_at]
        if rows:
            images_of.setdefault(rows[0].line, []).append(image)
        within |= {(rows[0].line, outer.line) for outer in rows[1:]}
    faults += [
        f"line {inner}: lies within what line {outer} names: which label holds?" for inner, outer in sorted(within)
    ]
    return images_of, faults


def _by_study(found: Sequence[_Found], table: Table) -> dict[int, list[_Found]]:
    line_of = {row.key: row.line for row in table.rows}
    images_of: dict[int, list[_Found]] = {}
    for image in found:
        line = None if image.is_picture else line_of.get(image.source.header.study_instance_uid)
        if line is not None:
            images_of.setdefault(line, []).append(image)
    return images_of


def _more_than_one(row: Row, images: Sequence[_Found]) -> str:
    """Why a row's label is not of one exam; empty where it is."""
    pictures = sum(each.is_picture for each in images)
    studies = {each.source.header.study_instance_uid for each in images if not each.is_picture}
    if pictures + len(studies) <= 1:
        return ""
    held = [f"{len(studies)} studies"] * bool(studies) + [f"{pictures} pictures"] * bool(pictures)
    mend = "give each a line of its own, by its path" + (" or study_uid" if not pictures else "")
    return f"line {row.line}: {row.key} holds {' and '.join(held)}: {mend}"


def _exam(row: Row, images: Sequence[_Found], *, scanners: bool) -> Exam:
    sources = tuple(each.source for each in images)
    is_picture = images[0].is_picture
    shown = next((each for each in sources if each.header.has_pixels), sources[0])
    about = row.about if is_picture else _about(shown.header).or_else(row.about)
    if scanners and not is_picture:
        about = replace(about, scanner=scanner_of(shown.path) or row.about.scanner)
    patient = row.about.patient or about.patient or row.key
    return Exam(row.key, row.label, sources, replace(about, patient=patient), is_picture)


def _about(header: Header) -> About:
    person = header.person.given
    who = (person.identifier, person.issuer) if person.identifier else (person.name, person.birth_date)
    ages = [each for each in age_at(header) if each is not None and each == each]  # no NaN
    return About(
        patient="|".join(who) if who[0] else "",
        age=ages[0] if ages else None,
        sex=person.sex,
        view=(header.view_position or header.view_code).strip().upper(),
    )
