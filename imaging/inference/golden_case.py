"""Makes a golden case out of a study: the images that the model looked at, without whose they are, and its answer.

Of each header is kept what says how pixels are read and where they lie, and no text: no names, numbers, dates or
descriptions; UIDs are new. The pixels are the input's, with whatever is burned into them.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pydicom
from pydicom import DataElement, Dataset
from pydicom.dataset import FileMetaDataset

from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.findings import Answer, Finding, State
from imaging.domain.fitting import verdicts_of
from imaging.domain.gates import Scope
from imaging.domain.measures import MEASURES
from imaging.domain.source import Source
from imaging.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derived_uid
from imaging.inference.golden import differences, sources_of
from imaging.inference.pixels import MALFORMED

FOLDER: Final = "golden"
EXPECTED: Final = "expected.json"
TOLERANCE: Final = 1e-3
TOLERANCE_OF_MASKS: Final = 1e-2
"""As the shipped models have it: other processors round elsewhere, and masks have edges."""

BOXES: Final = 5
"""Of a finding's places, the case asks for the most probable."""
_KEPT: Final = frozenset({
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "ImageType", "BodyPartExamined", "ViewPosition", "PatientOrientation", "PatientPosition",
    "PresentationIntentType", "PresentationLUTShape", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "SpacingBetweenSlices", "ImagerPixelSpacing", "InstanceNumber", "AcquisitionNumber",
    "TemporalPositionIdentifier", "TemporalPositionIndex", "StackID", "InStackPositionNumber", "FrameType",
    "EchoTime", "EffectiveEchoTime", "RepetitionTime", "InversionTime", "EchoNumbers", "ScanningSequence",
    "SequenceVariant", "ScanOptions", "MRAcquisitionType", "DiffusionBValue", "ConvolutionKernel",
    "ModalityLUTSequence", "LUTDescriptor", "LUTData", "RescaleType", "PixelData",
})  # fmt: skip
"""Keywords, beside those of group 0028 (image pixel, VOI), wherever in the data set they stand."""
_GROUPS: Final = "FunctionalGroupsSequence"
_TEXTS: Final = frozenset({"PN", "LO", "LT", "ST", "UT", "UC", "UR", "DA", "DT", "TM", "AS", "UN"})


@dataclass(frozen=True)
class Case:
    """What was written: `images`, `expected`, and the card with its `[golden]`. `answer`: what it expects."""

    images: tuple[Path, ...]
    expected: Path
    card: Path
    answer: Answer


class Analyse(Protocol):
    """The model's answer for a study. `is_chosen`: these instances are taken, whatever its gates would say."""

    def __call__(self, sources: Sequence[Source], *, is_chosen: bool = False) -> Answer: ...


def write_case(card: Card, sources: Sequence[Source], analyse: Analyse) -> Case:
    """Asks the model about a study, and writes the images that it looked at and its answer into its own folder.

    Raises PublicError where no case can be made of it, and OSError. What was begun is taken back.
    """
    part = Path(tempfile.mkdtemp(prefix=f".{FOLDER}.", dir=card.folder))
    try:
        first = _answered(analyse(sources))
        known = {each.header.sop_instance_uid: each for each in sources}
        roles = _roles(card, sources)
        images = _copied([known[each.sop_instance_uid] for each in first.images], part, card, roles)
        answer = _answered(analyse(sources_of(part), is_chosen=True))
        expected = [_expected(each) for each in answer.findings]
        if faults := list(differences(expected, first, _tolerance(card))):
            raise PublicError(f"gives a different answer without the study's other header values: {'; '.join(faults)}")
        (part / EXPECTED).write_text(json.dumps({"findings": expected}, indent=2) + "\n")
        _put(card, part)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    folder = card.folder / FOLDER
    return Case(
        tuple(folder / each.relative_to(part) for each in images), folder / EXPECTED, card.folder / "card.toml", answer
    )


def _tolerance(card: Card) -> float:
    return TOLERANCE if all(each.form == "channels" for each in card.findings) else TOLERANCE_OF_MASKS


def _answered(answer: Answer) -> Answer:
    if answer.state is not State.ANALYSED:
        raise _without_answer(answer)
    return answer


def _without_answer(answer: Answer) -> PublicError:
    if answer.state is State.FAILED:
        return PublicError(f"fails: {answer.why}")
    return PublicError(f"refuses this study: {answer.why}; a golden case has to be a study that the model takes")


