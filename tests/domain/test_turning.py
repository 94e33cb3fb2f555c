"""Patient Orientation brings films upright, tells laterals, and counts for nothing where its sender is not believed."""

import numpy as np
import pytest

from imaging.domain.header import Header
from imaging.domain.turning import AS_IT_IS, Turn, believed, is_from_the_side, turn_of

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


@pytest.mark.parametrize("said", STORED)
def test_each_of_the_eight_orientations_is_turned_upright(said: tuple[str, str]) -> None:
    turn = turn_of(said)
    assert np.array_equal(turn.upright(STORED[said]), UPRIGHT)
    assert turn.size(*STORED[said].shape) == UPRIGHT.shape
    assert turn.size(*UPRIGHT.shape) == STORED[said].shape
    assert np.shares_memory(turn.upright(STORED[said]), STORED[said])
    assert bool(turn) == (said != ("L", "F"))


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (("LF", "FR"), ("L", "F")),
        (("LH", "FL"), ("L", "F")),
        (("RFA", "HLP"), ("R", "H")),
        (("r", "f"), ("R", "F")),
        ((" R ", "F "), ("R", "F")),
        (("R", "F", ""), ("R", "F")),
    ],
)
def test_compound_directions_count_by_their_first_letter(said: tuple[str, ...], means: tuple[str, str]) -> None:
    assert turn_of(said) == turn_of(means) != (AS_IT_IS if means != ("L", "F") else Turn(True))


@pytest.mark.parametrize(
    "said",
    [(), ("",), ("L",), ("", "F"), ("R", ""), ("R", "L"), ("H", "F"), ("RL", "F"), ("LE", "CD"), ("X", "Y"),
     ("UNK", "F"), ("PA", "AP"), ("A", "F"), ("P", "F"), ("R", "A"), ("RIGHT", "FEET"), ("0", "0"), ("R/F",)],
)  # fmt: skip
def test_what_is_empty_odd_or_of_a_side_is_left_as_it_is(said: tuple[str, ...]) -> None:
    assert turn_of(said) == AS_IT_IS


@pytest.mark.parametrize("said", [("A", "F"), ("P", "F"), ("F", "A"), ("H", "P"), ("AL", "F"), ("p", "f"), ("A",)])
def test_front_and_back_in_the_plane_make_a_film_from_the_side(said: tuple[str, ...]) -> None:
    assert is_from_the_side(said)


@pytest.mark.parametrize("said", [(), ("L", "F"), ("R", "H"), ("LA", "FP"), ("AP", "PA"), ("ABC", "F"), ("", "")])
def test_other_films_are_from_the_front_or_say_nothing(said: tuple[str, ...]) -> None:
    assert not is_from_the_side(said)


def test_the_orientation_of_a_sender_who_is_not_believed_counts_for_nothing() -> None:
    header = Header("1.2", "1.3", "1.4", "1.5", "1.6", patient_orientation=("R", "F"), sender="CR1")
    assert believed(header, {"CR1", "CR2"}).patient_orientation == ()
    assert believed(header, {"cr1"}).patient_orientation == ()
    assert believed(header, {"*"}).patient_orientation == ()
    assert believed(header, {"CR2"}) is header
    assert believed(header, ()) is header
    unknown = Header("1.2", "1.3", "1.4", "1.5", "1.6", patient_orientation=("R", "F"))
    assert believed(unknown, {"CR1"}) is unknown
