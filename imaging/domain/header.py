"""The facts of an instance's header that routing, settling, fitting and reporting need.

They are read once, when the instance is received, and kept in the ledger, so that no later step opens the file for
them. Text is decoded by the source's own Specific Character Set and normalised to NFC; an absent or unreadable value
is empty or None, and what was wrong with it stands in `faults`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from imaging.domain.free_text import NOT_UNDERSTOOD, OLDEST, Readings, age_years, days, plain_date
from imaging.domain.patient import Person, Words, is_no_identifier, is_no_name, is_one_patient


@dataclass(frozen=True)
class PatientId:
    """An identifier with its issuer (PS3.3 C.7.1.1); an empty value identifies nobody."""

    value: str
    issuer: str = ""

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True)
class Header:
    """One instance's header facts. Names are the standard's keywords; lengths in mm, times in ms, frame LPS.

    `sender`: the AE title that sent it, as the association or the file meta information says; empty where unknown.
    `is_our_device`: its Manufacturer, Manufacturer Model Name and Device Serial Number are those of what we make.
    `not_given`: which of `patient_id` and `patient_name` are placeholders in the site's own words.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    patient_age: str = ""
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    accession_number: str = ""
    referring_physician_name: str = ""
    institution_name: str = ""
    study_description: str = ""
    series_description: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    acquisition_number: int | None = None
    image_type: tuple[str, ...] = ()
    body_part_examined: str = ""
    view_position: str = ""
    laterality: str = ""
    patient_orientation: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int = 1
    pixel_spacing: tuple[float, float] | None = None
    imager_pixel_spacing: tuple[float, float] | None = None
    image_position: tuple[float, float, float] | None = None
    image_orientation: tuple[float, float, float, float, float, float] | None = None
    frame_of_reference_uid: str = ""
    position_decimals: int = 6
    series_date: str = ""
    acquisition_date: str = ""
    content_date: str = ""
    acquisition_time: str = ""
    temporal_position: int | None = None
    images_in_acquisition: int | None = None
    images_in_series: int | None = None
    images_in_study: int | None = None
    has_rescale: bool = False
    contrast_bolus_agent: str = ""
    contrast_agent_code: str = ""
    contrast_volume: float | None = None
    contrast_administered: str = ""
    convolution_kernel: str = ""
    scanning_sequence: tuple[str, ...] = ()
    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    quality_control_image: str = ""
    lossy_image_compression: str = ""
    view_code: str = ""
    region_code: str = ""
    presentation_intent_type: str = ""
    volume_technique: str = ""
    diffusion_b_value: float | None = None
    frames_differ: tuple[str, ...] = ()
    instance_creation_date: str = ""
    instance_creation_time: str = ""
    has_pixels: bool = False
    sender: str = ""
    is_our_device: bool = False
    not_given: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def patient(self) -> PatientId:
        """The identifier that it gives; a placeholder is none."""
        given = self.person.given
        return PatientId(given.identifier, given.issuer)

    @property
    def person(self) -> Person:
        """Whom it names, without what the site takes for a placeholder."""
        return Person(
            "" if "patient_id" in self.not_given else self.patient_id,
            self.issuer_of_patient_id,
            "" if "patient_name" in self.not_given else self.patient_name,
            self.patient_birth_date,
            self.patient_sex,
        )

    def judged_by(self, words: Words) -> Self:
        """The same, with the site's own placeholders known as such."""
        if not words:
            return self
        data = {
            "patient_id": bool(self.patient_id) and is_no_identifier(self.patient_id, words),
            "patient_name": bool(self.patient_name) and is_no_name(self.patient_name, words),
        }
        return replace(self, not_given=tuple(name for name, is_so in data.items() if is_so))

    def speaking_for(self, person: Person) -> Self:
        """The same, with the patient as he is shown; where nothing is known of him, what is written stays."""
        facts = {
            "patient_id": person.identifier,
            "issuer_of_patient_id": person.issuer,
            "patient_name": person.name,
            "patient_birth_date": person.birth_date,
            "patient_sex": person.sex,
        }
        data: dict[str, Any] = {name: value for name, value in facts.items() if value}
        return replace(self, not_given=tuple(each for each in self.not_given if each not in data), **data)

    @property
    def image_class_uid(self) -> str:
        """The SOP Class as models' cards mean it.

        Senders mix up the two UIDs of an X-Ray image (one is the other's root). Where the object itself says by its
        Presentation Intent Type (PS3.3 C.8.11.1) that it is For Presentation, it is taken so.
        """
        if self.presentation_intent_type == "FOR PRESENTATION":
            return _FOR_PRESENTATION.get(self.sop_class_uid, self.sop_class_uid)
        return self.sop_class_uid

    def to_json(self) -> dict[str, Any]:
        """Only what differs from its default, to keep the ledger small."""
        return {key: value for key, value in vars(self).items() if value != _DEFAULTS.get(key)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The header that `to_json` wrote."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)


def speaking(first: Header, later: Header, person: Person) -> Header:
    """What a study is shown by after one more object: its patient as he is named by now, and else an image's facts.

    `first`: what it was shown by until then.
    """
    chosen = (later if later.has_pixels and not first.has_pixels else first).speaking_for(person)
    # A stated age was reckoned from the birth date that it stands beside.
    is_other_age = bool(first.patient_birth_date) and person.birth_date != first.patient_birth_date
    return replace(chosen, patient_age=later.patient_age) if is_other_age else chosen


def same_patient(headers: Iterable[Header]) -> bool:
    """Whether no two of these name different patients (law 7), as `domain.patient` judges."""
    return is_one_patient(each.person for each in headers)


_FOR_PRESENTATION: Mapping[str, str] = {
    f"1.2.840.10008.5.1.4.1.1.1.{kind}.1": f"1.2.840.10008.5.1.4.1.1.1.{kind}" for kind in (1, 2, 3)
}
"""DX, MG, IO: For Processing to For Presentation (PS3.6 A)."""

_DEFAULTS: Mapping[str, Any] = {each.name: each.default for each in fields(Header)}


def age_at(header: Header) -> Readings:
    """The patient's age in years at the examination, in each of its readings: Patient's Age, else from the dates.

    Empty where neither is given; NaN, for which no bound holds, where only values are that cannot be understood.
    """
    stated, dated = age_years(header.patient_age), _age_by_dates(header)
    if len(stated) == 1 and stated is not NOT_UNDERSTOOD:
        return stated
    if dated and dated is not NOT_UNDERSTOOD:
        return dated
    return stated or dated


def _age_by_dates(header: Header) -> Readings:
    """The age between birth date and the first date that the examination has.

    A birth date that is written and cannot be measured by is not understood, rather than absent: the age is known to
    somebody, and may be a child's.
    """
    born = days(header.patient_birth_date)
    if not born or born is NOT_UNDERSTOOD:
        return born
    dates = (header.study_date, header.series_date, header.acquisition_date, header.content_date)
    taken = next((each[0] for date in dates if len(each := days(date)) == 1 and each is not NOT_UNDERSTOOD), None)
    if taken is None or taken < born[0]:
        return NOT_UNDERSTOOD
    ages = ((taken - min(each, taken)) / 365.25 for each in born)
    return tuple(age for age in ages if age <= OLDEST)


def age_text(header: Header) -> str:
    """The age to be shown, as a DICOM Age String where there is one: Patient's Age, else by the calendar.

    Months below two years, days below two months. What is no Age String is given as it came where no dates help.
    """
    if re.fullmatch("[0-9]{3}[DWMY]", header.patient_age):
        return header.patient_age
    begun, ended = plain_date(header.patient_birth_date), plain_date(header.study_date)
    if not begun or not ended or ended < begun:
        return header.patient_age
    months = _months(ended) - _months(begun) - (ended[6:8] < begun[6:8])
    if months >= 24:
        return f"{months // 12:03d}Y"
    return f"{months:03d}M" if months >= 2 else f"{int(days(ended)[0] - days(begun)[0]):03d}D"


def _months(date: str) -> int:
    """The month of a DA value, counted from year 0."""
    return int(date[:4]) * 12 + int(date[4:6])
