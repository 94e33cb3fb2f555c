"""What a builder of result objects needs to know, and how it says that there can be none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

from imaging import __version__
from imaging.domain.card import Card
from imaging.domain.findings import Answer, Finding, ImageRef, State
from imaging.domain.header import Header
from imaging.domain.languages import Language
from imaging.domain.uids import is_usable


class CannotReport(Exception):
    """The input's trouble: no object may be built of it, since it would not say for certain whose it is.

    Never retried. `why` has no patient data.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@dataclass(frozen=True)
class Fault:
    """A rule of `imaging.results.verify` that an object breaks, and where. `why` has no patient data."""

    rule: str
    why: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.why}"


class UnsoundReport(Exception):
    """Our trouble: what we built must not be sent."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


@dataclass(frozen=True)
class Report:
    """One model's answer for one study.

    `header` is that of one source image: patient and study are its. `result` is the number of this model's answer
    for this study, or the `--at` time where there is no ledger. `at` is aware and goes into every date and time that is
    ours. `installation` is that of the ledger, so that no two nodes share a UID; empty where there is none.
    `predecessor` is the model's last answer for the study, which this one replaces (PS3.3 C.17.2.1). `language` is that
    of the words that are ours; coded meanings stay English, as PS3.16 writes them.
    """

    header: Header
    card: Card
    outcome: Answer
    result: str
    at: datetime
    predecessor: ImageRef | None = None
    language: Language = "en"
    installation: str = ""

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("Report.at has no time zone; give an aware datetime")
        if not self.result:
            raise ValueError("Report.result is empty; the UIDs of the report's objects are derived from it")

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of all that the report's objects are made from: of the answer all but timings, `sr` and
        provenance, of which the facts have what reports state.

        Their UIDs are derived from it. A field that is added to an answer or a header takes part by itself, and keys
        are not sorted: the order of facts and counts is content as well.
        """
        made_from = {
            "software": __version__,
            "installation": self.installation,
            "model": [self.card.id, self.card.version, self.card.digest],
            "result": self.result,
            "at": self.at.isoformat(),
            "language": self.language,
            "predecessor": self.predecessor,
            "header": self.header,
            "answer": replace(self.outcome, timings_ms={}, provenance={}, sr=None),
        }
        return sha256(json.dumps(made_from, default=_plain).encode()).hexdigest()

    @property
    def is_analysed(self) -> bool:
        """Whether the model has answered."""
        return self.outcome.state is State.ANALYSED

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those that are reported: none where the study was not analysed, so that nothing looks negative."""
        return self.outcome.findings if self.is_analysed else ()

    @cached_property
    def images(self) -> tuple[ImageRef, ...]:
        """Those that the report names, in its image library and as evidence, never all slices of a volume.

        A film's report names each film; a volume's, the slices that its findings name; either, at least the image that
        the header is of, so that a viewer can show what was meant. Raises CannotReport where one has no usable UID.
        """
        header = self.header
        known = {each.sop_instance_uid: each for each in self.outcome.images}
        if not self.card.names_each_image:
            uids = dict.fromkeys(uid for finding in self.findings for uid in finding.sop_instance_uids)
            named = [known.get(uid, ImageRef(header.sop_class_uid, uid, header.series_instance_uid)) for uid in uids]
        else:
            named = list(known.values())
        named = named or [ImageRef(header.sop_class_uid, header.sop_instance_uid, header.series_instance_uid)]
        for image in named:
            if not all(map(is_usable, (image.sop_class_uid, image.sop_instance_uid, image.series_instance_uid))):
                raise CannotReport("an image that the report names has no usable SOP Class, SOP Instance or Series UID")
        return tuple(named)


def _plain(value: Any) -> Any:
    """What JSON has no form for: data classes, mappings that are no dict, numpy's numbers."""
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value.item()


def seen_on(finding: Finding, report: Report) -> list[ImageRef]:
    """Which of the named images a finding's numbers were read from; empty: the whole volume.

    What is on none of the films was looked for on each.
    """
    named = {each.sop_instance_uid: each for each in report.images}
    seen = [named[uid] for uid in finding.sop_instance_uids if uid in named]
    return seen if seen or not report.card.names_each_image else list(named.values())
