"""The door for structured reports: one model's answer for one study, as a whole Part 10 file.

    report ── shape_of ──▶ Shape ── document(shape, PlaceholderRenderer) ──▶ Template, once
       └───── values_of ──▶ {slot: text} ───────────────────────── Template.fill ──▶ bytes ── verify

Building a document with highdicom takes 30 to 200 ms; filling and verifying one takes 1 to 2. A test builds each
document with the study's values as well, and finds the same bytes. Nothing here reads a clock or draws a UID.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pydicom import Dataset

from imaging.domain.artefacts import REPORT, Artefact
from imaging.memory import importing
from imaging.results.expected import SR_CLASS
from imaging.results.fallback import COMPREHENSIVE_SR, comprehensive
from imaging.results.filled import verify_filled
from imaging.results.kinds import Fallback, Kind
from imaging.results.report import Fault, Report, UnsoundReport
from imaging.results.shape import Shape, shape_of
from imaging.results.template import PlaceholderRenderer, Renderer, Template, TemplateMismatch
from imaging.results.uids import series_of, uid_of
from imaging.results.values import values_of
from imaging.results.verify import verify

TEMPLATES_KEPT: Final = 64
"""A template is about 40 KB. A model needs one per kind of outcome, number of images and pattern of measurements."""


def write_sr(report: Report) -> bytes:
    """The SR of this answer: a whole Part 10 file, built and verified. The same report gives the same bytes.

    The first document of a shape passes all rules; later ones, which differ from it in their filled places only,
    those that filling can break. Raises CannotReport (the input's trouble) or UnsoundReport (ours).
    """
    template = _template(shape_of(report))
    data = template.fill(values_of(report))
    if template.is_proven:
        try:
            faults = verify_filled(template.read(data), report)
        except TemplateMismatch as difference:
            faults = [Fault("template", str(difference))]
    else:
        faults = verify(data, report)
    if faults:
        raise UnsoundReport(faults)
    template.is_proven = True
    return data


@lru_cache(maxsize=TEMPLATES_KEPT)
def _template(shape: Shape) -> Template:
    renderer = PlaceholderRenderer()
    return Template.cut(_builder()(shape, renderer), renderer)


@lru_cache(1)
def _builder() -> Callable[[Shape, Renderer], Dataset]:
    """With it comes highdicom, which who only sends reports has no need of."""
    with importing():
        from imaging.results.document import document
    return document


def _built(report: Report) -> Artefact:
    return Artefact(REPORT, SR_CLASS, uid_of(report, REPORT), series_of(report, SR_CLASS), write_sr(report))


SR: Final = Kind(
    REPORT,
    SR_CLASS,
    _built,
    (Fallback(COMPREHENSIVE_SR, "as Comprehensive SR: the peer does not accept Comprehensive 3D SR", comprehensive),),
)
