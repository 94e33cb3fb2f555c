"""Whether an SR may be sent: its bytes read back and held against the answer that it is to give.

`verify` runs every rule, over the whole document. Where a document was filled into a mould that has passed it, the
cheap half in `imaging.results.filled` is enough. The public validators know most of the first half of the rules, none
of the second.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from pydicom.uid import ExplicitVRLittleEndian

from imaging.domain.artefacts import REPORT
from imaging.domain.card import FindingSpec
from imaging.domain.codes import Code
from imaging.domain.findings import Finding
from imaging.results import concepts
from imaging.results.expected import (
    AS_CHOSEN,
    FORMS,
    LIMITS,
    SR_CLASS,
    has_controls,
    in_part_sentence,
    is_close,
    is_date,
    is_number,
    key,
    may_stand,
    moments,
    parameters,
    priority_code,
    reason_code,
    study_uid,
    summary_code,
    to_float,
)
from imaging.results.identity import LOST, identity, line, readable
from imaging.results.reading import Item, Reading, Unreadable, code_of, is_code, references, texts
from imaging.results.report import Fault, Report
from imaging.results.uids import series_of, tracking_of, uid_of

Rule = Callable[[Reading, Report], Iterator[str]]

RULES: Final[dict[str, Rule]] = {}

_RETIRED: Final = frozenset(("SRT", "SNM3", "99SDM"))


def verify(data: bytes, report: Report) -> list[Fault]:
    """Each rule that the document breaks. Costs about what reading it does: 30 ms for fifteen groups."""
    try:
        said = Reading(data)
    except Unreadable as why:
        return [Fault("readable", f"pydicom: {why}")]
    return [Fault(name, why) for name, rule in RULES.items() for why in rule(said, report)]


def _rule(name: str) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        RULES[name] = rule
        return rule

    return enter


# ------------------------------------------------------------ the document in itself


@_rule("readable")
def _readable(said: Reading, report: Report) -> Iterator[str]:
    meta = said.dataset.file_meta
    if meta.get("TransferSyntaxUID") != ExplicitVRLittleEndian:
        yield "the transfer syntax is not Explicit VR Little Endian"
    if str(meta.get("MediaStorageSOPInstanceUID")) != said.get("SOPInstanceUID"):
        yield "Media Storage SOP Instance UID differs from SOP Instance UID"
    if str(meta.get("MediaStorageSOPClassUID")) != said.get("SOPClassUID"):
        yield "Media Storage SOP Class UID differs from SOP Class UID"


@_rule("sop-class")
def _sop_class(said: Reading, report: Report) -> Iterator[str]:
    if said.get("SOPClassUID") != SR_CLASS or said.get("Modality") != "SR":
        yield "not a Comprehensive 3D SR of modality SR"


@_rule("template")
def _template(said: Reading, report: Report) -> Iterator[str]:
    names = said.items("ContentTemplateSequence")
    if [(each.get("TemplateIdentifier"), each.get("MappingResource")) for each in names] != [("1500", "DCMR")]:
        yield "the root does not name template 1500 of DCMR"
    if said.root.value_type != "CONTAINER" or not said.root.is_named(concepts.IMAGING_MEASUREMENT_REPORT):
        yield "the root is no container named Imaging Measurement Report"


@_rule("flags")
def _flags(said: Reading, report: Report) -> Iterator[str]:
    """What an AI says, nobody has verified."""
    flags = [said.get(each) for each in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")]
    if flags != ["COMPLETE", "UNVERIFIED", "PRELIMINARY"]:
        yield f"flags are {flags}"


@_rule("verifier")
def _verifier(said: Reading, report: Report) -> Iterator[str]:
    if said.items("VerifyingObserverSequence"):
        yield "UNVERIFIED, with a verifying observer"


@_rule("dates")
def _dates(said: Reading, report: Report) -> Iterator[str]:
    for element in said.elements:
        if element.VR in FORMS and not all(is_date(element.VR, each) for each in texts(element)):
            yield f"{element.keyword} is no {element.VR}"
    for keyword in ("ContentDate", "ContentTime"):
        if not said.get(keyword):
            yield f"{keyword} is absent or empty"


@_rule("language")
def _language(said: Reading, report: Report) -> Iterator[str]:
    first = said.root.children[0] if said.root.children else None
    if first is None or not first.is_named(concepts.LANGUAGE) or first.value != concepts.LANGUAGES[report.language]:
        yield "the first content item is not the report's language"


@_rule("observer-device")
def _observer_device(said: Reading, report: Report) -> Iterator[str]:
    if [each.value for each in said.root.values(concepts.OBSERVER_TYPE)] != [concepts.DEVICE.value]:
        yield "the observer is not one device"
    if said.root.values(concepts.DEVICE_OBSERVER_UID) != [report.card.device_uid]:
        yield "the device observer's UID is not the card's"
    if not any(said.root.values(concepts.DEVICE_OBSERVER_NAME)):
        yield "the device observer has no name"
    relations = [each.relation for each in said.root.children]
    if "CONTAINS" in relations and "HAS OBS CONTEXT" in relations[relations.index("CONTAINS") :]:
        yield "observation context comes after content"


@_rule("procedure")
def _procedure(said: Reading, report: Report) -> Iterator[str]:
    if not said.root.values(concepts.PROCEDURE_REPORTED):
        yield "no procedure reported"


@_rule("measurements")
def _measurements(said: Reading, report: Report) -> Iterator[str]:
    if len(said.root.all_of(concepts.IMAGING_MEASUREMENTS)) != 1 or not _groups(said):
        yield "not one Imaging Measurements container with groups"
    for number, group in enumerate(_groups(said)):
        contained = [
            each for each in group.children if each.relation == "CONTAINS" and not each.is_named(concepts.FINDING)
        ]
        if not any(each.value_type in ("NUM", "CODE", "TEXT") for each in contained):
            yield f"group {number} says nothing of its finding"


@_rule("tracking")
def _tracking(said: Reading, report: Report) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for number, group in enumerate(_groups(said)):
        names, uids = group.values(concepts.TRACKING_IDENTIFIER), group.values(concepts.TRACKING_UNIQUE_IDENTIFIER)
        if len(names) != 1 or len(uids) != 1 or not all([*names, *uids]):
            yield f"group {number} has not one tracking identifier and one tracking UID"
        seen.update(uids)
    if any(times > 1 for times in seen.values()):
        yield "two groups have one tracking UID"


@_rule("finding")
def _finding(said: Reading, report: Report) -> Iterator[str]:
    for number, group in enumerate(_groups(said)):
        if len(group.values(concepts.FINDING)) != 1 or not isinstance(group.values(concepts.FINDING)[0], Code):
            yield f"group {number} has not exactly one finding"


@_rule("algorithm")
def _algorithm(said: Reading, report: Report) -> Iterator[str]:
    card = report.card
    for number, group in enumerate(_groups(said)):
        for name, value in (
            (concepts.ALGORITHM_NAME, card.name),
            (concepts.ALGORITHM_VERSION, card.version),
            (concepts.ALGORITHM_MANUFACTURER, card.maker),
        ):
            if group.values(name) != [line(value)]:
                yield f"group {number}: {name.meaning} is not the card's"


@_rule("algorithm-device")
def _algorithm_device(said: Reading, report: Report) -> Iterator[str]:
    """IHE AIR 6.5.3.1."""
    card = report.card
    wanted = (line(card.maker), line(card.name), line(card.version), card.device_uid)
    keywords = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceUID")
    found = [
        tuple(str(item.get(each, "")) for each in keywords) for item in said.items("ContributingEquipmentSequence")
    ]
    if found != [wanted]:
        yield "Contributing Equipment is not the card's algorithm alone, with maker, name, version and Device UID"


@_rule("evidence-complete")
def _evidence_complete(said: Reading, report: Report) -> Iterator[str]:
    if not set(said.named_images) <= {(each.sop_class_uid, each.sop_instance_uid) for each in _evidence(said)}:
        yield "an image that the content names is not in the evidence with its SOP class"


@_rule("evidence-exact")
def _evidence_exact(said: Reading, report: Report) -> Iterator[str]:
    listed = [each.sop_instance_uid for each in _evidence(said)]
    named = {uid for _, uid in said.named_images}
    if not set(listed) <= named:
        yield "the evidence has an image that the content does not name"
    if len(listed) != len(set(listed)):
        yield "the evidence names an image twice"
    if said.get("SOPInstanceUID") in {*listed, *named}:
        yield "the document names itself"
    if said.items("PertinentOtherEvidenceSequence"):
        yield "there is evidence of another study"


@_rule("evidence-study")
def _evidence_study(said: Reading, report: Report) -> Iterator[str]:
    studies = {study for study, _ in references(said.items("CurrentRequestedProcedureEvidenceSequence"))}
    if studies != {study_uid(report)}:
        yield "the evidence is not of the report's study"


@_rule("evidence-of-report")
def _evidence_of_report(said: Reading, report: Report) -> Iterator[str]:
    if set(_evidence(said)) != set(report.images):
        yield "the evidence is not the images of this answer"


@_rule("units")
def _units(said: Reading, report: Report) -> Iterator[str]:
    for item in said.root.below():
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
def _codes(said: Reading, report: Report) -> Iterator[str]:
    for keyword, code in _all_codes(said):
        if not (code.scheme and code.value.strip() and code.meaning.strip()):
            yield f"{keyword}: a code without value, scheme or meaning"
        elif code.scheme in _RETIRED:
            yield f"{keyword}: a code of the retired scheme {code.scheme}"
        elif len(code.meaning) > 64 or (code.scheme == concepts.TRIAGE.scheme and len(code.value) > 16):
            yield f"{keyword}: code {code.value} is too long, or its meaning"
    single = ("ConceptNameCodeSequence", "ConceptCodeSequence", "MeasurementUnitsCodeSequence")
    for element in said.elements:
        if element.keyword in single and len(element.value) != 1:
            yield f"{element.keyword} has not one item"


@_rule("private-codes")
def _private_codes(said: Reading, report: Report) -> Iterator[str]:
    declared = {str(each.get("CodingSchemeDesignator")) for each in said.items("CodingSchemeIdentificationSequence")}
    for scheme in {code.scheme for _, code in _all_codes(said) if code.scheme.startswith("99")} - declared:
        yield f"{scheme} is not declared"


@_rule("items")
def _items(said: Reading, report: Report) -> Iterator[str]:
    for item in said.root.below():
        label = item.name.meaning if item.name else item.value_type
        if not item.relation or item.name is None:
            yield f"{label}: no relationship or no name"
        if item.value_type == "CONTAINER":
            if not item.children or item.data.get("ContinuityOfContent") not in ("SEPARATE", "CONTINUOUS"):
                yield f"{label}: an empty container, or without continuity"
        elif item.value is None or item.value == "":
            yield f"{label}: no value"


@_rule("regions")
def _regions(said: Reading, report: Report) -> Iterator[str]:
    frame = report.header.frame_of_reference_uid
    for number, group in enumerate(_groups(said)):
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
def _uids(said: Reading, report: Report) -> Iterator[str]:
    for element in (*said.elements, *said.dataset.file_meta):
        for uid in texts(element) if element.VR == "UI" else ():
            if not may_stand(uid, report):
                yield f"{element.keyword} is no UID"
    if len({said.get(each) for each in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")} - {""}) != 3:
        yield "study, series and instance have not three different UIDs"


@_rule("charset")
def _charset(said: Reading, report: Report) -> Iterator[str]:
    if said.get("SpecificCharacterSet") != "ISO_IR 192":
        yield "the character set is not ISO_IR 192"
    for element in said.elements:
        limit = LIMITS.get(element.VR)
        if element.VR not in ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "CS"):
            continue
        for value in texts(element):
            if LOST in value or has_controls(value):
                yield f"{element.keyword} has control characters, or some that were lost"
            if limit and any(len(each) > limit for each in value.split("=" if element.VR == "PN" else "\\")):
                yield f"{element.keyword} has over {limit} characters"


@_rule("text-nfc")
def _text_nfc(said: Reading, report: Report) -> Iterator[str]:
    for element in said.elements:
        if element.VR in ("PN", "LO", "SH", "UT") and not all(
            unicodedata.is_normalized("NFC", each) for each in texts(element)
        ):
            yield f"{element.keyword} is not in normal form C"


# ------------------------------------------------------------ the document and the answer that it is to give


@_rule("same-patient")
def _same_patient(said: Reading, report: Report) -> Iterator[str]:
    whose = identity(report.header)
    for keyword, wanted in (
        ("PatientID", whose.patient_id),
        ("IssuerOfPatientID", whose.issuer_of_patient_id),
        ("PatientName", whose.patient_name),
        ("PatientBirthDate", whose.patient_birth_date),
        ("PatientSex", whose.patient_sex),
    ):
        if keyword not in said.dataset or said.get(keyword) != wanted:
            yield f"{keyword} is not the source's"
    if said.items("OtherPatientIDsSequence"):
        yield "there are other patient identifiers"


@_rule("same-study")
def _same_study(said: Reading, report: Report) -> Iterator[str]:
    whose = identity(report.header)
    for keyword, wanted in (
        ("StudyInstanceUID", report.header.study_instance_uid),
        ("StudyID", whose.study_id),
        ("StudyDate", whose.study_date),
        ("StudyTime", whose.study_time),
        ("AccessionNumber", whose.accession_number),
    ):
        if said.get(keyword) != wanted:
            yield f"{keyword} is not the source's"


@_rule("uid-derived")
def _uid_derived(said: Reading, report: Report) -> Iterator[str]:
    own = {"SOPInstanceUID": uid_of(report, REPORT), "SeriesInstanceUID": series_of(report, SR_CLASS)}
    for keyword, wanted in own.items():
        if said.get(keyword) != wanted:
            yield f"{keyword} is not the one derived from this report"


@_rule("tracking-stable")
def _tracking_stable(said: Reading, report: Report) -> Iterator[str]:
    for number, group in enumerate(_groups(said)):
        about, uids = _about(group), group.values(concepts.TRACKING_UNIQUE_IDENTIFIER)
        place = "study" if about == key(concepts.TRIAGE) else ""
        if uids != [tracking_of(report, about[1], place)]:
            yield f"group {number}: its tracking UID is not that of this finding in this study"


@_rule("no-real-clock")
def _no_real_clock(said: Reading, report: Report) -> Iterator[str]:
    day, time, moment = moments(report)
    sources = {"PatientBirthDate", "StudyDate", "StudyTime"}
    for element in said.elements:
        wanted = {"DA": day, "TM": time, "DT": moment}.get(element.VR)
        if wanted and element.keyword not in sources and texts(element) != [wanted]:
            yield f"{element.keyword} is not the report's time"


@_rule("predecessor")
def _predecessor(said: Reading, report: Report) -> Iterator[str]:
    earlier = list(references(said.items("PredecessorDocumentsSequence")))
    before = report.predecessor
    found = [(study, each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid) for study, each in earlier]
    own = before and (study_uid(report), before.sop_class_uid, before.sop_instance_uid, before.series_instance_uid)
    if found != ([own] if own else []):
        yield "Predecessor Documents is not the answer before this one"
    if before and before.sop_class_uid != said.get("SOPClassUID"):
        yield "the predecessor is of another SOP class"
    if said.get("SOPInstanceUID") in {each.sop_instance_uid for _, each in earlier}:
        yield "the document is its own predecessor"


@_rule("not-a-diagnosis")
def _not_a_diagnosis(said: Reading, report: Report) -> Iterator[str]:
    description = said.get("SeriesDescription")
    if not description.startswith("AI") or "not a diagnosis" not in description:
        yield "the series does not say AI, not a diagnosis"
    for group in _groups(said)[:1]:
        if concepts.NOT_A_DIAGNOSIS[report.language] not in group.values(concepts.NOTICE):
            yield "the study's group does not say that this is not a diagnosis"
        if f"status={report.card.status}" not in group.values(concepts.ALGORITHM_PARAMETERS):
            yield "the study's group does not say what the model's status is"


@_rule("notices-of-finding")
def _notices_of_finding(said: Reading, report: Report) -> Iterator[str]:
    """Near chance by the card's evidence, or of a model that is unproven: said beside the finding, or not at all."""
    for group, spec, _ in _pairs(said, report):
        wanted = [concepts.NEAR_CHANCE[report.language]] if report.card.is_near_chance(spec) else []
        wanted += [concepts.UNPROVEN[report.language]] if report.outcome.unproven else []
        if group.values(concepts.NOTICE) != wanted:
            yield f"{spec.code.meaning}: its notices are not those of card and answer"


