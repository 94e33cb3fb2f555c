"""The cheap half of the verifier: what was filled into a document that has passed the whole one."""

import struct
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from imaging.domain.artefacts import REPORT
from imaging.domain.findings import Finding
from imaging.domain.uids import is_usable
from imaging.results import concepts
from imaging.results.expected import (
    AS_CHOSEN,
    FORMS,
    LIMITS,
    SR_CLASS,
    has_controls,
    in_part_sentence,
    instance_number,
    is_close,
    is_date,
    is_number,
    key,
    may_stand,
    moments,
    parameters,
    places_sentence,
    priority_code,
    reason_code,
    summary_code,
    to_float,
)
from imaging.results.identity import LOST, identity, readable
from imaging.results.report import Fault, Report, seen_on
from imaging.results.uids import series_of, tracking_of, uid_of

Value = str | float | tuple[float, ...]
"""What a place must hold: this text, or a number or coordinates within what writing them in few digits changes."""


def verify_filled(places: Iterable[tuple[str, bytes, bytes]], report: Report) -> list[Fault]:
    """Each rule that a filled value breaks. `places`: (place, VR, raw value), as `Template.read` gives them.

    The same document passed `verify` with other values, and differs from this one nowhere else. So this asks of each
    value whether it fits its VR, whether it is the one that this report puts there, and whether all the report's
    values came. Well under a millisecond.
    """
    faults: list[Fault] = []
    expected = _expected(report)
    found: dict[str, str] = {}
    for slot, vr, raw in places:
        value = _decoded(vr, raw)
        if value is None or not _fits(vr.decode(), value, report):
            faults.append(Fault("charset" if vr != b"UI" else "uids", f"{slot} does not fit its VR"))
            continue
        if found.setdefault(slot, value) != value:
            faults.append(Fault("template", f"{slot} has two values"))
        rule, wanted = expected.get(slot, ("template", ""))
        if not _is_same(value, wanted):
            faults.append(Fault(rule, f"{slot} is not the report's"))
    faults += [Fault("template", f"{slot} was not filled") for slot in expected.keys() - found.keys()]
    return faults + list(_filled_labels(found, report))


def _filled_labels(found: Mapping[str, str], report: Report) -> Iterator[Fault]:
    """`finding-of-card`, and `present-iff-over` and `threshold-of-card` on the words as they were written."""
    specs = {key(each.code): each for each in report.card.findings}
    if report.is_analysed and sorted(specs) != sorted(key(each.code) for each in report.findings):
        yield Fault("finding-of-card", "the findings are not those of the card, each once")
    for index, finding in enumerate(report.findings):
        spec = specs.get(key(finding.code))
        probability, threshold = (found.get(f"finding.{index}.{each}") for each in ("probability", "threshold"))
        if probability is not None and not 0 <= to_float(probability) <= 1:
            yield Fault("units", f"finding {index}: a probability beyond 0 and 1")
        if spec is None or threshold is None:
            continue
        if not is_close(to_float(threshold), spec.threshold, AS_CHOSEN):
            yield Fault("threshold-of-card", f"finding {index}")
        if spec.is_by_probability and probability is not None:
            is_over = to_float(probability) >= to_float(threshold)
            over = concepts.of_what_was_seen(is_over, report.outcome.is_in_part)
            if found.get(f"finding.{index}.result.value") != concepts.verdict(over).value:
                yield Fault("present-iff-over", f"finding {index}")


