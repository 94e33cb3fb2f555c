"""What decides which elements a report's document has: reports of one shape differ in values only."""

from collections.abc import Iterator
from dataclasses import dataclass

from imaging.domain.card import Card
from imaging.domain.codes import Code
from imaging.domain.findings import Finding, ImageRef
from imaging.domain.languages import Language
from imaging.domain.uids import is_usable
from imaging.results import concepts
from imaging.results.expected import SAID_OF_MODEL
from imaging.results.identity import line, readable
from imaging.results.report import Report, seen_on


@dataclass(frozen=True)
class Algorithm:
    """What a document says of its model, cut to its VRs."""

    id: str
    name: str
    version: str
    maker: str
    device_uid: str
    status: str
    digest: str
    weights_digest: str

    @classmethod
    def of(cls, card: Card) -> "Algorithm":
        """What a card tells of its model."""
        return cls(
            line(card.id), line(card.name), line(card.version), line(card.maker), card.device_uid, card.status,
            card.digest, card.engine.digest,
        )  # fmt: skip

    @property
    def serial_number(self) -> str:
        """The card's digest as far as a serial number, which people compare, has room for it."""
        return self.digest[:16]

    @property
    def digests(self) -> tuple[str, str]:
        """As Algorithm Parameters."""
        return f"card_sha256={self.digest}", f"weights_sha256={self.weights_digest}"


@dataclass(frozen=True)
class GroupShape:
    """What a finding's group holds. `sources`: on how many images its numbers were seen. `notices`: what limits it."""

    code: Code
    site: Code | None
    has_probability: bool
    has_threshold: bool
    has_score: bool
    measurements: tuple[tuple[Code, str], ...]
    sources: int
    is_located: bool
    notices: tuple[Code, ...]


@dataclass(frozen=True)
class Shape:
    """All that decides which elements a document has. `images`: the number of each one's series."""

    algorithm: Algorithm
    is_analysed: bool
    is_in_part: bool
    language: Language
    modality: str
    images: tuple[int, ...]
    groups: tuple[GroupShape, ...]
    facts: int
    has_predecessor: bool


def shape_of(report: Report) -> Shape:
    """The shape of a report's document."""
    images = report.images
    series = list(dict.fromkeys(each.series_instance_uid for each in images))
    return Shape(
        algorithm=Algorithm.of(report.card),
        is_analysed=report.is_analysed,
        is_in_part=report.outcome.is_in_part,
        language=report.language,
        modality=report.header.modality,
        images=tuple(series.index(each.series_instance_uid) for each in images),
        groups=tuple(_group_shape(each, report) for each in report.findings),
        facts=len(facts(report)),
        has_predecessor=report.predecessor is not None,
    )


def _group_shape(finding: Finding, report: Report) -> GroupShape:
    return GroupShape(
        code=finding.code,
        site=finding.site or next((each.site for each in report.card.findings if each.code == finding.code), None),
        has_probability=finding.probability is not None,
        has_threshold=finding.threshold is not None,
        has_score=finding.score is not None,
        measurements=tuple((each.code, each.unit) for each in finding.measurements),
        sources=len(sources(finding, report)),
        is_located=is_located(finding, report),
        notices=tuple(_notices(finding, report)),
    )


def _notices(finding: Finding, report: Report) -> Iterator[Code]:
    if finding.is_near_chance:
        yield concepts.NEAR_CHANCE[report.language]
    if report.outcome.unproven:
        yield concepts.UNPROVEN[report.language]


def is_located(finding: Finding, report: Report) -> bool:
    """Whether a point can be stated: coordinates mean nothing without a Frame of Reference."""
    return bool(finding.present and finding.centre_mm and is_usable(report.header.frame_of_reference_uid))


def sources(finding: Finding, report: Report) -> list[ImageRef]:
    """The images that a finding's numbers are said to be inferred from; none where it has no number."""
    return seen_on(finding, report) if finding.measurements or finding.probability is not None else []


def facts(report: Report) -> list[str]:
    """Algorithm Parameters of the study (TID 4019), each "key=value", sorted by key; the images' counts are of each."""
    answer = report.outcome
    facts = {name: value for name, value in answer.facts.items() if name not in SAID_OF_MODEL}
    facts |= {**answer.coverage.facts, "images_in_conflict": str(answer.conflicts)}
    if not report.is_analysed:
        facts["reason"] = answer.why or answer.state.value
    return [readable(f"{key}={value}") for key, value in sorted(facts.items())]
