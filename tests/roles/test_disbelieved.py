"""Patient Orientation of a sender whose default is wrong counts for nothing: in the node, its worker and `analyse`."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from films import encoded
from peers import Node, command_in_process, eventually
from pydicom import Dataset, dcmread

from imaging.dicom_node.sending import Sender
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted
from imaging.encoding.headers import read_header
from imaging.encoding.part10 import part_10_head, split_part_10
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study

IGNORE = ("--ignore-patient-orientation", "WRONG CR")


def a_chest(name: str, *patient_orientation: str) -> Dataset:
    """A drawn chest film, PA, that says this of how it lies."""
    film = film_study(5, frozenset(), datetime(2026, 11, 24, tzinfo=UTC), run=name, rows=256, columns=256).instances[0]
    film.PatientOrientation = list(patient_orientation)
    return film


def sent_by(film: Dataset, title: str) -> bytes:
    """The film as a node keeps it that got it from this sender."""
    request = split_part_10(encoded(film))
    return part_10_head(read_header(request.data, request.transfer_syntax_uid, sender=title)) + bytes(request.data)


def answer_of(node: Node, film: Dataset) -> dict[str, Any]:
    def answered() -> dict[str, Any] | None:
        (study,) = node.status("--study", str(film.StudyInstanceUID))["studies"]
        return next((each for each in study["results"] if each["state"] in ("analysed", "not_analysed")), None)

    return eventually(answered, what="an answer")


def send(node: Node, title: str, *films: Dataset) -> None:
    sender = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), title)
    assert all(isinstance(sender.send(encoded(each)), Accepted) for each in films)
    sender.close()


def log_of(answer: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return answer["state"], answer["reason"], answer["facts"].get("turned")


def test_a_node_turns_the_films_of_all_senders_but_those_it_does_not_believe(serve: Callable[..., Node]) -> None:
    films = {
        (title, values): a_chest(f"{title} {values}", *values)
        for title in ("WRONG CR", "GOOD DX")
        for values in (("R", "F"), ("P", "F"))
    }
    node = serve(*IGNORE, "--film-quiet-s", "0", "--models", str(shipped_folder() / "chest-film"))
    for title in ("WRONG CR", "GOOD DX"):
        send(node, title, *(film for (sender, _), film in films.items() if sender == title))
    answers = {each: log_of(answer_of(node, film)) for each, film in films.items()}
    assert answers == {
        ("WRONG CR", ("R", "F")): ("analysed", None, None),
        ("WRONG CR", ("P", "F")): ("analysed", None, None),
        ("GOOD DX", ("R", "F")): ("analysed", None, "1 of 1, stored R/F"),
        ("GOOD DX", ("P", "F")): ("not_analysed", "view", None),
    }


def test_analyse_knows_senders_by_the_heads_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def analysed(film: bytes, *options: str) -> tuple[str, str | None, str | None]:
        (tmp_path / "film.dcm").write_bytes(film)
        result = command_in_process("analyse", str(tmp_path / "film.dcm"), "--json", *options)
        return log_of(result.json["studies"][0]["results"][0])

    mirrored, lateral = a_chest("a", "R", "F"), a_chest("b", "A", "F")
    assert analysed(sent_by(mirrored, "WRONG CR")) == ("analysed", None, "1 of 1, stored R/F")
    assert analysed(sent_by(mirrored, "WRONG CR"), *IGNORE) == ("analysed", None, None)
    assert analysed(sent_by(mirrored, "GOOD DX"), *IGNORE) == ("analysed", None, "1 of 1, stored R/F")
    assert analysed(encoded(lateral), *IGNORE) == ("not_analysed", "view", None)
    assert analysed(encoded(lateral), "--ignore-patient-orientation", "*") == ("analysed", None, None)
    (tmp_path / "imaging.toml").write_text('ignore_patient_orientation = ["WRONG CR"]\n')
    assert analysed(sent_by(lateral, "WRONG CR"), "--config", str(tmp_path / "imaging.toml"))[0] == "analysed"
    monkeypatch.setenv("IMAGING_IGNORE_PATIENT_ORIENTATION", "OTHER,WRONG CR")
    assert analysed(sent_by(lateral, "WRONG CR"))[0] == "analysed"


def test_a_kept_file_names_who_sent_it_so_that_a_start_after_a_crash_knows_it_too() -> None:
    kept = sent_by(a_chest("c", "R", "F"), "WRONG CR")
    assert split_part_10(kept).sender == "WRONG CR"
    assert dcmread(BytesIO(kept)).file_meta.SendingApplicationEntityTitle == "WRONG CR"


@pytest.mark.parametrize("title", ["", "A\\B", "TITLE THAT IS TOO LONG", "ÅE", "A\x1bB"])
def test_what_is_no_ae_title_names_nobody(title: str) -> None:
    kept = sent_by(a_chest("d", "R", "F"), title)
    assert split_part_10(kept).sender == ""


def test_a_file_written_by_a_storage_program_names_its_source() -> None:
    film = a_chest("e", "R", "F")
    film.file_meta.SourceApplicationEntityTitle = "CR1 "
    assert split_part_10(encoded(film)).sender == "CR1"


def test_a_sender_that_cannot_be_one_is_refused_with_the_form_wanted(tmp_path: Path) -> None:
    result = command_in_process("analyse", str(tmp_path), "--ignore-patient-orientation", "LONGER THAN SIXTEEN")
    assert result.status == 2
    assert "AE titles have 1 to 16" in result.err
