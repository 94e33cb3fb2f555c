"""The node takes up what is asked for again: with today's models, and no answer is given twice."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_cases import MODEL, POSITIVE, TurnedClock, candidate, film, job_states, lease, receive, rows, settle
from small_models import write_models

from imaging.domain.card import Card
from imaging.domain.modes import Mode
from imaging.domain.settling import CompletenessTimeouts
from imaging.ledger import jobs, migrate, replays, tables
from imaging.ledger.store import Ledger
from imaging.models.catalogue import load_models
from imaging.roles.node import Settler
from imaging.roles.planning import new_jobs


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """Of a model that takes every film."""
    models = load_models([write_models(tmp_path_factory.mktemp("models"))]).models
    return next(each for each in models if each.id == "small-film")


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: TurnedClock) -> Iterator[Ledger]:
    found = Ledger(tmp_path, clock=clock)
    migrate.migrate(found)
    yield found
    found.close()


def look(ledger: Ledger, *cards: Card) -> list[tuple[int, str, str]]:
    """The node looks, with these cards; study, model and version of each job that there is then."""
    Settler(ledger, cards, CompletenessTimeouts()).run_once()
    return [(each["study_id"], each["model"], each["version"]) for each in rows(ledger, tables.job)]


def settled(ledger: Ledger, study: str, models: tuple[str, ...] = ()) -> int:
    study_id = receive(ledger, film(study)).study_id
    assert settle(ledger, study_id, models)
    return study_id


def test_a_model_that_came_later_is_asked_about_what_settled_before_and_once(ledger: Ledger, card: Card) -> None:
    numbers = [settled(ledger, "1.2.1"), settled(ledger, "1.2.2", (MODEL,))]
    assert look(ledger, card) == [(numbers[1], MODEL, "1")], "nobody asked"
    assert replays.mark_for_model(ledger, card.id, None) == 2
    texts = look(ledger, card)
    assert texts[1:] == [(each, card.id, card.version) for each in numbers]
    assert [each["reason"] for each in rows(ledger, tables.study)] == ["", ""]
    assert replays.mark_for_model(ledger, card.id, None) == 0
    assert replays.mark_studies(ledger, ["1.2.1", "1.2.2"]) == 2
    assert look(ledger, card) == texts
    assert rows(ledger, tables.replay) == []


def test_a_study_without_a_model_is_settled_anew_with_those_of_today(ledger: Ledger, card: Card) -> None:
    study_id = settled(ledger, "1.2.1")
    replays.mark_studies(ledger, ["1.2.1"])
    assert look(ledger, card) == [(study_id, card.id, card.version)]


def test_other_models_and_other_versions_are_not_asked_by_the_way(ledger: Ledger, card: Card) -> None:
    settled(ledger, "1.2.1", (card.id,))
    settled(ledger, "1.2.2")
    upgraded, other = replace(card, version="2"), replace(card, id="other-film")
    assert replays.mark_for_model(ledger, card.id, None) == 1
    assert look(ledger, upgraded, other)[1:] == [(2, card.id, "2")]


def test_a_study_that_nothing_fits_keeps_its_reason(ledger: Ledger, card: Card) -> None:
    study_id = receive(ledger, film(modality="US")).study_id
    assert settle(ledger, study_id, ())
    replays.mark_for_model(ledger, card.id, None)
    assert (look(ledger, card), rows(ledger, tables.replay)) == ([], [])
    assert rows(ledger, tables.study)[0]["reason"] == "no-model"


def test_a_study_of_two_patients_is_not_analysed_by_being_asked_for(ledger: Ledger, card: Card) -> None:
    settled(ledger, "1.2.1")
    receive(ledger, film("1.2.1", number=2, patient_id="P2"))
    replays.mark_for_model(ledger, card.id, None)
    assert (look(ledger, card), rows(ledger, tables.replay)) == ([], [])


def test_a_model_that_the_node_lacks_is_named_in_the_log(
    ledger: Ledger, card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    settled(ledger, "1.2.1")
    replays.mark_for_model(ledger, "unheard-of", None)
    with caplog.at_level(logging.WARNING):
        assert look(ledger, card) == []
    assert "replay_without_model study=1 model=unheard-of" in caplog.text
    assert rows(ledger, tables.replay) == []


def test_a_study_that_cannot_be_read_holds_up_no_other(ledger: Ledger, card: Card) -> None:
    settled(ledger, "1.2.1")
    with ledger.write() as connection:
        connection.execute(tables.instance.update().values(header={"shoe_size": 42}))
    sound = settled(ledger, "1.2.2")
    replays.mark_for_model(ledger, card.id, None)
    assert look(ledger, card) == [(sound, card.id, card.version)]


def test_many_are_taken_up_a_few_at_a_time_so_that_what_comes_in_is_settled_between(
    ledger: Ledger, clock: TurnedClock, card: Card
) -> None:
    for number in range(25):
        settled(ledger, f"1.2.{number}")
    replays.mark_for_model(ledger, card.id, None)
    settler = Settler(ledger, [card], CompletenessTimeouts())
    assert settler.run_once() == clock.tick(), "at once, once more"
    assert len(job_states(ledger)) == 20
    fresh = receive(ledger, film("1.3")).study_id
    clock.advance(60)
    settler.run_once()
    assert [each["study_id"] for each in rows(ledger, tables.job)][20] == fresh
    assert len(job_states(ledger)) == 26
    assert lease(ledger) != []


def test_what_a_model_answered_in_shadow_is_no_answer_once_it_is_live(ledger: Ledger, card: Card) -> None:
    shadow = replace(card, mode=Mode.SHADOW)
    number = settled(ledger, "1.2.1")
    replays.mark_for_model(ledger, card.id, None)
    assert look(ledger, shadow) == [(number, card.id, card.version)]
    assert rows(ledger, tables.study)[0]["reason"] == "no-model"
    (job,) = lease(ledger)
    assert job.mode is Mode.SHADOW
    assert jobs.conclude(ledger, job, POSITIVE, [])
    assert replays.mark_for_model(ledger, card.id, None) == 1, "it may have left the shadow"
    assert len(look(ledger, shadow)) == 1, "it has not"
    assert replays.mark_for_model(ledger, card.id, None) == 1
    assert len(look(ledger, card)) == 2
    assert rows(ledger, tables.study)[0]["reason"] == ""
    (job,) = lease(ledger)
    assert jobs.conclude(ledger, job, POSITIVE, [])
    assert replays.mark_for_model(ledger, card.id, None) == 0


def test_a_study_that_only_a_shadow_fits_settles_with_its_job_and_without_a_model(ledger: Ledger, card: Card) -> None:
    receive(ledger, film("1.2.1"), association=None)
    seen = candidate(ledger, 1)
    shadow = replace(card, mode=Mode.SHADOW)
    for cards, reason in (((shadow,), "no-model"), ((shadow, replace(card, id="other")), ""), ((), "no-model")):
        found, why = new_jobs(seen, cards, frozenset())
        assert ([each.model for each in found], why) == ([each.id for each in cards], reason)
