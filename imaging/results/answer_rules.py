"""What a document must say: patient, study, findings, numbers and UIDs are those of the answer that it is to give."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from imaging.domain.artefacts import REPORT
from imaging.domain.codes import Code
from imaging.results import concepts
from imaging.results.expected import (
    AS_CHOSEN,
    SR_CLASS,
    in_part_sentence,
    is_close,
    key,
    moments,
    parameters,
    priority_code,
    reason_code,
    study_uid,
    summary_code,
    to_float,
)
from imaging.results.identity import identity, readable
from imaging.results.reading import Reading, references, texts
from imaging.results.report import Report
from imaging.results.rules import Rule, enters, groups, numbers, pairs, subject
from imaging.results.uids import series_of, tracking_of, uid_of

RULES: Final[dict[str, Rule]] = {}
_rule = enters(RULES)


@_rule("same-patient")
def _same_patient(reading: Reading, report: Report) -> Iterator[str]:
    study_identity = identity(report.header)
    for keyword, wanted in (
        ("PatientID", study_identity.patient_id),
        ("IssuerOfPatientID", study_identity.issuer_of_patient_id),
        ("PatientName", study_identity.patient_name),
        ("PatientBirthDate", study_identity.patient_birth_date),
        ("PatientSex", study_identity.patient_sex),
    ):
        if keyword not in reading.dataset or reading.get(keyword) != wanted:
            yield f"{keyword} is not the source's"
    if reading.items("OtherPatientIDsSequence"):
        yield "there are other patient identifiers"


@_rule("same-study")
def _same_study(reading: Reading, report: Report) -> Iterator[str]:
    study_identity = identity(report.header)
    for keyword, wanted in (
        ("StudyInstanceUID", report.header.study_instance_uid),
        ("StudyID", study_identity.study_id),
        ("StudyDate", study_identity.study_date),
        ("StudyTime", study_identity.study_time),
        ("AccessionNumber", study_identity.accession_number),
    ):
        if reading.get(keyword) != wanted:
            yield f"{keyword} is not the source's"


@_rule("uid-derived")
def _uid_derived(reading: Reading, report: Report) -> Iterator[str]:
    own = {"SOPInstanceUID": uid_of(report, REPORT), "SeriesInstanceUID": series_of(report, SR_CLASS)}
    for keyword, wanted in own.items():
        if reading.get(keyword) != wanted:
            yield f"{keyword} is not the one derived from this report"


@_rule("tracking-stable")
def _tracking_stable(reading: Reading, report: Report) -> Iterator[str]:
    for number, group in enumerate(groups(reading)):
        about, uids = subject(group), group.values(concepts.TRACKING_UNIQUE_IDENTIFIER)
        place = "study" if about == key(concepts.TRIAGE) else ""
        if uids != [tracking_of(report, about[1], place)]:
            yield f"group {number}: its tracking UID is not that of this finding in this study"


@_rule("no-real-clock")
def _no_real_clock(reading: Reading, report: Report) -> Iterator[str]:
    day, time, moment = moments(report)
    sources = {"PatientBirthDate", "StudyDate", "StudyTime"}
    for element in reading.elements:
        wanted = {"DA": day, "TM": time, "DT": moment}.get(element.VR)
        if wanted and element.keyword not in sources and texts(element) != [wanted]:
            yield f"{element.keyword} is not the report's time"


@_rule("predecessor")
def _predecessor(reading: Reading, report: Report) -> Iterator[str]:
    earlier = list(references(reading.items("PredecessorDocumentsSequence")))
    before = report.predecessor
    found = [(study, each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid) for study, each in earlier]
    own = before and (study_uid(report), before.sop_class_uid, before.sop_instance_uid, before.series_instance_uid)
    if found != ([own] if own else []):
        yield "Predecessor Documents is not the answer before this one"
    if before and before.sop_class_uid != reading.get("SOPClassUID"):
        yield "the predecessor is of another SOP class"
    if reading.get("SOPInstanceUID") in {each.sop_instance_uid for _, each in earlier}:
        yield "the document is its own predecessor"


@_rule("not-a-diagnosis")
def _not_a_diagnosis(reading: Reading, report: Report) -> Iterator[str]:
    description = reading.get("SeriesDescription")
    if not description.startswith("AI") or "not a diagnosis" not in description:
        yield "the series does not say AI, not a diagnosis"
    for group in groups(reading)[:1]:
        if concepts.NOT_A_DIAGNOSIS[report.language] not in group.values(concepts.NOTICE):
            yield "the study's group does not say that this is not a diagnosis"
        if f"status={report.card.status}" not in group.values(concepts.ALGORITHM_PARAMETERS):
            yield "the study's group does not say what the model's status is"


@_rule("notices-of-finding")
def _notices_of_finding(reading: Reading, report: Report) -> Iterator[str]:
    """Near chance by the card's evidence, or of a model that is unproven: said beside the finding, or not at all."""
    for group, spec, _ in pairs(reading, report):
        wanted = [concepts.NEAR_CHANCE[report.language]] if report.card.is_near_chance(spec) else []
        wanted += [concepts.UNPROVEN[report.language]] if report.outcome.unproven else []
        if group.values(concepts.NOTICE) != wanted:
            yield f"{spec.code.meaning}: its notices are not those of card and answer"


