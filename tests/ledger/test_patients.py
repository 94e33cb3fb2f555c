"""Whose a study is: each object is compared with all that are there, in whatever order they come."""

import itertools
from typing import Any

import pytest
from ledger_cases import MODEL, candidate, decided, film, judge, lease_one, queued, receive, rows, settle

from imaging.domain.header import Header
from imaging.domain.patient import placeholder_words
from imaging.domain.same_image import Kind
from imaging.ledger import associations, tables, undecided
from imaging.ledger.store import Ledger

MIXED = "mixed-patients"
NOBODY: dict[str, Any] = {"patient_id": "", "patient_name": ""}


def begin(ledger: Ledger) -> int:
    return associations.begin(ledger, "CT1", "IMAGING", "10.0.0.7", [])


def shown(ledger: Ledger) -> Header:
    (study,) = rows(ledger, tables.study)
    return Header.from_json(study["header"])


def named(number: int, name: str = "Nguyen^An", born: str = "19500101", sex: str = "M", **facts: Any) -> Header:
    return film(number=number, patient_name=name, patient_birth_date=born, patient_sex=sex, **facts)


def test_an_object_is_compared_with_all_that_came_before_and_not_with_the_shown_one(ledger: Ledger) -> None:
    receive(ledger, named(1))
    assert receive(ledger, named(2, name="Tran^Binh")).conflict == ""
    assert receive(ledger, named(3, name="Tran^Binh", born="19990909")).conflict == MIXED


def test_one_placeholder_is_not_one_patient(ledger: Ledger) -> None:
    receive(ledger, named(1, patient_id="0000"))
    assert receive(ledger, named(2, "Tran^Thi^B", "19990909", "F", patient_id="0000")).conflict == MIXED
    assert rows(ledger, tables.patient) == []


def test_a_renamed_patient_is_shown_searched_and_analysed_by_the_newest_name(ledger: Ledger) -> None:
    study_id = queued(ledger, patient_name="Trauma^X17")
    lease_one(ledger)
    assert receive(ledger, named(2, name="Nguyễn^An")).conflict == ""
    assert shown(ledger).patient_name == "Nguyễn^An"
    (study,) = rows(ledger, tables.study)
    assert "nguyen an" in study["folded"]
    settle(ledger, study_id, [MODEL, "other"])
    job = lease_one(ledger)
    assert (job.model, job.study.patient_name) == ("other", "Nguyễn^An")
    assert [header.patient_name for _, header in job.instances] == ["Trauma^X17", "Nguyễn^An"]


def test_an_object_without_pixels_adds_facts_of_the_patient_and_the_image_speaks_for_the_rest(ledger: Ledger) -> None:
    receive(ledger, film(has_pixels=False, modality="SR", patient_name="Nguyễn^An", patient_age="049Y"))
    receive(ledger, film(number=2, patient_name="", view_position="PA"))
    assert (shown(ledger).patient_name, shown(ledger).view_position, shown(ledger).modality) == (
        "Nguyễn^An",
        "PA",
        "DX",
    )


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_who_has_no_name_joins_a_named_one_of_the_same_association_in_any_order(
    ledger: Ledger, order: tuple[int, ...]
) -> None:
    here, there = begin(ledger), begin(ledger)
    comes = [(film(number=1, **NOBODY), here), (named(2), here), (named(3), there)]
    for each in order:
        header, association = comes[each]
        receive(ledger, header, association=association)
    assert undecided.listed(ledger) == []
    (study,) = rows(ledger, tables.study)
    assert (study["conflicts"], study["instances"], candidate(ledger, study["id"]).doubt) == (0, 3, "")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_who_has_no_name_does_not_join_a_named_one_of_another_association(
    ledger: Ledger, order: tuple[int, int]
) -> None:
    comes = [(film(number=1, **NOBODY), begin(ledger)), (named(2), begin(ledger))]
    first, second = (comes[each] for each in order)
    assert receive(ledger, first[0], association=first[1]).conflict == ""
    assert receive(ledger, second[0], association=second[1]).conflict == MIXED
    (kept,) = undecided.listed(ledger)
    assert decided(ledger, kept["id"], use=True) == ""  # a person knows that they belong together
    assert candidate(ledger, 1).doubt == ""
    assert receive(ledger, named(3), association=begin(ledger)).conflict == ""


def test_those_without_names_are_one_patient_over_any_associations(ledger: Ledger) -> None:
    for number in range(1, 4):
        header = film(number=number, patient_id="0000" if number == 2 else "", patient_name="UNKNOWN^")
        assert receive(ledger, header, association=begin(ledger)).conflict == ""
    other = film(number=4, patient_sex="F", **NOBODY)
    assert receive(ledger, film(number=5, patient_sex="M", **NOBODY)).conflict == ""
    assert receive(ledger, other).conflict == MIXED


def test_a_copy_that_names_its_patient_is_not_held_against_the_one_that_it_comes_for(ledger: Ledger) -> None:
    receive(ledger, film(**NOBODY), "first", association=begin(ledger))
    assert receive(ledger, named(1), "mended", association=begin(ledger)).conflict != MIXED


def test_what_a_settled_study_lets_in_after_all_is_settled_anew(ledger: Ledger) -> None:
    sender, other = begin(ledger), begin(ledger)
    study_id = receive(ledger, named(1), association=other).study_id
    settle(ledger, study_id)
    assert receive(ledger, film(number=2, has_pixels=False, **NOBODY), association=sender).conflict == MIXED
    assert rows(ledger, tables.study)[0]["reason"] == MIXED
    receive(ledger, named(3, has_pixels=False), association=sender)
    settle(ledger, study_id)
    (study,) = rows(ledger, tables.study)
    assert (study["state"], study["reason"], study["conflicts"]) == ("settled", "", 0)


def test_a_sites_own_placeholder_is_no_identifier(ledger: Ledger) -> None:
    words = placeholder_words(["Không rõ"])
    receive(ledger, named(1, patient_id="KHONG RO").judged_by(words))
    assert (
        receive(ledger, named(2, "Tran^B", "19990909", "F", patient_id="KHONG RO").judged_by(words)).conflict == MIXED
    )
    assert rows(ledger, tables.patient) == []
    assert receive(ledger, named(3, patient_id="P7").judged_by(words)).conflict == ""
    assert shown(ledger).patient.value == "P7"


def test_a_copy_with_a_mended_name_is_a_correction_and_its_study_is_shown_by_the_newest(ledger: Ledger) -> None:
    receive(ledger, film(number=1, patient_name="Trauma^17"), "one")
    receive(ledger, film(number=2, patient_name="Trauma^17"), "two")
    assert receive(ledger, film(number=1, patient_name="Nguyễn^An"), "mended").is_unjudged
    assert judge(ledger, Kind.CORRECTION)
    (row,) = rows(ledger, tables.study)
    assert Header.from_json(row["header"]).patient_name == "Nguyễn^An"
    assert [each[2] for each in row["persons"]] == ["Trauma^17", "Nguyễn^An"]
    assert (row["conflicts"], row["corrections"], candidate(ledger, row["id"]).doubt) == (0, 1, "")