@_rule("finding-of-card")
def _finding_of_card(said: Reading, report: Report) -> Iterator[str]:
    """Each label that the card reports once, no other; none at all where nothing was analysed."""
    about = [_about(group) for group in _groups(said)]
    wanted = [key(each.code) for each in report.card.findings] if report.is_analysed else []
    if about[:1] != [key(concepts.TRIAGE)]:
        yield "the first group is not the study's"
    if Counter(about[1:]) != Counter(wanted):
        yield "the groups are not the findings of the card, each once"


@_rule("threshold-of-card")
def _threshold_of_card(said: Reading, report: Report) -> Iterator[str]:
    for group, spec, _ in _pairs(said, report):
        stated = _numbers(group, concepts.THRESHOLD)
        if spec.kind == "label" and not stated and group.values(concepts.PROBABILITY):
            yield f"{spec.code.meaning}: a probability without its threshold"
        if stated and not is_close(stated[0], spec.threshold, AS_CHOSEN):
            yield f"{spec.code.meaning}: the threshold is not the card's"


@_rule("present-iff-over")
def _present_iff_over(said: Reading, report: Report) -> Iterator[str]:
    for group, spec, finding in _pairs(said, report):
        results = [key(each) for each in group.values(concepts.RESULT) if each]
        if results != [key(concepts.verdict(finding.present))]:
            yield f"{spec.code.meaning}: the result is not the answer's"
        probability, threshold = _numbers(group, concepts.PROBABILITY), _numbers(group, concepts.THRESHOLD)
        if spec.kind == "label" and probability and threshold:
            over = concepts.of_what_was_seen(probability[0] >= threshold[0], report.outcome.is_in_part)
            if results != [key(concepts.verdict(over))]:
                yield f"{spec.code.meaning}: the result is not whether the probability reaches the threshold"