@_rule("finding-of-card")
def _finding_of_card(reading: Reading, report: Report) -> Iterator[str]:
    """Each label that the card reports once, no other; none at all where nothing was analysed."""
    about = [subject(group) for group in groups(reading)]
    wanted = [key(each.code) for each in report.card.findings] if report.is_analysed else []
    if about[:1] != [key(concepts.TRIAGE)]:
        yield "the first group is not the study's"
    if Counter(about[1:]) != Counter(wanted):
        yield "the groups are not the findings of the card, each once"


@_rule("threshold-of-card")
def _threshold_of_card(reading: Reading, report: Report) -> Iterator[str]:
    for group, spec, _ in pairs(reading, report):
        stated = numbers(group, concepts.THRESHOLD)
        if spec.kind == "label" and not stated and group.values(concepts.PROBABILITY):
            yield f"{spec.code.meaning}: a probability without its threshold"
        if stated and not is_close(stated[0], spec.threshold, AS_CHOSEN):
            yield f"{spec.code.meaning}: the threshold is not the card's"


@_rule("present-iff-over")
def _present_iff_over(reading: Reading, report: Report) -> Iterator[str]:
    for group, spec, finding in pairs(reading, report):
        results = [key(each) for each in group.values(concepts.RESULT) if each]
        if results != [key(concepts.verdict(finding.present))]:
            yield f"{spec.code.meaning}: the result is not the answer's"
        probability, threshold = numbers(group, concepts.PROBABILITY), numbers(group, concepts.THRESHOLD)
        if spec.kind == "label" and probability and threshold:
            over = concepts.of_what_was_seen(probability[0] >= threshold[0], report.outcome.is_in_part)
            if results != [key(concepts.verdict(over))]:
                yield f"{spec.code.meaning}: the result is not whether the probability reaches the threshold"


@_rule("absent-of-what-was-seen")
def _absent_of_what_was_seen(reading: Reading, report: Report) -> Iterator[str]:
    for group, spec, _ in pairs(reading, report):
        if report.outcome.is_in_part and key(concepts.ABSENT) in [key(each) for each in group.values(concepts.RESULT)]:
            yield f"{spec.code.meaning}: called absent, though images were not analysed"


@_rule("in-part")
def _in_part(reading: Reading, report: Report) -> Iterator[str]:
    wanted = [in_part_sentence(report)] if in_part_sentence(report) else []
    boxes = reading.root.all_of(concepts.QUALITATIVE_EVALUATIONS)
    if [text for box in boxes for text in box.values(concepts.IN_PART)] != wanted:
        yield "it does not say in words what was not analysed, or says it of a study that was seen whole"


@_rule("parameters-of-answer")
def _parameters_of_answer(reading: Reading, report: Report) -> Iterator[str]:
    wanted = {readable(f"{name}={value}") for name, value in parameters(report).items()}
    wanted |= {f"card_sha256={report.card.digest}", f"weights_sha256={report.card.engine.digest}"}
    for group in groups(reading)[:1]:
        if not wanted <= set(group.values(concepts.ALGORITHM_PARAMETERS)):
            yield "the study's group lacks what the answer counts or states"


@_rule("values-of-answer")
def _values_of_answer(reading: Reading, report: Report) -> Iterator[str]:
    for group, spec, finding in pairs(reading, report):
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
def _summary_agrees(reading: Reading, report: Report) -> Iterator[str]:
    for group in groups(reading)[:1]:
        if [key(each) for each in group.values(concepts.SUMMARY) if each] != [key(summary_code(report))]:
            yield "the summary is not that of the findings"


@_rule("priority-agrees")
def _priority_agrees(reading: Reading, report: Report) -> Iterator[str]:
    wanted = [key(priority_code(report))] if report.is_analysed else []
    for group in groups(reading)[:1]:
        if [key(each) for each in group.values(concepts.PRIORITY) if each] != wanted:
            yield "the priority is not the answer's flag"


@_rule("reason-agrees")
def _reason_agrees(reading: Reading, report: Report) -> Iterator[str]:
    wanted = [] if report.is_analysed else [key(reason_code(report))]
    for group in groups(reading)[:1]:
        if [key(each) for each in group.values(concepts.NOT_ANALYSED) if each] != wanted:
            yield "the reason is not the answer's"
