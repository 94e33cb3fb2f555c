"""What a study is taken for does not depend on the order, the grouping or the repetition of its images' arrivals."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging.domain.header import Header
from imaging.domain.settling import CompletenessTimeouts
from imaging.ledger import migrate, recording, settling
from imaging.ledger.instances import Receipt
from imaging.ledger.settling import Candidate
from imaging.ledger.store import Ledger

SLICES = range(6)
_studies = itertools.count(1)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path_factory.mktemp("arrivals"))
    migrate.migrate(ledger)
    yield ledger
    ledger.close()


def a_slice(study: str, number: int) -> Header:
    """One of a CT's slices; the first one has no Patient ID, as some scouts come."""
    return Header(
        "1.2.840.10008.5.1.4.1.1.2",
        f"{study}.{number + 1}",
        study,
        f"{study}.9",
        "1.2.840.10008.1.2.1",
        modality="CT",
        patient_id="P1" if number else "",
        image_position=(0.0, 0.0, 5.0 * number),
        image_orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        has_pixels=True,
    )


def arrived(ledger: Ledger, groups: list[list[int]]) -> tuple[str, Candidate]:
    """A new study whose slices came in these groups: its UID, and what the settler sees."""
    study = f"1.2.{next(_studies)}"
    for group in groups:
        headers = [a_slice(study, number) for number in group]
        receipts = [Receipt(each, "digest", 1, None, each.sop_instance_uid, "apart") for each in headers]
        assert not any(
            isinstance(each, Exception) for each in recording.record(ledger, receipts, CompletenessTimeouts())
        )
    (due,) = settling.due_studies(ledger)[0]
    candidate = settling.candidate(ledger, due)
    assert settling.settle(ledger, candidate, "test", [], "")
    return study, candidate


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(SLICES), st.lists(st.sampled_from(SLICES), max_size=4), st.sets(st.sampled_from(range(1, 9))))
def test_order_grouping_and_repetition_of_arrivals_do_not_matter(
    recorder: Ledger, order: list[int], again: list[int], cuts: set[int]
) -> None:
    every = [*order, *again]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(every)), len(every)]
    study, candidate = arrived(recorder, [every[a:b] for a, b in itertools.pairwise(bounds)])
    expected = {a_slice(study, number).sop_instance_uid: a_slice(study, number) for number in SLICES}
    assert {each.sop_instance_uid: each for each in candidate.instances.values()} == expected
    assert (candidate.doubt, candidate.signals.has_gap, candidate.signals.is_volume) == ("", False, True)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(4)))
def test_another_patients_image_is_noticed_whenever_it_comes(recorder: Ledger, order: list[int]) -> None:
    study = f"1.2.{next(_studies)}"
    for number in order:
        header = a_slice(study, number)
        header = replace(header, patient_id="P2") if number == 3 else header
        receipt = Receipt(header, "digest", 1, None, header.sop_instance_uid, f"apart/{header.sop_instance_uid}")
        recording.record(recorder, [receipt], CompletenessTimeouts())
    (due,) = settling.due_studies(recorder)[0]
    candidate = settling.candidate(recorder, due)
    assert candidate.doubt == "mixed-patients"
    assert settling.settle(recorder, candidate, "test", [], candidate.doubt)
