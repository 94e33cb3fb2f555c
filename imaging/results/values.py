"""What stands in each place of a report's document: {place: text}. Numbers become text here, and only here."""

import math
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Final

from imaging.domain.artefacts import REPORT
from imaging.domain.codes import Code
from imaging.domain.findings import Finding, State, TriageClass
from imaging.results import concepts
from imaging.results.expected import SR_CLASS, instance_number
from imaging.results.identity import identity, readable
from imaging.results.report import Fault, Report, UnsoundReport
from imaging.results.sentences import in_part, places
from imaging.results.shape import facts, is_located, own_sources, sources
from imaging.results.uids import series_of, tracking_of, uid_of

MAX_DIGITS: Final = 10
"""With sign, point and exponent they stay within the 16 characters of a DS."""


def values_of(report: Report) -> dict[str, str]:
    """What stands in each place of the document. Raises CannotReport, or UnsoundReport for a number that is none."""
    study_identity, outcome, at = identity(report.header), report.outcome, report.at
    values = {f"study.{keyword}": value for keyword, value in vars(study_identity).items()}
    values |= {
        "report.uid": uid_of(report, REPORT),
        "report.series": series_of(report, SR_CLASS),
        "report.number": instance_number(report),
        "report.date": at.strftime("%Y%m%d"),
        "report.time": at.strftime("%H%M%S.%f"),
        "report.datetime": at.strftime("%Y%m%d%H%M%S.%f%z")[:26],
        "triage.tracking": tracking_of(report, concepts.TRIAGE.value, "study"),
    }
    if report.predecessor:
        values |= {f"predecessor.{keyword}": value for keyword, value in vars(report.predecessor).items()}
    for index, each in enumerate(report.images):
        values[f"image.{index}"] = each.sop_instance_uid
        values[f"image.{index}.class"] = each.sop_class_uid
        values[f"image.{index}.series"] = each.series_instance_uid
    values |= {f"fact.{index}": each for index, each in enumerate(facts(report))}
    if outcome.is_in_part:
        values["in_part"] = in_part(outcome.coverage.missing, outcome.coverage.used, outcome.conflicts, report.language)
    if report.is_analysed:
        values |= _code_values("summary", summary(report))
        values |= _code_values("priority", concepts.PRIORITIES[outcome.triage or TriageClass.NONE])
    else:
        values |= _code_values("reason", reason_code(report))
    for index, finding in enumerate(report.findings):
        values |= {f"finding.{index}.{name}": value for name, value in _finding_values(finding, report)}
    return values


def _finding_values(finding: Finding, report: Report) -> Iterator[tuple[str, str]]:
    yield "tracking", tracking_of(report, finding.code.value)
    if not finding.is_measured_only:
        yield from _code_values("result", concepts.verdict(finding.present)).items()
    if finding.threshold is not None:
        yield "threshold", decimal(finding.threshold, MAX_DIGITS)
    if finding.probability is not None:
        yield "probability", place_of_values(finding.probability, finding.threshold)
    if finding.score is not None:
        yield "score", f"score={decimal(finding.score)}"
    for index, each in enumerate(finding.measurements):
        yield f"measurement.{index}", decimal(each.value)
        for number, own in enumerate(own_sources(each, report)):
            yield f"measurement.{index}.source.{number}", own.sop_instance_uid
            yield f"measurement.{index}.source.{number}.class", own.sop_class_uid
    if finding.found:
        yield "places", readable(places(finding, report.language))
    for index, source in enumerate(sources(finding, report)):
        yield f"source.{index}", source.sop_instance_uid
        yield f"source.{index}.class", source.sop_class_uid
    if is_located(finding, report) and finding.centre_mm:
        yield "frame", report.header.frame_of_reference_uid
        yield "point", "\\".join(decimal(each) for each in finding.centre_mm)


def _code_values(slot: str, code: Code) -> dict[str, str]:
    return {f"{slot}.value": code.value, f"{slot}.meaning": code.meaning}


def summary(report: Report) -> Code:
    """CID 6047: a document of one model, which succeeded or did not."""
    if not report.is_analysed:
        return concepts.NONE_SUCCEEDED
    found = any(each.present for each in report.findings)
    if report.outcome.is_in_part:
        return concepts.PART_WITH_FINDINGS if found else concepts.PART_WITHOUT_FINDINGS
    return concepts.ALL_WITH_FINDINGS if found else concepts.ALL_WITHOUT_FINDINGS


def reason_code(report: Report) -> Code:
    """Why there are no findings: a code of the closed list, or that processing failed."""
    if report.outcome.state is State.FAILED:
        return concepts.FAILED
    if report.outcome.reason is None:
        raise UnsoundReport([Fault("reason-agrees", "not analysed, without a reason")])
    return concepts.REASON_CODES[report.outcome.reason.code]


def decimal(value: float, digits: int = 6) -> str:
    """A DS: one decimal string, the same on each machine. Raises UnsoundReport for what is no number."""
    if not math.isfinite(value):
        raise UnsoundReport([Fault("units", f"a value of a finding is {value}, which is no number")])
    return f"{float(value):.{digits}g}"


def place_of_values(probability: float, threshold: float | None) -> str:
    """A probability in four digits, or in as many as it takes to stay on its side of the threshold as written."""
    if threshold is None:
        return decimal(probability, 4)
    written, is_over = decimal(threshold, MAX_DIGITS), probability >= threshold
    limit = float(written)
    for digits in (4, 6, MAX_DIGITS):
        text = decimal(probability, digits)
        if (float(text) >= limit) == is_over:
            return text
    # It is beside the threshold by less than the last digit that is written.
    return written if is_over else decimal(float(Decimal(written).next_minus(Context(prec=MAX_DIGITS))), MAX_DIGITS)