@_rule("absent-of-what-was-seen")
def _absent_of_what_was_seen(said: Reading, report: Report) -> Iterator[str]:
    for group, spec, _ in _pairs(said, report):
        if report.outcome.is_in_part and key(concepts.ABSENT) in [key(each) for each in group.values(concepts.RESULT)]:
            yield f"{spec.code.meaning}: called absent, though images were not analysed"


@_rule("in-part")
def _in_part(said: Reading, report: Report) -> Iterator[str]:
    wanted = [in_part_sentence(report)] if in_part_sentence(report) else []
    boxes = said.root.all_of(concepts.QUALITATIVE_EVALUATIONS)
    if [text for box in boxes for text in box.values(concepts.IN_PART)] != wanted:
        yield "it does not say in words what was not analysed, or says it of a study that was seen whole"


@_rule("parameters-of-answer")
def _parameters_of_answer(said: Reading, report: Report) -> Iterator[str]:
    wanted = {readable(f"{name}={value}") for name, value in parameters(report).items()}
    for group in _groups(said)[:1]:
        if not wanted <= set(group.values(concepts.ALGORITHM_PARAMETERS)):
            yield "the study's group lacks what the answer counts or states"


@_rule("values-of-answer")
def _values_of_answer(said: Reading, report: Report) -> Iterator[str]:
    for group, spec, finding in _pairs(said, report):
        wanted: list[tuple[Code, float, str]] = [(each.code, each.value, each.unit) for each in finding.measurements]
        if finding.probability is not None:
            wanted.append((concepts.PROBABILITY, finding.probability, "{0:1}"))
        if finding.threshold is not None:
            wanted.append((concepts.THRESHOLD, finding.threshold, "{0:1}"))
        found = [each for each in group.children if each.value_type == "NUM" and each.value]
        stated = {(key(each.name), each.value[1]): each.value[0] for each in found if each.name}
        if len(found) != len(wanted) or any(
            not is_close(to_float(stated.get((key(code), unit), "")), value) for code, value, unit in wanted
        ):
            yield f"{spec.code.meaning}: the numbers are not the answer's"
        named = {uid for each in found for _, uid in (child.value for child in each.children if child.value)}
        looked_at = [each.sop_instance_uid for each in report.images] if report.card.names_each_image else []
        if not named <= set(finding.sop_instance_uids or looked_at):
            yield f"{spec.code.meaning}: it names images that it was not seen on"


