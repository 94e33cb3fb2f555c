"""Formats of boxes, and the suppression of those that say the same, against a plain count of cells."""

from itertools import product

import numpy as np
import pytest

from imaging.domain.boxes import FORMATS, kept, overlaps


def random_boxes(seed: int, count: int, axes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (count, axes)).astype(float)
    return (
        low,
        low + rng.integers(1, 9, (count, axes)),
        np.round(rng.random(count), 1),
    )  # rounded: scores that are equal


def counted(low: np.ndarray, high: np.ndarray) -> set[tuple[int, ...]]:
    """The unit cells that a box of whole numbers holds."""
    return set(product(*(range(int(first), int(last)) for first, last in zip(low, high, strict=True))))


@pytest.mark.parametrize("axes", [2, 3])
def test_overlaps_are_the_share_of_cells_that_two_boxes_hold_both(axes: int) -> None:
    low, high, _ = random_boxes(1, 40, axes)
    cells = [counted(*each) for each in zip(low, high, strict=True)]
    for at in (0, 7, 39):
        wanted = [len(cells[at] & each) / len(cells[at] | each) for each in cells]
        assert overlaps(low, high, at) == pytest.approx(wanted)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("most", [0.0, 0.22, 0.5, 1.0])
def test_suppression_is_what_a_plain_search_of_all_pairs_finds(axes: int, most: float) -> None:
    for seed in range(8):
        low, high, scores = random_boxes(seed, 60, axes)
        cells = [counted(*each) for each in zip(low, high, strict=True)]
        wanted: list[int] = []
        for each in sorted(range(60), key=lambda at: (-scores[at], at)):
            if all(len(cells[each] & cells[one]) / len(cells[each] | cells[one]) <= most for one in wanted):
                wanted.append(each)
        assert kept(low, high, scores, most, 100).tolist() == wanted
        assert kept(low, high, scores, most, 3).tolist() == wanted[:3]


def test_suppression_of_nothing_is_nothing_and_boxes_without_size_do_not_overlap() -> None:
    nothing = np.zeros((0, 2))
    assert kept(nothing, nothing, np.zeros(0), 0.5, 10).tolist() == []
    points = np.ones((2, 3))
    assert overlaps(points, points, 0).tolist() == [0.0, 0.0]


def test_a_known_result() -> None:
    # Two boxes of 100 cells that share 50 have 50 of 150 in common: kept both at 0.34, one at 0.33.
    low, high = np.array([[0.0, 0.0], [0.0, 5.0]]), np.array([[10.0, 10.0], [10.0, 15.0]])
    scores = np.array([0.6, 0.9])
    assert overlaps(low, high, 0)[1] == pytest.approx(1 / 3)
    assert kept(low, high, scores, 0.34, 10).tolist() == [1, 0]
    assert kept(low, high, scores, 0.33, 10).tolist() == [1]


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("xyxy", (1, 2, 4, 8)),
        ("xxyy", (1, 4, 2, 8)),
        ("xywh", (1, 2, 3, 6)),
        ("ccwh", (2.5, 5, 3, 6)),
        ("cxcywh", (2.5, 5, 3, 6)),
        ("xyzxyz", (1, 2, 3, 4, 8, 9)),
        ("xxyyzz", (1, 4, 2, 8, 3, 9)),
        ("xyxyzz", (1, 2, 4, 8, 3, 9)),
        ("xyzwhd", (1, 2, 3, 3, 6, 6)),
        ("cccwhd", (2.5, 5, 6, 3, 6, 6)),
    ],
)
def test_each_format_gives_the_same_ends(form: str, row: tuple[float, ...]) -> None:
    low, high = FORMATS[form].ends(np.array([row], float))
    assert low[0].tolist() == [1, 2, 3][: len(row) // 2]
    assert high[0].tolist() == [4, 8, 9][: len(row) // 2]


def test_every_format_is_tried_above() -> None:
    assert len(FORMATS) == 10
