"""Patient Orientation brings films upright, tells laterals, and counts for nothing where its sender is not believed."""

import numpy as np
import pytest

from imaging.domain.header import Header
from imaging.domain.orientation import (
    AS_IT_IS,
    Reorientation,
    is_from_the_side,
    reorientation_of,
    with_trusted_orientation,
)

UPRIGHT = np.array([["HR", "HL"], ["_R", "_L"], ["FR", "FL"]])
"""Three rows of two columns of a film as it is hung: `L\\F`."""

STORED = {
    ("L", "F"): UPRIGHT,
    ("R", "F"): UPRIGHT[:, ::-1],
    ("L", "H"): UPRIGHT[::-1],
    ("R", "H"): UPRIGHT[::-1, ::-1],
    ("F", "L"): UPRIGHT.T,
    ("F", "R"): UPRIGHT[:, ::-1].T,
    ("H", "L"): UPRIGHT[::-1].T,
    ("H", "R"): UPRIGHT[::-1, ::-1].T,
}
"""How the same film lies under each of the eight orientations."""


@pytest.mark.parametrize("texts", STORED)
def test_each_of_the_eight_orientations_is_turned_upright(texts: tuple[str, str]) -> None:
    turn = reorientation_of(texts)
    assert np.array_equal(turn.upright(STORED[texts]), UPRIGHT)
    assert turn.size(*STORED[texts].shape) == UPRIGHT.shape
    assert turn.size(*UPRIGHT.shape) == STORED[texts].shape
    assert np.shares_memory(turn.upright(STORED[texts]), STORED[texts])
    assert bool(turn) == (texts != ("L", "F"))


@pytest.mark.parametrize(
    ("texts", "means"),
    [
        (("LF", "FR"), ("L", "F")),
        (("LH", "FL"), ("L", "F")),
        (("RFA", "HLP"), ("R", "H")),
        (("r", "f"), ("R", "F")),
        ((" R ", "F "), ("R", "F")),
        (("R", "F", ""), ("R", "F")),
    ],
)
def test_compound_directions_count_by_their_first_letter(texts: tuple[str, ...], means: tuple[str, str]) -> None:
    assert (
        reorientation_of(texts) == reorientation_of(means) != (AS_IT_IS if means != ("L", "F") else Reorientation(True))
    )


@pytest.mark.parametrize(
    "texts",
    [(), ("",), ("L",), ("", "F"), ("R", ""), ("R", "L"), ("H", "F"), ("RL", "F"), ("LE", "CD"), ("X", "Y"),
     ("UNK", "F"), ("PA", "AP"), ("A", "F"), ("P", "F"), ("R", "A"), ("RIGHT", "FEET"), ("0", "0"), ("R/F",)],
)  # fmt: skip
def test_what_is_empty_odd_or_of_a_side_is_left_as_it_is(texts: tuple[str, ...]) -> None:
    assert reorientation_of(texts) == AS_IT_IS


@pytest.mark.parametrize("texts", [("A", "F"), ("P", "F"), ("F", "A"), ("H", "P"), ("AL", "F"), ("p", "f"), ("A",)])
def test_front_and_back_in_the_plane_make_a_film_from_the_side(texts: tuple[str, ...]) -> None:
    assert is_from_the_side(texts)


@pytest.mark.parametrize("texts", [(), ("L", "F"), ("R", "H"), ("LA", "FP"), ("AP", "PA"), ("ABC", "F"), ("", "")])
def test_other_films_are_from_the_front_or_say_nothing(texts: tuple[str, ...]) -> None:
    assert not is_from_the_side(texts)


def test_the_orientation_of_a_sender_who_is_not_believed_counts_for_nothing() -> None:
    header = Header("1.2", "1.3", "1.4", "1.5", "1.6", patient_orientation=("R", "F"), sender="CR1")
    assert with_trusted_orientation(header, {"CR1", "CR2"}).patient_orientation == ()
    assert with_trusted_orientation(header, {"cr1"}).patient_orientation == ()
    assert with_trusted_orientation(header, {"*"}).patient_orientation == ()
    assert with_trusted_orientation(header, {"CR2"}) is header
    assert with_trusted_orientation(header, ()) is header
    unknown = Header("1.2", "1.3", "1.4", "1.5", "1.6", patient_orientation=("R", "F"))
    assert with_trusted_orientation(unknown, {"CR1"}) is unknown
