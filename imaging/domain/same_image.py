"""When two objects under one SOP Instance UID are the same image (docs/architecture.md, "Receiving")."""

from typing import Any

from imaging.domain.header import Header, same_patient


def is_same_image(one: Header, other: Header) -> bool:
    """Whether two objects under one UID differ in encoding alone, as a PACS that re-encodes makes them."""
    return _identity(one) == _identity(other) and same_patient([one, other])


def _identity(header: Header) -> tuple[Any, ...]:
    return (
        header.patient_id,
        header.study_instance_uid,
        header.series_instance_uid,
        header.sop_class_uid,
        header.rows,
        header.columns,
        header.number_of_frames,
        header.pixel_spacing,
        header.imager_pixel_spacing,
        header.image_position,
        header.image_orientation,
    )
