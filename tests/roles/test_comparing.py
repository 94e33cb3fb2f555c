"""Copies in the worker and in folders: what is newer, what becomes of files that cannot be had, and of poison."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ledger_cases import TurnedClock, rows
from pydicom import Dataset

from imaging.domain.settling import CompletenessTimeouts
from imaging.domain.source import Source
from imaging.encoding.headers import read_header
from imaging.encoding.part10 import split_part_10
from imaging.inference.compare import compare
from imaging.ledger import copies, migrate, recording, tables
from imaging.ledger.instances import Receipt
from imaging.ledger.jobs import MAX_DEATHS
from imaging.ledger.store import Ledger
from imaging.phantoms.study import film_study
from imaging.roles.comparing import Comparing, distinct
from imaging.roles.watchdog import Watchdog
from imaging.spool import FolderSpool


def drawn(**elements: Any) -> Dataset:
    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    (image,) = film_study(1, frozenset(), now, "comparing", 64, 64).instances
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    return image


def written(path: Path, image: Dataset) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    request = split_part_10(path.read_bytes())
    return Source(path, read_header(request.data, request.transfer_syntax_uid))


@pytest.mark.parametrize(("early", "late"), [("first.dcm", "second.dcm"), ("second.dcm", "first.dcm")])
def test_the_newer_is_told_by_its_creation_and_never_by_its_files_name(tmp_path: Path, early: str, late: str) -> None:
    at = {"InstanceCreationDate": "20261124"}
    old = written(tmp_path / early, drawn(AccessionNumber="OLD", InstanceCreationTime="080000", **at))
    new = written(tmp_path / late, drawn(AccessionNumber="NEW", InstanceCreationTime="093000.5", **at))
    for sources in ((old, new), (new, old)):
        found = distinct(sources, compare)
        assert ([each.header.accession_number for each in found.sources], found.conflicts) == (["NEW"], 0)


def test_without_times_the_digests_decide_and_the_order_of_files_does_not(tmp_path: Path) -> None:
    one = written(tmp_path / "a.dcm", drawn(AccessionNumber="ONE", InstanceCreationDate=""))
    other = written(tmp_path / "b.dcm", drawn(AccessionNumber="OTHER", InstanceCreationDate="20261124"))
    renamed = written(tmp_path / "0.dcm", drawn(AccessionNumber="OTHER", InstanceCreationDate="20261124"))
    used = {
        distinct(each, compare).sources[0].header.accession_number
        for each in ((one, other), (other, one), (renamed, one))
    }
    assert len(used) == 1


def test_the_same_bytes_under_two_names_are_one_object_and_other_pixels_are_one_conflict(tmp_path: Path) -> None:
    sources = [written(tmp_path / name, drawn()) for name in ("a.dcm", "b.dcm")]
    assert distinct(sources, compare).conflicts == 0
    for number in range(2):
        sources.append(written(tmp_path / f"other-{number}.dcm", drawn(PixelData=bytes([number + 1]) * 64 * 64 * 2)))
    found = distinct(sources, compare)
    assert (len(found.sources), found.conflicts) == (1, 1)


class ComparisonSetup:
    """A film and its copy in a home, and what compares them."""

    def __init__(self, home: Path, clock: TurnedClock) -> None:
        self.ledger, self.spool = Ledger(home, clock=clock), FolderSpool(home / "spool", 0)
        migrate.migrate(self.ledger)
        watch = Watchdog(home, "worker-0", lambda job: None)
        self.comparing = Comparing(self.ledger, self.spool, watch, "worker-0:1", compare)
        for name, image in (("one", drawn()), ("two", drawn(AccessionNumber="NEW"))):
            source = written(self.spool.path(name), image)
            receipt = Receipt(source.header, name, 1, None, name, name)
            recording.record(self.ledger, [receipt], CompletenessTimeouts())

    @property
    def copy(self) -> dict[str, Any]:
        return dict(rows(self.ledger, tables.conflict)[0])


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def comparison_setup(tmp_path: Path, clock: TurnedClock) -> Iterator[ComparisonSetup]:
    made = ComparisonSetup(tmp_path, clock)
    yield made
    made.ledger.close()


def test_a_copy_is_compared_in_the_lane_of_its_kind(comparison_setup: ComparisonSetup) -> None:
    assert not comparison_setup.comparing.one(are_volumes=True)
    assert comparison_setup.comparing.one(are_volumes=False)
    assert (comparison_setup.copy["state"], comparison_setup.copy["judgement"]) == ("used", "changed: accession_number")
    assert not comparison_setup.comparing.one(are_volumes=None)


def test_a_copy_whose_file_is_not_there_yet_is_compared_a_little_later(
    comparison_setup: ComparisonSetup, clock: TurnedClock
) -> None:
    hidden = comparison_setup.spool.path("two").rename(comparison_setup.spool.path("not yet"))
    assert not comparison_setup.comparing.one(are_volumes=None)
    assert comparison_setup.copy["state"] == "unjudged"
    hidden.rename(comparison_setup.spool.path("two"))
    assert not comparison_setup.comparing.one(are_volumes=None)
    clock.advance(copies.AGAIN_S + 1)
    assert comparison_setup.comparing.one(are_volumes=None)
    assert comparison_setup.copy["state"] == "used"


def test_a_copy_that_kills_three_workers_is_a_conflict_and_never_opened_again(
    comparison_setup: ComparisonSetup,
) -> None:
    for _ in range(MAX_DEATHS):
        assert copies.claim(comparison_setup.ledger, "worker-0:1") is not None
        copies.release_leases(comparison_setup.ledger, "worker-0:")
    os.truncate(comparison_setup.spool.path("two"), 0)
    assert comparison_setup.comparing.one(are_volumes=None)
    assert comparison_setup.copy["state"] == "open"
    assert comparison_setup.copy["judgement"].startswith("they cannot be compared")
