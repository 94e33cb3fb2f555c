"""The UIDs of a report's objects: an instance's from all that it is made from, so that none has two contents."""

from imaging.domain.uids import instance_uid, series_uid, tracking_uid
from imaging.results.report import Report


def uid_of(report: Report, kind: str) -> str:
    """SOP Instance UID of the report's object of this kind ("sr")."""
    return instance_uid(report.digest, kind)


def series_of(report: Report, sop_class_uid: str) -> str:
    """Series Instance UID of the report's objects of a SOP class."""
    card = report.card
    return series_uid(report.header.study_instance_uid, card.id, card.version, sop_class_uid, report.installation)


def tracking_of(report: Report, code_value: str, place: str = "") -> str:
    """Tracking UID of what the report says of a code, and of a place where it has one."""
    return tracking_uid(report.header.study_instance_uid, report.card.id, code_value, place, report.installation)
