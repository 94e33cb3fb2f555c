"""The golden case: a model that has one is served only where a known input gives the known answer.

The expected answer is JSON: `{"findings": [{"code": "bleed", "present": true, "probability": 0.93, "volume_ml": 11.8,
"centre_mm": [x, y, z]}]}`, also `boxes` of places and `values` of numbers. What it leaves out is not compared.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydicom

from imaging.domain.card import UNPROVEN, Card
from imaging.domain.faults import fingerprint
from imaging.domain.findings import Answer, Finding, State
from imaging.domain.header import Header
from imaging.domain.measures import MEASURES
from imaging.domain.reasons import NotAnalysable
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.engines.registry import identity
from imaging.models.copies import digest_of


@dataclass(frozen=True)
class GoldenResult:
    """`faults` says what differs, or why there is nothing to compare; empty where the case passed."""

    model_id: str
    faults: tuple[str, ...]
    outcome: Answer | None = None

    @property
    def passed(self) -> bool:
        """Whether the model has shown that it gives the known answer here."""
        return not self.faults


def check(card: Card, threads: int = 1) -> GoldenResult:
    """Loads the model and runs its golden case."""
    analyser = Analyser(card, threads)
    try:
        return checked(analyser)
    finally:
        analyser.close()


def checked(analyser: Analyser) -> GoldenResult:
    """Runs the golden case of a model. Gates are not asked: its input is given, not chosen."""
    card = analyser.card
    try:
        analyser.warm()
        if card.golden is None:
            return GoldenResult(card.id, (UNPROVEN,))
        expected = json.loads((card.folder / card.golden.output).read_text())["findings"]
        outcome = analyser.run([analyser.prepare_chosen(sources_of(card.folder / card.golden.input))])[0]
        if outcome.state is not State.ANALYSED:
            return GoldenResult(card.id, (f"{outcome.state}: {outcome.why}",), outcome)
        return GoldenResult(card.id, tuple(differences(expected, outcome, card.golden.tolerance)), outcome)
    except NotAnalysable as refused:
        return GoldenResult(card.id, (f"the input was refused: {refused.reason}",))
    except Exception as error:  # noqa: BLE001 - whatever keeps it from running keeps the model from being served
        return GoldenResult(card.id, (fingerprint(error),))


def proof(card: Card) -> str:
    """What a golden case has to be run again for, if it changes: all that makes the answer, the case itself, and what
    computes it here.
    """
    return f"{card.engine.digest[:16]} {card.digest[:16]} {_digest_of_case(card)[:16]} {identity(card).proof}"


def _digest_of_case(card: Card) -> str:
    """Of the names and bytes of its files; one that cannot be read is found when the case is run."""
    if card.golden is None:
        return "no case"
    digest = hashlib.sha256()
    given = card.folder / card.golden.input
    for path in [*_files(given), card.folder / card.golden.output]:
        digest.update(f"{path.relative_to(card.folder)}\0".encode("utf-8", "surrogateescape"))
        with contextlib.suppress(OSError):
            digest.update(digest_of(path).encode())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.dcm")) if path.is_dir() else [path]


def sources_of(path: Path) -> list[Source]:
    """The instances in a file or a folder, with no more of their headers than names and places them.

    Those in folders within it play the roles after which these are called, as their series' description then says.
    """
    inner = {each: each.parent.name for each in _files(path) if path.is_dir() and each.parent != path}
    return [Source(each, _bare_header(each, inner.get(each, ""))) for each in _files(path)]


def _bare_header(path: Path, role: str) -> Header:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return Header(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.file_meta.TransferSyntaxUID),
        modality=str(dataset.get("Modality", "")),
        series_description=role,
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        number_of_frames=int(dataset.get("NumberOfFrames") or 1),
        pixel_spacing=_numbers(dataset, "PixelSpacing"),
        imager_pixel_spacing=_numbers(dataset, "ImagerPixelSpacing"),
        image_position=_numbers(dataset, "ImagePositionPatient"),
        image_orientation=_numbers(dataset, "ImageOrientationPatient"),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
        patient_orientation=tuple(str(each) for each in dataset.get("PatientOrientation") or ()),
        has_pixels=True,
    )


def _numbers(dataset: pydicom.Dataset, keyword: str) -> Any:
    value = dataset.get(keyword)
    return tuple(float(each) for each in value) if value else None


def differences(expected: Sequence[Mapping[str, Any]], outcome: Answer, tolerance: float) -> Iterator[str]:
    """In what an answer is not the expected one."""
    found = {finding.code.value: finding for finding in outcome.findings}
    for wanted in expected:
        name = str(wanted["code"])
        if name not in found:
            yield f"{name}: no such finding"
            continue
        for key, value in _claims(wanted):
            got = _value_of(found[name], key)
            if got is None or not _agree(value, got, tolerance):
                yield f"{name}: {key} is {got}, expected {value}, tolerance {tolerance:g}"


SIDES: Final = ("left", "top", "right", "bottom")
"""Of a place's box, which `boxes` gives in this order."""


def _claims(wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((key, value) for key, value in wanted.items() if key not in ("code", "centre_mm", "boxes", "values"))
    for number, value in enumerate(wanted.get("values") or ()):
        yield f"values[{number}]", value
    for number, box in enumerate(wanted.get("boxes") or ()):
        yield from ((f"boxes[{number}].{side}", value) for side, value in zip(SIDES, box, strict=True))
    for axis, value in zip("xyz", wanted.get("centre_mm") or (), strict=False):
        yield f"centre_{axis}", value


def _value_of(finding: Finding, key: str) -> Any:
    if key in ("present", "probability", "score"):
        return getattr(finding, key)
    if key.startswith("centre_"):
        return finding.centre_mm["xyz".index(key[-1])] if finding.centre_mm else None
    if key.startswith(("values[", "boxes[")):
        return _numbered(finding, key)
    return MEASURES[key].value_in(finding) if key in MEASURES else None


def _numbered(finding: Finding, key: str) -> float | None:
    """`values[0]` of a number, `boxes[0].left` of a place; None where there are not so many."""
    name, _, rest = key.partition("[")
    number, _, side = rest.partition("]")
    try:
        if name == "values":
            return finding.measurements[int(number)].value
        return finding.places[int(number)].box[SIDES.index(side.removeprefix("."))]
    except IndexError:
        return None


def _agree(expected: Any, got: Any, tolerance: float) -> bool:
    """Shares of 1 within the tolerance; what is larger within that share of it, and within a rounding."""
    if isinstance(expected, bool):
        return bool(got) == expected
    allowed = tolerance * max(1.0, abs(float(expected))) + (0.1 if abs(float(expected)) > 1 else 0.0)
    return abs(float(got) - float(expected)) <= allowed
