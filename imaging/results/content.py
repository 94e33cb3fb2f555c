"""Content items (PS3.3 C.17.3) in one line each, over highdicom's value types."""

from collections.abc import Sequence
from typing import Literal

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    Scoord3DContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom import Dataset

from imaging.domain.codes import Code
from imaging.results.concepts import unit
from imaging.results.template import Point

Relation = Literal[
    "CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS PROPERTIES", "INFERRED FROM"
]


def concept(code: Code) -> CodedConcept:
    """A code as highdicom takes it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def code_item(code: Code) -> Dataset:
    """A Code Sequence item outside the content tree (PS3.3 8.8); 99IMAGING and the others we use are short."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def container(
    name: Code, children: Sequence[ContentItem], relation: Relation | None = "CONTAINS", template: str | None = None
) -> ContentItem:
    """A CONTAINER item with its children."""
    item = ContainerContentItem(
        concept(name), is_content_continuous=False, template_id=template, relationship_type=relation
    )
    item.ContentSequence = ContentSequence(children)
    return item


def coded(name: Code, value: Code, relation: Relation = "CONTAINS") -> ContentItem:
    """A CODE item."""
    return CodeContentItem(concept(name), concept(value), relation)


def text(name: Code, value: str, relation: Relation = "HAS CONCEPT MOD") -> ContentItem:
    """A TEXT item."""
    return TextContentItem(concept(name), value, relation)


def uid_ref(name: Code, value: str, relation: Relation = "HAS OBS CONTEXT") -> ContentItem:
    """A UIDREF item."""
    return UIDRefContentItem(concept(name), value, relation)


def number(name: Code, value: str, ucum: str, sources: Sequence[ContentItem] = ()) -> ContentItem:
    """`value` is the decimal string that is written; highdicom would add it once more as Floating Point Value."""
    item = NumContentItem(concept(name), 0.0, concept(unit(ucum)), relationship_type="CONTAINS")
    measured = item.MeasuredValueSequence[0]
    measured.NumericValue = value
    if "FloatingPointValue" in measured:
        del measured.FloatingPointValue
    if sources:
        item.ContentSequence = ContentSequence(sources)
    return item


def image(name: Code, sop_class_uid: str, sop_instance_uid: str, relation: Relation = "CONTAINS") -> ContentItem:
    """An IMAGE item."""
    return ImageContentItem(concept(name), sop_class_uid, sop_instance_uid, relationship_type=relation)


def point(name: Code, where: Point, frame_of_reference_uid: str) -> ContentItem:
    """`where`: x, y, z in mm, LPS."""
    return Scoord3DContentItem(concept(name), "POINT", where, frame_of_reference_uid, relationship_type="CONTAINS")