def _put(card: Card, part: Path) -> None:
    """The case under its name, and then the card that names it: who reads the folder meanwhile finds a whole one."""
    folder, path = card.folder / FOLDER, card.folder / "card.toml"
    text = path.read_text().rstrip("\n")
    table = f'\n\n[golden]\ninput = "{FOLDER}/"\noutput = "{FOLDER}/{EXPECTED}"\ntolerance = {_tolerance(card):g}\n'
    new = path.with_name(".card.toml.new")
    new.write_text(text + table)
    shutil.copymode(path, new)
    part.chmod(0o755 & card.folder.stat().st_mode)
    part.rename(folder)  # fails where one is there already, unless it is empty
    new.replace(path)


# What is kept of an image --------------------------------------------------------------------------------------


def _roles(card: Card, sources: Sequence[Source]) -> dict[str, str]:
    """Of a card of several inputs, the role that each image plays, by UID: their case has a folder for each role, since
    without texts nothing tells them apart.
    """
    headers = [each.header for each in sources if each.header.has_pixels]
    expected_finding = {each.role: verdicts_of(each, headers) for each in card.inputs} if len(card.inputs) > 1 else {}
    return {uid: role for role, each in expected_finding.items() for uid, own in each.items() if own.scope is Scope.IN}


def _copied(sources: Sequence[Source], folder: Path, card: Card, roles: Mapping[str, str]) -> list[Path]:
    renamed: dict[str, str] = {}
    width = len(str(len(sources)))
    files = []
    for number, source in enumerate(sources, 1):
        at = folder / roles.get(source.header.sop_instance_uid, "")
        at.mkdir(exist_ok=True)
        files.append(at / f"{number:0{width}d}.dcm")
        try:
            _copy(source.path, files[-1], card, renamed)
        except OSError:
            raise
        except MALFORMED as error:
            raise PublicError(f"{source.path.name} cannot be copied: {type(error).__name__}") from error
    return files


def _copy(file: Path, into: Path, card: Card, renamed: dict[str, str]) -> None:
    """What is kept of a file. `renamed`: the new UID of each that was met."""
    dataset = pydicom.dcmread(file)
    kept = _kept(dataset)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if uid := str(kept.get(keyword) or ""):
            new = derived_uid("golden", card.device_uid, card.engine.digest, str(len(renamed)))
            setattr(kept, keyword, renamed.setdefault(uid, new))
    kept.file_meta = _meta(kept, str(dataset.file_meta.TransferSyntaxUID))
    kept.save_as(into, enforce_file_format=True)


def _meta(kept: Dataset, transfer_syntax_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kept.SOPClassUID, kept.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.UID(transfer_syntax_uid)
    meta.ImplementationClassUID = pydicom.uid.UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _kept(dataset: Dataset, *, is_group: bool = False) -> Dataset:
    """The data set with what is kept alone. `is_group`: within functional groups, whose macros are looked into."""
    done = Dataset()
    for element in dataset:
        if element.VR == "SQ" and (is_group or element.keyword.endswith(_GROUPS) or _stays(element)):
            items = [_kept(item, is_group=is_group or element.keyword.endswith(_GROUPS)) for item in element.value]
            if element.keyword.endswith(_GROUPS) or any(items):
                done.add(DataElement(element.tag, "SQ", items))
        elif element.VR != "SQ" and _stays(element):
            done.add(element)
    return done


def _stays(element: DataElement) -> bool:
    if element.keyword in _KEPT:
        return True
    return element.tag.group == 0x0028 and element.VR not in _TEXTS


# What is expected ----------------------------------------------------------------------------------------------


def _expected(finding: Finding) -> dict[str, Any]:
    """A finding as `expected.json` has it. Whether it is present follows from its probability, where it has one: a
    rounding elsewhere must not decide it."""
    expected_finding: dict[str, Any] = {"code": finding.code.value}
    if finding.probability is not None:
        expected_finding["probability"] = finding.probability
    elif finding.present is not None:
        expected_finding["present"] = finding.present
    if numbers := [each.value for each in finding.measurements if each.code == finding.code]:
        expected_finding["values"] = numbers
    if boxes := [list(each.box) for each in finding.places if finding.present and each.score is not None]:
        expected_finding["boxes"] = boxes[:BOXES]
    measured = {name: measure.value_in(finding) for name, measure in MEASURES.items()}
    expected_finding |= {name: value for name, value in measured.items() if value is not None}
    if finding.present and finding.centre_mm:
        expected_finding["centre_mm"] = [round(each, 1) for each in finding.centre_mm]
    return expected_finding
