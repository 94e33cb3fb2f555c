"""Where results go, by flags, environment and file alike: how long each may take, and which are one address."""

import re
from pathlib import Path

import pytest

from imaging import settings
from imaging.domain.peers import Address, Times
from imaging.settings import SettingError
from imaging.supervise import child_config

PACS, SLOW = "PACS=PACS@10.0.0.5:104", "PACS=accept:90+response:600"


def test_a_destinations_times_have_three_spellings(tmp_path: Path) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text(f'deliver_to = ["{PACS}"]\ndeliver_times = ["{SLOW}"]\n')
    environment = {"IMAGING_DELIVER_TO": PACS, "IMAGING_DELIVER_TIMES": SLOW}
    for found in (
        settings.load({"deliver_to": [PACS], "deliver_times": [SLOW]}, environ={}),
        settings.load({}, environ=environment),
        settings.load({}, file, environ={}),
    ):
        (destination,) = found.destinations
        assert destination.times == Times(5.0, 90.0, 600.0)
        value = child_config("deliver", 0, found, tmp_path)["destinations"]
        assert value == [["PACS", "PACS@10.0.0.5:104", "connect:5+accept:90+response:600"]]


@pytest.mark.parametrize("text", ["PACS", "PACS=accept", "=accept:3", "PACS=accept:0"])
def test_times_that_are_none_are_named_with_the_form_wanted(text: str) -> None:
    with pytest.raises(SettingError, match=r"of the form NAME=connect:5\+accept:30\+response:300"):
        settings.load({"deliver_to": [PACS], "deliver_times": [text]}, environ={})


def test_times_of_nobody_are_a_fault() -> None:
    with pytest.raises(SettingError, match=r"--deliver-times names PAC, .*; did you mean PACS?"):
        settings.load({"deliver_to": [PACS], "deliver_times": ["PAC=accept:3"]}, environ={})


def test_two_names_of_one_address_are_known_and_two_entities_of_one_host_are_not_one() -> None:
    others = ["A=PACS@pacs.example:104", "B=PACS@PACS.example:104", "C=RIS@pacs.example:104"]
    found = settings.load({"deliver_to": [PACS, *others]}, environ={})
    assert found.shared_addresses == ((Address("PACS", "pacs.example", 104), ("A", "B")),)


TABLES = """
[[destination]]
name = "ARCHIVE"
address = "ARC@10.0.0.6:104"
outcomes = ["positive", "failed"]
times = "accept:3"
[[destination]]
name = "VIEWER"
address = "VW@10.0.0.7:104"
"""


def _loaded(tmp_path: Path, text: str, flags: dict[str, list[str]] | None = None) -> settings.Settings:
    file = tmp_path / "imaging.toml"
    file.write_text(text)
    return settings.load(flags or {}, file, environ={})


def test_tables_say_what_the_three_flags_say_and_deliver_to_adds_to_them(tmp_path: Path) -> None:
    said = _loaded(tmp_path, TABLES, {"deliver_to": [PACS]}).destinations
    flags = {
        "deliver_to": ["ARCHIVE=ARC@10.0.0.6:104", "VIEWER=VW@10.0.0.7:104", PACS],
        "deliver_outcomes": ["ARCHIVE=positive+failed"],
        "deliver_times": ["ARCHIVE=accept:3"],
    }
    assert said == settings.load(flags, environ={}).destinations


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('destination = "PACS"', "expected tables"),
        (TABLES + 'adress = "A@h:1"', "adress is not a key of a destination; did you mean address?"),
        (TABLES + "port = 104", 'port is not a key of a destination; expected address = "AET@HOST:PORT"'),
        (TABLES + 'outcomes = ["positiv"]', "'positiv' is not an outcome; did you mean positive?"),
        (TABLES + "outcomes = []", "expected a list of positive"),
        (TABLES + 'times = "acept:3"', "destination 2: times: expected"),
        (TABLES + "times = 3", "destination 2: times: expected"),
        (TABLES + "[[destination]]", "destination 3: address is missing"),
        (TABLES + TABLES, "two destinations are named ARCHIVE"),
        ('[[destinations]]\nname = "A"', "did you mean destination?"),
    ],
)
def test_a_faulty_table_is_refused_with_its_number_and_the_form_wanted(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(settings.SettingError, match=re.escape(fault)):
        _loaded(tmp_path, text)