@_rule("summary-agrees")
def _summary_agrees(said: Reading, report: Report) -> Iterator[str]:
    for group in _groups(said)[:1]:
        if [key(each) for each in group.values(concepts.SUMMARY) if each] != [key(summary_code(report))]:
            yield "the summary is not that of the findings"


@_rule("priority-agrees")
def _priority_agrees(said: Reading, report: Report) -> Iterator[str]:
    wanted = [key(priority_code(report))] if report.is_analysed else []
    for group in _groups(said)[:1]:
        if [key(each) for each in group.values(concepts.PRIORITY) if each] != wanted:
            yield "the priority is not the answer's flag"


@_rule("reason-agrees")
def _reason_agrees(said: Reading, report: Report) -> Iterator[str]:
    wanted = [] if report.is_analysed else [key(reason_code(report))]
    for group in _groups(said)[:1]:
        if [key(each) for each in group.values(concepts.NOT_ANALYSED) if each] != wanted:
            yield "the reason is not the answer's"


# ------------------------------------------------------------ how the rules read it


def _groups(said: Reading) -> list[Item]:
    boxes = said.root.all_of(concepts.IMAGING_MEASUREMENTS)
    return [group for box in boxes for group in box.all_of(concepts.MEASUREMENT_GROUP)]


def _evidence(said: Reading) -> list[Any]:
    return [each for _, each in references(said.items("CurrentRequestedProcedureEvidenceSequence"))]


def _all_codes(said: Reading) -> Iterator[tuple[str, Code]]:
    for element in said.elements:
        for item in element.value if element.VR == "SQ" else ():
            if is_code(item):
                yield element.keyword, code_of(item)


def _pairs(said: Reading, report: Report) -> Iterator[tuple[Item, FindingSpec, Finding]]:
    """Each finding's group, with what the card and the answer say of it."""
    specs = {key(each.code): each for each in report.card.findings}
    findings = {key(each.code): each for each in report.findings}
    for group in _groups(said):
        about = _about(group)
        if about in specs and about in findings:
            yield group, specs[about], findings[about]


def _about(group: Item) -> tuple[str, str]:
    """What a group's finding is, or nothing."""
    return next((key(each) for each in group.values(concepts.FINDING) if isinstance(each, Code)), ("", ""))


def _numbers(group: Item, name: Code) -> list[float]:
    return [to_float(each[0]) for each in group.values(name) if each]
