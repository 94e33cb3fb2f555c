"""What a document must be in itself, whatever it is to say: the attributes (PS3.3), the template (PS3.16, TID 1500)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging.domain.codes import Code
from imaging.results import concepts
from imaging.results.expected import (
    FORMS,
    LIMITS,
    SR_CLASS,
    has_controls,
    is_date,
    is_number,
    may_stand,
    study_uid,
)
from imaging.results.identity import LOST, line
from imaging.results.reading import Reading, references, texts
from imaging.results.report import Report
from imaging.results.rules import Rule, all_codes, enters, evidence, groups

RULES: Final[dict[str, Rule]] = {}
_rule = enters(RULES)

_RETIRED: Final = frozenset(("SRT", "SNM3", "99SDM"))


@_rule("readable")
def _readable(reading: Reading, report: Report) -> Iterator[str]:
    meta = reading.dataset.file_meta
    if meta.get("TransferSyntaxUID") != ExplicitVRLittleEndian:
        yield "the transfer syntax is not Explicit VR Little Endian"
    if str(meta.get("MediaStorageSOPInstanceUID")) != reading.get("SOPInstanceUID"):
        yield "Media Storage SOP Instance UID differs from SOP Instance UID"
    if str(meta.get("MediaStorageSOPClassUID")) != reading.get("SOPClassUID"):
        yield "Media Storage SOP Class UID differs from SOP Class UID"


@_rule("sop-class")
def _sop_class(reading: Reading, report: Report) -> Iterator[str]:
    if reading.get("SOPClassUID") != SR_CLASS or reading.get("Modality") != "SR":
        yield "not a Comprehensive 3D SR of modality SR"


@_rule("template")
def _template(reading: Reading, report: Report) -> Iterator[str]:
    names = reading.items("ContentTemplateSequence")
    if [(each.get("TemplateIdentifier"), each.get("MappingResource")) for each in names] != [("1500", "DCMR")]:
        yield "the root does not name template 1500 of DCMR"
    if reading.root.value_type != "CONTAINER" or not reading.root.is_named(concepts.IMAGING_MEASUREMENT_REPORT):
        yield "the root is no container named Imaging Measurement Report"


@_rule("flags")
def _flags(reading: Reading, report: Report) -> Iterator[str]:
    """What an AI says, nobody has verified."""
    flags = [reading.get(each) for each in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")]
    if flags != ["COMPLETE", "UNVERIFIED", "PRELIMINARY"]:
        yield f"flags are {flags}"


@_rule("verifier")
def _verifier(reading: Reading, report: Report) -> Iterator[str]:
    if reading.items("VerifyingObserverSequence"):
        yield "UNVERIFIED, with a verifying observer"


@_rule("dates")
def _dates(reading: Reading, report: Report) -> Iterator[str]:
    for element in reading.elements:
        if element.VR in FORMS and not all(is_date(element.VR, each) for each in texts(element)):
            yield f"{element.keyword} is no {element.VR}"
    for keyword in ("ContentDate", "ContentTime"):
        if not reading.get(keyword):
            yield f"{keyword} is absent or empty"


@_rule("language")
def _language(reading: Reading, report: Report) -> Iterator[str]:
    first = reading.root.children[0] if reading.root.children else None
    if first is None or not first.is_named(concepts.LANGUAGE) or first.value != concepts.LANGUAGES[report.language]:
        yield "the first content item is not the report's language"


@_rule("observer-device")
def _observer_device(reading: Reading, report: Report) -> Iterator[str]:
    if [each.value for each in reading.root.values(concepts.OBSERVER_TYPE)] != [concepts.DEVICE.value]:
        yield "the observer is not one device"
    if reading.root.values(concepts.DEVICE_OBSERVER_UID) != [report.card.device_uid]:
        yield "the device observer's UID is not the card's"
    if not any(reading.root.values(concepts.DEVICE_OBSERVER_NAME)):
        yield "the device observer has no name"
    relations = [each.relation for each in reading.root.children]
    if "CONTAINS" in relations and "HAS OBS CONTEXT" in relations[relations.index("CONTAINS") :]:
        yield "observation context comes after content"


@_rule("procedure")
def _procedure(reading: Reading, report: Report) -> Iterator[str]:
    if not reading.root.values(concepts.PROCEDURE_REPORTED):
        yield "no procedure reported"


@_rule("measurements")
def _measurements(reading: Reading, report: Report) -> Iterator[str]:
    if len(reading.root.all_of(concepts.IMAGING_MEASUREMENTS)) != 1 or not groups(reading):
        yield "not one Imaging Measurements container with groups"
    for number, group in enumerate(groups(reading)):
        contained = [
            each for each in group.children if each.relation == "CONTAINS" and not each.is_named(concepts.FINDING)
        ]
        if not any(each.value_type in ("NUM", "CODE", "TEXT") for each in contained):
            yield f"group {number} says nothing of its finding"


@_rule("tracking")
def _tracking(reading: Reading, report: Report) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for number, group in enumerate(groups(reading)):
        names, uids = group.values(concepts.TRACKING_IDENTIFIER), group.values(concepts.TRACKING_UNIQUE_IDENTIFIER)
        if len(names) != 1 or len(uids) != 1 or not all([*names, *uids]):
            yield f"group {number} has not one tracking identifier and one tracking UID"
        seen.update(uids)
    if any(times > 1 for times in seen.values()):
        yield "two groups have one tracking UID"


@_rule("finding")
def _finding(reading: Reading, report: Report) -> Iterator[str]:
    for number, group in enumerate(groups(reading)):
        if len(group.values(concepts.FINDING)) != 1 or not isinstance(group.values(concepts.FINDING)[0], Code):
            yield f"group {number} has not exactly one finding"


@_rule("algorithm")
def _algorithm(reading: Reading, report: Report) -> Iterator[str]:
    card = report.card
    for number, group in enumerate(groups(reading)):
        for name, value in (
            (concepts.ALGORITHM_NAME, card.name),
            (concepts.ALGORITHM_VERSION, card.version),
            (concepts.ALGORITHM_MANUFACTURER, card.maker),
        ):
            if group.values(name) != [line(value)]:
                yield f"group {number}: {name.meaning} is not the card's"


@_rule("algorithm-device")
def _algorithm_device(reading: Reading, report: Report) -> Iterator[str]:
    """IHE AIR 6.5.3.1."""
    card = report.card
    wanted = (line(card.maker), line(card.name), line(card.version), card.device_uid)
    keywords = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceUID")
    found = [
        tuple(str(item.get(each, "")) for each in keywords) for item in reading.items("ContributingEquipmentSequence")
    ]
    if found != [wanted]:
        yield "Contributing Equipment is not the card's algorithm alone, with maker, name, version and Device UID"


@_rule("evidence-complete")
def _evidence_complete(reading: Reading, report: Report) -> Iterator[str]:
    if not set(reading.named_images) <= {(each.sop_class_uid, each.sop_instance_uid) for each in evidence(reading)}:
        yield "an image that the content names is not in the evidence with its SOP class"


@_rule("evidence-exact")
def _evidence_exact(reading: Reading, report: Report) -> Iterator[str]:
    listed = [each.sop_instance_uid for each in evidence(reading)]
    named = {uid for _, uid in reading.named_images}
    if not set(listed) <= named:
        yield "the evidence has an image that the content does not name"
    if len(listed) != len(set(listed)):
        yield "the evidence names an image twice"
    if reading.get("SOPInstanceUID") in {*listed, *named}:
        yield "the document names itself"
    if reading.items("PertinentOtherEvidenceSequence"):
        yield "there is evidence of another study"


@_rule("evidence-study")
def _evidence_study(reading: Reading, report: Report) -> Iterator[str]:
    studies = {study for study, _ in references(reading.items("CurrentRequestedProcedureEvidenceSequence"))}
    if studies != {study_uid(report)}:
        yield "the evidence is not of the report's study"


@_rule("evidence-of-report")
def _evidence_of_report(reading: Reading, report: Report) -> Iterator[str]:
    if set(evidence(reading)) != set(report.images):
        yield "the evidence is not the images of this answer"


@_rule("units")
def _units(reading: Reading, report: Report) -> Iterator[str]:
    for item in reading.root.below():
        if item.value_type != "NUM":
            continue
        label = item.name.meaning if item.name else "a number"
        if item.value is None or not is_number(item.value[0]):
            yield f"{label}: not one number"
        elif (
            not item.value[1] or re.search(r"\s", item.value[1]) or item.value[1].count("{") != item.value[1].count("}")
        ):
            yield f"{label}: its unit is not UCUM"
        elif item.is_named(concepts.PROBABILITY) and (item.value[1] != "{0:1}" or not 0 <= float(item.value[0]) <= 1):
            yield f"{label}: not within 0 and 1"


@_rule("codes")
def _codes(reading: Reading, report: Report) -> Iterator[str]:
    for keyword, code in all_codes(reading):
        if not (code.scheme and code.value.strip() and code.meaning.strip()):
            yield f"{keyword}: a code without value, scheme or meaning"
        elif code.scheme in _RETIRED:
            yield f"{keyword}: a code of the retired scheme {code.scheme}"
        elif len(code.meaning) > 64 or (code.scheme == concepts.TRIAGE.scheme and len(code.value) > 16):
            yield f"{keyword}: code {code.value} is too long, or its meaning"
    single = ("ConceptNameCodeSequence", "ConceptCodeSequence", "MeasurementUnitsCodeSequence")
    for element in reading.elements:
        if element.keyword in single and len(element.value) != 1:
            yield f"{element.keyword} has not one item"


@_rule("private-codes")
def _private_codes(reading: Reading, report: Report) -> Iterator[str]:
    declared = {str(each.get("CodingSchemeDesignator")) for each in reading.items("CodingSchemeIdentificationSequence")}
    for scheme in {code.scheme for _, code in all_codes(reading) if code.scheme.startswith("99")} - declared:
        yield f"{scheme} is not declared"


@_rule("items")
def _items(reading: Reading, report: Report) -> Iterator[str]:
    for item in reading.root.below():
        label = item.name.meaning if item.name else item.value_type
        if not item.relation or item.name is None:
            yield f"{label}: no relationship or no name"
        if item.value_type == "CONTAINER":
            if not item.children or item.data.get("ContinuityOfContent") not in ("SEPARATE", "CONTINUOUS"):
                yield f"{label}: an empty container, or without continuity"
        elif item.value is None or item.value == "":
            yield f"{label}: no value"


@_rule("regions")
def _regions(reading: Reading, report: Report) -> Iterator[str]:
    frame = report.header.frame_of_reference_uid
    for number, group in enumerate(groups(reading)):
        templates = [str(each.get("TemplateIdentifier")) for each in group.data.get("ContentTemplateSequence") or []]
        places = group.all_of(concepts.IMAGE_REGION)
        if templates != (["1410"] if places else ["1501"]):
            yield f"group {number}: its template does not agree with its regions"
        for place in places:
            if place.value_type != "SCOORD3D" or place.value[0] != "POINT" or len(place.value[1]) != 3:
                yield f"group {number}: the region is no point in the patient"
            elif str(place.data.get("ReferencedFrameOfReferenceUID", "")) != frame:
                yield f"group {number}: the point is not in the source's frame of reference"


@_rule("uids")
def _uids(reading: Reading, report: Report) -> Iterator[str]:
    for element in (*reading.elements, *reading.dataset.file_meta):
        for uid in texts(element) if element.VR == "UI" else ():
            if not may_stand(uid, report):
                yield f"{element.keyword} is no UID"
    if len({reading.get(each) for each in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")} - {""}) != 3:
        yield "study, series and instance have not three different UIDs"


@_rule("charset")
def _charset(reading: Reading, report: Report) -> Iterator[str]:
    if reading.get("SpecificCharacterSet") != "ISO_IR 192":
        yield "the character set is not ISO_IR 192"
    for element in reading.elements:
        limit = LIMITS.get(element.VR)
        if element.VR not in ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "CS"):
            continue
        for value in texts(element):
            if LOST in value or has_controls(value):
                yield f"{element.keyword} has control characters, or some that were lost"
            if limit and any(len(each) > limit for each in value.split("=" if element.VR == "PN" else "\\")):
                yield f"{element.keyword} has over {limit} characters"


@_rule("text-nfc")
def _text_nfc(reading: Reading, report: Report) -> Iterator[str]:
    for element in reading.elements:
        if element.VR in ("PN", "LO", "SH", "UT") and not all(
            unicodedata.is_normalized("NFC", each) for each in texts(element)
        ):
            yield f"{element.keyword} is not in normal form C"
