"""Whose a study is: whom its objects name, kept beside it, so that each object is compared with all that are there."""

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from imaging.domain.header import Header, speaking
from imaging.domain.patient import Person, is_one_patient, newest
from imaging.domain.worklist import search_text_of
from imaging.ledger import tables

_PATIENT: Final = select(tables.patient.c.id).where(
    tables.patient.c.value == bindparam("value"), tables.patient.c.issuer == bindparam("issuer")
)
_ADD_PATIENT: Final = insert(tables.patient)


def named(study: Any) -> list[Person]:
    """Whom the objects of a study name, each once."""
    return [Person(*each) for each in study.persons]


def admits(connection: Connection, study: Any, header: Header, association_id: int | None, place: int | None) -> bool:
    """Whether one more object is of the study's patient: it contradicts none, and may be told to be his.

    Who has neither identifier nor name is of a named one's study only where he came over the same association. `place`:
    the row number of the object whose place it would take, or None.
    """
    new, known = header.person, named(study)
    if new in known and new.is_named:
        return True
    if not is_one_patient([*known, new]):
        return False
    has_named = any(each.is_named for each in known)
    if not known or has_named == new.is_named:
        return True
    if has_named:
        return _has_named(connection, study.id, association_id)
    return _association_ids(connection, study.id, place) <= {association_id}


def is_known(study: Any, header: Header) -> bool:
    """Whether an object names whom its study names already, and changes nothing in how the study is shown."""
    new = header.person
    return new.is_named and new in named(study) and (study.header.get("has_pixels", False) or not header.has_pixels)


def is_same(first: Header, header: Header) -> bool:
    """Whether an object names whom the first of its study does, and changes nothing in how the study is shown."""
    new = header.person
    return new.is_named and new == first.person and (first.has_pixels or not header.has_pixels)


def adds_identity(connection: Connection, study: Any, header: Header, association_id: int | None) -> bool:
    """Whether one more object may tell whose others are that are kept apart: it names whom none did, or none there."""
    new = header.person
    return new not in named(study) or (new.is_named and not _has_named(connection, study.id, association_id))


def _has_named(connection: Connection, study_id: int, association_id: int | None) -> bool:
    """Whether anything of a study that came over an association names somebody: mostly the first that came does."""
    instance = tables.instance
    of_both = (instance.c.study_id == study_id, instance.c.association_id.is_not_distinct_from(association_id))
    query = select(instance.c.header).where(*of_both).order_by(instance.c.id)
    if any(Header.from_json(each).person.is_named for each in connection.scalars(query.limit(1))):
        return True
    return any(Header.from_json(each).person.is_named for each in connection.scalars(query.offset(1)))


def _association_ids(connection: Connection, study_id: int, place: int | None) -> set[int | None]:
    """The associations that a study's objects came over, without that whose place is taken."""
    instance = tables.instance
    others = instance.c.id.is_distinct_from(place)
    query = select(instance.c.association_id).where(instance.c.study_id == study_id, others).distinct()
    return set(connection.scalars(query))


def first_values(connection: Connection, header: Header) -> dict[str, Any]:
    """What a study's row says of the patient after its first object."""
    return _patient_values(connection, header) | {"persons": [_fields(header.person)]}


def joined_values(connection: Connection, study: Any, header: Header) -> dict[str, Any]:
    """What changes in a study's row by one more object: its patient is shown by the newest facts."""
    first, new, known = Header.from_json(study.header), header.person, named(study)
    if new in known and (first.has_pixels or not header.has_pixels):
        return {}
    speaks = speaking(first, header, newest([*known, new]))
    values = _patient_values(connection, speaks) if speaks != first else {}
    return values if new in known else values | {"persons": [*study.persons, _fields(new)]}


def show_corrected(connection: Connection, study_id: int, header: Header) -> None:
    """Shows a study by this header, after one of its objects was corrected; its patient is told by all of them."""
    persons = list(dict.fromkeys(each.person for each in _headers(connection, study_id)))
    values = _patient_values(connection, header.speaking_for(newest(persons)))
    values |= {"persons": [_fields(each) for each in persons]}
    connection.execute(update(tables.study).where(tables.study.c.id == study_id).values(values))


def update_shown(connection: Connection, study_id: int) -> None:
    """Tells a study's patient from the objects that it has now, after some of them were exchanged."""
    study, headers = tables.study, _headers(connection, study_id)
    if not headers:
        return
    persons = list(dict.fromkeys(header.person for header in headers))
    image = next((each for each in headers if each.has_pixels), headers[0])
    # Of whom the newest facts are, his age is as well.
    person = newest(persons)
    aged = next((each for each in headers if each.patient_birth_date == person.birth_date), image)
    speaks = replace(image.speaking_for(person), patient_age=aged.patient_age)
    values = _patient_values(connection, speaks) | {
        "persons": [_fields(each) for each in persons],
        "instances": sum(each.has_pixels for each in headers),
    }
    connection.execute(update(study).where(study.c.id == study_id).values(values))


def _headers(connection: Connection, study_id: int) -> list[Header]:
    """Those of a study's objects, in the order in which they came to their places."""
    instance = tables.instance
    query = select(instance.c.header).where(instance.c.study_id == study_id).order_by(instance.c.id)
    return [Header.from_json(each) for each in connection.scalars(query)]


def _patient_values(connection: Connection, header: Header) -> dict[str, Any]:
    return {
        "header": header.to_json(),
        "folded": search_text_of(header),
        "patient_id": _patient(connection, header),
    }


def _fields(person: Person) -> list[str]:
    return list(vars(person).values())


def _patient(connection: Connection, header: Header) -> int | None:
    """The row of an identifier; a placeholder names nobody."""
    identifier = header.patient
    if not identifier:
        return None
    issued = {"value": identifier.value, "issuer": identifier.issuer}
    known = connection.scalar(_PATIENT, issued)
    if known is not None:
        return int(known)
    demographics = {"name": header.patient_name, "birth_date": header.patient_birth_date, "sex": header.patient_sex}
    return int((connection.execute(_ADD_PATIENT, issued | demographics).inserted_primary_key or (0,))[0])