def _expected(report: Report) -> dict[str, tuple[str, Value]]:
    """What this report puts into each place, and the rule that a difference breaks."""
    study_identity = identity(report.header)
    day, time, moment = moments(report)
    wanted: dict[str, tuple[str, Value]] = {
        f"study.{name}": ("same-patient" if "patient" in name else "same-study", value)
        for name, value in vars(study_identity).items()
    }
    wanted |= {
        "report.uid": ("uid-derived", uid_of(report, REPORT)),
        "report.series": ("uid-derived", series_of(report, SR_CLASS)),
        "report.number": ("uid-derived", instance_number(report)),
        "report.date": ("no-real-clock", day),
        "report.time": ("no-real-clock", time),
        "report.datetime": ("no-real-clock", moment),
        "triage.tracking": ("tracking-stable", tracking_of(report, concepts.TRIAGE.value, "study")),
    }
    verdicts = (
        (("summary", "summary-agrees", summary_code(report)), ("priority", "priority-agrees", priority_code(report)))
        if report.is_analysed
        else (("reason", "reason-agrees", reason_code(report)),)
    )
    for slot, rule, code in verdicts:
        wanted |= {f"{slot}.value": (rule, code.value), f"{slot}.meaning": (rule, code.meaning)}
    series: set[str] = set()
    for index, image in enumerate(report.images):
        wanted[f"image.{index}"] = ("evidence-of-report", image.sop_instance_uid)
        wanted[f"image.{index}.class"] = ("evidence-of-report", image.sop_class_uid)
        if image.series_instance_uid not in series:
            wanted[f"image.{index}.series"] = ("evidence-of-report", image.series_instance_uid)
        series.add(image.series_instance_uid)
    facts = parameters(report)
    for index, name in enumerate(sorted(facts)):
        wanted[f"fact.{index}"] = ("parameters-of-answer", readable(f"{name}={facts[name]}"))
    if in_part_sentence(report):
        wanted["in_part"] = ("in-part", in_part_sentence(report))
    if report.predecessor:
        wanted |= {f"predecessor.{name}": ("predecessor", value) for name, value in vars(report.predecessor).items()}
    for index, finding in enumerate(report.findings):
        wanted |= {f"finding.{index}.{name}": texts for name, texts in _expected_of(finding, report)}
    return wanted


def _expected_of(finding: Finding, report: Report) -> Iterator[tuple[str, tuple[str, Value]]]:
    if not finding.is_measured_only:
        verdict = concepts.verdict(finding.present)
        yield "result.value", ("present-iff-over", verdict.value)
        yield "result.meaning", ("present-iff-over", verdict.meaning)
    yield "tracking", ("tracking-stable", tracking_of(report, finding.code.value))
    if finding.probability is not None:
        yield "probability", ("values-of-answer", float(finding.probability))
    if finding.threshold is not None:
        yield "threshold", ("values-of-answer", float(finding.threshold))
    if finding.score is not None:
        yield "score", ("values-of-answer", f"score={float(finding.score):.6g}")
    for index, each in enumerate(finding.measurements):
        yield f"measurement.{index}", ("values-of-answer", float(each.value))
        for number, uid in enumerate(each.sop_instance_uids):
            own = next(image for image in report.images if image.sop_instance_uid == uid)
            yield f"measurement.{index}.source.{number}", ("evidence-complete", uid)
            yield f"measurement.{index}.source.{number}.class", ("evidence-complete", own.sop_class_uid)
    if finding.found:
        yield "places", ("places-of-answer", places_sentence(finding, report))
    if finding.probability is not None or not all(each.sop_instance_uids for each in finding.measurements):
        for index, source in enumerate(seen_on(finding, report)):
            yield f"source.{index}", ("evidence-complete", source.sop_instance_uid)
            yield f"source.{index}.class", ("evidence-complete", source.sop_class_uid)
    frame = report.header.frame_of_reference_uid
    if finding.present and finding.centre_mm and is_usable(frame):
        yield "frame", ("regions", frame)
        yield "point", ("regions", tuple(map(float, finding.centre_mm)))


def _decoded(vr: bytes, raw: bytes) -> str | None:
    """A raw value without its padding; coordinates joined by backslashes; None where it cannot be decoded."""
    if vr == b"FL":
        return "\\".join(map(str, struct.unpack("<3f", raw))) if len(raw) == 12 else None
    try:
        return raw.decode().rstrip("\0" if vr == b"UI" else " ")
    except UnicodeDecodeError:
        return None


def _fits(vr: str, value: str, report: Report) -> bool:
    """Whether a value may stand in an element of this VR."""
    if not value or vr == "FL":
        return True
    if vr == "UI":
        return may_stand(value, report)
    if vr in FORMS:
        return is_date(vr, value)
    if vr in ("DS", "IS"):
        return len(value) <= LIMITS[vr] and is_number(value)
    if LOST in value or has_controls(value) or not unicodedata.is_normalized("NFC", value):
        return False
    if vr == "UT":
        return True
    groups = value.split("=") if vr == "PN" else [value]
    return "\\" not in value and all(len(each) <= LIMITS[vr] for each in groups)


def _is_same(value: str, wanted: Value) -> bool:
    if isinstance(wanted, str):
        return value == wanted
    numbers = [to_float(each) for each in value.split("\\")]
    aims = wanted if isinstance(wanted, tuple) else (wanted,)
    return len(numbers) == len(aims) and all(map(is_close, numbers, aims))
