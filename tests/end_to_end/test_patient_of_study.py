"""Whose a study is, from the modality to the PACS: no report ever names two patients, or one who was mended since."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from films import encoded, predecessors
from peers import Node, command_in_process, eventually, imaging_json
from pydicom import Dataset
from small_models import write_models
from storage_peer import StoragePeer

from imaging.dicom_node.sending import Sender
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted
from imaging.phantoms.study import film_study


@dataclass
class Site:
    """A node with small models, and the PACS that it sends to."""

    node: Node
    pacs: StoragePeer
    seen: int = 0
    settled: int = 0
    earlier: set[int] = field(default_factory=set)
    """Reports, settled studies and open conflicts of the tests before."""

    def begin(self) -> None:
        """What there is once all is at rest is no concern of the next test."""
        self.pacs.status = 0x0000
        self.settled = eventually(self.node.at_rest, what="rest")["studies"]["settled"]
        self.seen, self.earlier = len(self.pacs.stored), set()
        self.earlier = {each["id"] for each in self.conflicts()}

    def send(self, *images: Dataset) -> None:
        """On one association; all are acknowledged."""
        sender = Sender(Address("IMAGING", "127.0.0.1", self.node.dicom_port), "MODALITY")
        assert all(isinstance(sender.send(encoded(each)), Accepted) for each in images)
        sender.close()

    def reports(self, count: int) -> list[Dataset]:
        """The next reports, in the order in which they came."""
        wanted = self.seen + count
        eventually(lambda: len(self.pacs.stored) >= wanted, what=f"{wanted} reports in the PACS")
        found, self.seen = self.pacs.stored[self.seen : wanted], wanted
        return found

    def is_quiet(self) -> bool:
        """Whether all that came is settled and answered, and nothing waits but for a person."""
        value = self.node.status()
        return not (value["studies"]["receiving"] or value["jobs"]["queued"] or value["jobs"]["leased"])

    def waits_for_room(self) -> bool:
        """Whether a report was refused, and waits to be tried again."""
        value = self.node.status()
        return value["deliveries"]["waiting"] == 1 and [each["state"] for each in value["peers"]] == ["down"]

    def conflicts(self) -> list[dict[str, Any]]:
        found = imaging_json("conflicts", "list", "--json", "--home", str(self.node.home))["conflicts"]
        return [dict(each) for each in found if each["id"] not in self.earlier]

    def decide(self, *words: str) -> int:
        return command_in_process("conflicts", *words, "--home", str(self.node.home)).status


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, pacs = tmp_path_factory.mktemp("whose"), StoragePeer().start()
    options = ["--models", str(write_models(folder / "models")), "--deliver-to", f"PACS={pacs.address}"]
    options += ["--film-quiet-s", "0.2", "--revision-interval-s", "0.2", "--patient-placeholders", "TEMP"]
    node = Node(folder / "home", options)
    yield Site(node, pacs)
    node.stop()
    pacs.stop()


@pytest.fixture
def site(served: Site) -> Site:
    """One node for all these tests: each has patients and studies of its own."""
    served.begin()
    return served


def films(run: str, count: int = 2, **elements: Any) -> list[Dataset]:
    """Films of one study, with these elements changed."""
    (first,) = film_study(3, frozenset(), datetime.now(UTC), run=run, rows=256, columns=256).instances
    found = []
    for number in range(count):
        each = copy.deepcopy(first)
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = f"{first.SOPInstanceUID}.{number}"
        found.append(changed(each, **elements))
    return found


def changed(image: Dataset, **elements: Any) -> Dataset:
    other = copy.deepcopy(image)
    for keyword, value in elements.items():
        setattr(other, keyword, value)
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    return other


def test_a_study_sent_again_whole_under_the_right_patient_is_reported_for_him_after_one_decision(site: Site) -> None:
    wrong = films("again", PatientID="WRONG", PatientName="Wrong^A")
    site.send(*wrong)
    (first,) = site.reports(1)
    assert first.PatientID == "WRONG"
    site.send(*(changed(each, PatientID="RIGHT", PatientName="Right^B") for each in wrong))
    one, two = site.conflicts()
    assert (one["why"], one["patient_id"], one["study_patient_id"]) == ("mixed-patients", "RIGHT", "WRONG")
    assert site.decide("use", str(two["id"])) == 1
    eventually(site.is_quiet)
    assert site.decide("use", str(two["id"]), "--all") == 0
    (second,) = site.reports(1)
    assert (second.PatientID, str(second.PatientName), predecessors(second)) == (
        "RIGHT",
        "Right^B",
        [first.SOPInstanceUID],
    )
    assert site.conflicts() == []
    eventually(site.node.at_rest, what="the node's note that it was sent")
    assert site.decide("undo", str(two["id"])) == 1


def test_a_decision_is_taken_back_before_anything_was_sent_of_it(site: Site) -> None:
    wrong = films("undo", PatientID="WRONG-2")
    site.send(*wrong)
    site.reports(1)
    site.pacs.status = 0xA700  # out of resources: it waits
    site.send(*(changed(each, PatientID="RIGHT-2") for each in wrong))
    (number, *_) = [str(each["id"]) for each in site.conflicts()]
    assert site.decide("use", number, "--all") == 0
    eventually(site.waits_for_room, what="the report for RIGHT-2, which the PACS had no room for")
    assert site.decide("undo", number) == 0
    assert site.node.status()["deliveries"]["waiting"] == 0
    assert site.decide("drop", number, "--all") == 0
    site.pacs.status, site.seen = 0x0000, len(site.pacs.stored)
    (last,) = site.reports(1)
    assert last.PatientID == "WRONG-2"


def test_two_people_under_one_placeholder_and_one_study_uid_get_no_report_between_them(site: Site) -> None:
    man, woman = films("two people", PatientID="0000")
    man = changed(man, PatientName="Nguyen^A", PatientSex="M", PatientBirthDate="19500101", PatientAge="076Y")
    woman = changed(woman, PatientName="Tran^B", PatientSex="F", PatientBirthDate="19990909", PatientAge="027Y")
    site.send(man, woman)
    (quarantined,) = site.conflicts()
    eventually(site.is_quiet)
    assert site.decide("use", str(quarantined["id"])) == 1
    assert site.pacs.stored[site.seen :] == []
    (story,) = site.node.status("--study", str(man.StudyInstanceUID))["studies"]
    assert (story["reason"], story["results"]) == ("mixed-patients", [])
    assert site.decide("drop", str(quarantined["id"])) == 0
    (report,) = site.reports(1)
    assert str(report.PatientName) == "Nguyen^A"


def test_a_patient_renamed_later_is_reported_by_the_newest_name(site: Site) -> None:
    first, late = films("trauma", PatientID="P1", PatientName="Trauma^X17", PatientSex="O")
    site.send(first)
    (before,) = site.reports(1)
    assert str(before.PatientName) == "Trauma^X17"
    site.send(changed(late, PatientName="Nguyễn^An", PatientSex="M"))
    (after,) = site.reports(1)
    assert (str(after.PatientName), after.PatientSex) == ("Nguyễn^An", "M")
    assert predecessors(after) == [before.SOPInstanceUID]
    assert site.conflicts() == []


def test_a_sites_own_placeholder_is_nobodys_identifier(site: Site) -> None:
    one, other = films("site", PatientID="TEMP", PatientName="Nguyen^A", PatientSex="M", PatientBirthDate="19500101")
    site.send(one)
    site.reports(1)
    site.send(changed(other, PatientName="Nguyen^B", PatientID="TEMP"))
    (quarantined,) = site.conflicts()
    assert quarantined["why"] == "mixed-patients"


def test_a_film_sent_again_under_the_right_study_is_analysed_there_though_its_uid_stays(site: Site) -> None:
    (wrong,) = films("moved", 1, PatientID="WRONG-3", AccessionNumber="A1")
    right = changed(wrong, PatientID="RIGHT-3", AccessionNumber="B2", StudyInstanceUID="1.2.3.99")
    site.send(wrong)
    site.reports(1)
    site.send(right)
    (report,) = site.reports(1)
    assert (report.PatientID, report.AccessionNumber, report.StudyInstanceUID) == ("RIGHT-3", "B2", "1.2.3.99")
    one, two = site.conflicts()
    assert (one["state"], two["state"]) == ("shared", "shared")
    assert site.decide("use", str(one["id"])) == 1
    assert site.decide("drop", str(one["id"]), str(two["id"])) == 0
    site.send(right)
    site.send(changed(right, StationName="again"))
    for uid in (wrong.StudyInstanceUID, right.StudyInstanceUID):
        (story,) = site.node.status("--study", str(uid))["studies"]
        assert (story["conflicts"], [each["state"] for each in story["results"]]) == (0, ["analysed"])


def test_what_a_pacs_coerces_and_routes_back_stops_nothing(site: Site) -> None:
    (film,) = films("routed back", 1, PatientID="P2")
    site.send(film)
    (report,) = site.reports(1)
    coerced = [
        changed(report, PatientID="HOSP-P2"),
        changed(report, IssuerOfPatientID="HUE"),
        changed(report, SOPInstanceUID="1.2.3.4", PatientID="HOSP-P2"),
        changed(report, StudyInstanceUID="1.2.3.5", PatientID="HOSP-P2"),
        changed(report, StudyInstanceUID="1.2.3.5", SOPInstanceUID="1.2.3.6"),
    ]
    site.send(*coerced)
    eventually(site.is_quiet)
    assert site.node.status()["studies"] == {"receiving": 0, "settled": site.settled + 1}
    assert site.conflicts() == []
    (story,) = site.node.status("--study", str(film.StudyInstanceUID))["studies"]
    assert (story["conflicts"], len(story["returned"]), len(story["revisions"])) == (0, 4, 1)
    site.send(changed(films("routed back", 1, PatientID="P2")[0], SOPInstanceUID="1.2.3.7"))
    (late,) = site.reports(1)
    assert (late.PatientID, predecessors(late)) == ("P2", [report.SOPInstanceUID])
