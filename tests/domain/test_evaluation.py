"""Figures of an evaluation against brute force, published examples, and what scikit-learn 1.9 said of the same data."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.domain.evaluation.about import About, metadata_auc
from imaging.domain.evaluation.calibration import calibration
from imaging.domain.evaluation.figures import Case, Wanted, evaluated
from imaging.domain.evaluation.labels import read_table
from imaging.domain.evaluation.logistic import fit
from imaging.domain.evaluation.proportions import Share, likelihood_ratio, wilson
from imaging.domain.evaluation.roc import area, auc, curve, delong_variance, newcombe

SCORES = np.array(
    [.05, .10, .10, .15, .20, .20, .25, .30, .30, .40, .45, .50, .55, .60, .70, .80, .85, .90, .90, .95]
)  # fmt: skip
TRUTH = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1], bool)
EACH_ONE = [str(number) for number in range(20)]
DATA = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({truth for _, truth in rows}) == 2
)


def cases(scores: Sequence[float], truth: Sequence[bool], threshold: float = 0.5) -> list[Case]:
    rows = enumerate(zip(scores, truth, strict=True))
    return [Case(str(number), str(number), kind, score, score >= threshold) for number, (score, kind) in rows]


# The area under the curve ------------------------------------------------------------------------------------


def test_the_area_and_the_curve_are_scikit_learns() -> None:
    assert auc(SCORES, TRUTH) == pytest.approx(0.7604166666666666)
    points = curve(SCORES, TRUTH)
    assert [round(x, 4) for x, _ in points] == [
        0, 0, .0833, .0833, .0833, .1667, .1667, .25, .3333, .3333, .4167, .5, .5833, .75, .75, .9167, 1,
    ]  # fmt: skip
    assert [y for _, y in points] == [
        0, .125, .25, .375, .5, .5, .625, .625, .625, .75, .75, .875, .875, .875, 1, 1, 1,
    ]  # fmt: skip


@given(DATA)
def test_the_area_is_the_share_of_pairs_in_order_and_ties_count_half(rows: list[tuple[int, bool]]) -> None:
    positive = [score for score, truth in rows if truth]
    negative = [score for score, truth in rows if not truth]
    pairs = [(a > b) + (a == b) / 2 for a, b in product(positive, negative)]
    scores, truth = np.array([each for each, _ in rows], float), np.array([each for _, each in rows])
    assert auc(scores, truth) == pytest.approx(np.mean(pairs))


@given(DATA)
def test_delongs_variance_is_that_of_its_structural_components(rows: list[tuple[int, bool]]) -> None:
    positive = np.array([score for score, truth in rows if truth], float)
    negative = np.array([score for score, truth in rows if not truth], float)
    order = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    wanted = sum(
        float(np.sum((part - order.mean()) ** 2)) / (len(part) - 1) / len(part)
        for part in (order.mean(axis=1), order.mean(axis=0))
        if len(part) > 1
    )
    scores, truth = np.array([each for each, _ in rows], float), np.array([each for _, each in rows])
    assert delong_variance(scores, truth) == pytest.approx(wanted, abs=1e-12)


def test_where_all_are_told_apart_the_interval_still_has_a_width_that_more_studies_narrow() -> None:
    widths = []
    for count in (5, 50, 500):
        scores, truth = np.r_[np.zeros(count), np.ones(count)], np.r_[np.zeros(count, bool), np.ones(count, bool)]
        found = area(scores, truth, [str(each) for each in range(2 * count)])
        assert found is not None
        assert (found.value, found.method, found.interval[1]) == (1.0, "newcombe", 1.0)
        widths.append(1 - found.interval[0])
    assert 0.4 > widths[0] > widths[1] > widths[2] > 0


def test_newcombes_bounds_are_those_from_which_the_area_is_1_96_of_their_standard_errors_away() -> None:
    for bound in newcombe(0.8, 30, 50):
        q1, q2 = bound / (2 - bound), 2 * bound**2 / (1 + bound)
        mean = (30 + 50) / 2 - 1  # Hanley and McNeil, with both counts replaced by their mean (method 5)
        variance = (bound * (1 - bound) + mean * (q1 - bound**2) + mean * (q2 - bound**2)) / (30 * 50)
        assert abs(0.8 - bound) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)


def test_a_bootstrap_draws_patients_and_not_their_studies() -> None:
    """Ten copies of each study say no more of the patients than one."""
    alone = area(SCORES, TRUTH, EACH_ONE)
    copied = area(np.tile(SCORES, 10), np.tile(TRUTH, 10), EACH_ONE * 10)
    taken_for_ten_times_as_many = area(np.tile(SCORES, 10), np.tile(TRUTH, 10), [str(each) for each in range(200)])
    assert alone is not None
    assert copied is not None
    assert taken_for_ten_times_as_many is not None
    width, narrow = (high - low for low, high in (copied.interval, taken_for_ten_times_as_many.interval))
    assert (alone.method, copied.method) == ("delong", "bootstrap-patient")
    assert width > 2 * narrow
    assert copied == area(np.tile(SCORES, 10), np.tile(TRUTH, 10), EACH_ONE * 10)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_bootstrap_and_delong_agree_where_a_patient_more_or_less_counts_little(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.arange(200) % 3 == 0
    scores = generator.normal(truth * 1.0)
    names = [str(each) for each in range(200)]
    one, other = area(scores, truth, names), area(scores[1:], truth[1:], [*names[2:], "199"])
    assert one is not None
    assert other is not None
    assert (one.method, other.method) == ("delong", "bootstrap-patient")
    assert np.allclose(one.interval, other.interval, atol=0.02)


# Shares and ratios -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_that_of_newcombes_table(hits: int, total: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3."""
    assert wilson(hits, total) == pytest.approx((low, high), abs=6e-5)


def test_lr_plus_is_sensitivity_over_false_positives_with_the_interval_of_its_logarithm() -> None:
    ratio = likelihood_ratio(Share(15, 25), Share(22, 158))
    assert ratio is not None
    assert ratio.value == pytest.approx((15 / 25) / (22 / 158))
    error = math.sqrt((1 - 0.6) / 15 + (1 - 22 / 158) / 22)
    assert np.log(ratio.interval) == pytest.approx(
        [math.log(ratio.value) - 1.959964 * error, math.log(ratio.value) + 1.959964 * error], abs=1e-6
    )


def test_lr_plus_without_a_false_positive_is_finite_and_says_that_a_half_was_added() -> None:
    ratio = likelihood_ratio(Share(40, 50), Share(0, 50))
    assert ratio is not None
    assert ratio.is_corrected
    assert ratio.value == pytest.approx((40.5 / 51) / (0.5 / 51))
    assert 1 < ratio.interval[0] < ratio.value < ratio.interval[1] < math.inf
    assert likelihood_ratio(Share(0, 0), Share(1, 5)) is None


# Calibration and what is known besides ------------------------------------------------------------------------


def test_calibration_and_ridge_are_scikit_learns() -> None:
    found = calibration(SCORES, TRUTH)
    assert found.brier == pytest.approx(0.200875)
    assert found.slope == pytest.approx(0.67531669, abs=1e-5)
    assert found.intercept == pytest.approx(-0.37894947, abs=1e-5)
    logit = np.log(SCORES / (1 - SCORES))
    assert fit(np.column_stack([logit, SCORES**2]), TRUTH, ridge=1.0) == pytest.approx(
        [-0.40690141, 0.58476555, 0.09522315], abs=1e-5
    )


def test_bins_have_equal_counts_and_hold_every_study_once() -> None:
    generator = np.random.default_rng(1)
    scores = generator.random(233)
    found = calibration(scores, generator.random(233) < scores)
    counts = [each.found.total for each in found.bins]
    assert (len(counts), sum(counts), max(counts) - min(counts)) == (10, 233, 1)
    assert [each.mean for each in found.bins] == sorted(each.mean for each in found.bins)
    assert found.slope == pytest.approx(1.0, abs=0.25)


def test_a_slope_that_has_no_end_is_none() -> None:
    found = calibration(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert (found.slope, found.intercept) == (None, None)


def test_age_that_tells_the_finding_is_found_and_chance_is_near_one_half() -> None:
    generator = np.random.default_rng(4)
    truth = generator.random(300) < 0.3
    names = [str(each) for each in range(300)]
    told = [About(age=40.0 + 30 * kind + generator.normal(0, 10)) for kind in truth]
    by_chance = [About(age=float(generator.integers(20, 90)), sex=str(generator.choice(["F", "M"]))) for _ in truth]
    found, chance = (metadata_auc(each, truth, names) for each in (told, by_chance))
    assert found is not None
    assert chance is not None
    assert found > 0.95
    assert 0.4 < chance < 0.6
    assert metadata_auc(told, truth, names) == found
    assert metadata_auc([About(sex="F")] * 300, truth, names) is None


def test_that_an_age_is_missing_counts_as_known() -> None:
    truth = np.arange(60) % 3 == 0
    known = [About(age=None if kind else 50.0) for kind in truth]
    assert metadata_auc(known, truth, [str(each) for each in range(60)]) == 1.0


# All together ------------------------------------------------------------------------------------------------


def test_studies_without_a_score_count_by_their_reasons_and_in_no_figure() -> None:
    scored = cases(SCORES.tolist(), TRUTH.tolist())
    without = [Case("a", "a", True, reason="view"), Case("b", "b", False, reason="view")]
    ended = [Case("c", "c", True, reason="was killed", is_failed=True)]
    found = evaluated([*scored, *without, *ended], Wanted())
    assert (found.refused, found.failed) == ({"view": 2}, {"was killed": 1})
    assert found.figures == evaluated(scored, Wanted()).figures
    assert (found.figures.n, found.figures.positives) == (20, 8)
    assert (found.figures.sensitivity, found.figures.specificity) == (Share(5, 8), Share(8, 12))


def test_the_suggestion_is_the_highest_threshold_that_reaches_the_sensitivity() -> None:
    for wanted in (0.5, 0.6, 0.75, 0.9, 1.0):
        found = evaluated(cases(SCORES.tolist(), TRUTH.tolist()), Wanted(sensitivity=wanted)).suggestion
        assert found is not None
        reached = {each: float((SCORES[TRUTH] >= each).mean()) for each in SCORES.tolist()}
        assert found.threshold == max(each for each, share in reached.items() if share >= wanted)
        assert found.specificity == Share(int((SCORES[~TRUTH] < found.threshold).sum()), 12)


def test_no_threshold_is_suggested_where_too_much_is_too_small_to_be_called() -> None:
    small = [Case(each.name, each.patient, each.truth, each.score, meets_rest=False) for each in cases([0.9], [True])]
    assert evaluated([*small, *cases([0.1, 0.8], [False, True])], Wanted(sensitivity=0.9)).suggestion is None


def test_calls_and_flags_a_day_follow_the_prevalence_that_is_stated() -> None:
    flagged = [Case(str(n), str(n), n < 10, 0.9, n < 8 or n >= 95, flag="stat" if n < 4 else "") for n in range(100)]
    load = evaluated(flagged, Wanted(studies_per_day=200, prevalence=0.05)).load
    assert load is not None
    assert load.called == pytest.approx(200 * (0.05 * 0.8 + 0.95 * 5 / 90))
    assert load.flags == {"stat": pytest.approx(200 * 0.05 * 0.4)}
    assert load.ppv == pytest.approx(0.05 * 0.8 / (0.05 * 0.8 + 0.95 * 5 / 90))
    assert load.npv == pytest.approx(0.95 * 85 / 90 / (0.95 * 85 / 90 + 0.05 * 0.2))


def test_one_kind_alone_has_no_area_and_no_ratio_and_still_has_its_share() -> None:
    found = evaluated(cases([0.2, 0.9, 0.8], [True, True, True]), Wanted())
    assert (found.figures.area, found.figures.lr_positive, found.suggestion, found.load) == (None, None, None, None)
    assert found.figures.sensitivity == Share(2, 3)
    assert evaluated([], Wanted()).figures.n == 0


def test_groups_hold_each_study_once_and_small_ones_are_marked() -> None:
    known = [About(sex="F", age=30)] * 40 + [About(sex="M", age=70)] * 10 + [About()] * 2
    every = [Case(str(n), str(n), n % 3 == 0, 0.5, about=each) for n, each in enumerate(known)]
    groups = evaluated(every, Wanted(by=("sex", "age"))).groups
    assert {name: (each.n, each.is_few) for name, each in groups["sex"].items()} == {
        "F": (40, False), "M": (10, True), "unknown": (2, True),
    }  # fmt: skip
    assert {name: each.n for name, each in groups["age"].items()} == {"18 to 39": 40, "65 and over": 10, "unknown": 2}


# The table ---------------------------------------------------------------------------------------------------


def test_a_table_is_read_by_its_head_whatever_separates_and_follows() -> None:
    for text in ("path,label\na,1\nb,0\n", "\ufeffLabel;Path;more\r\n1;a;x\r\n\r\n0;b;\r\n", "path\tlabel\na\t1\nb\t0"):
        table = read_table(text)
        assert ([(each.key, each.label) for each in table.rows], table.faults) == ([("a", True), ("b", False)], ())
    assert read_table("study_uid,label\n1.2,1\n").key == "study_uid"


def test_what_a_table_says_besides_is_known_of_the_study() -> None:
    text = "path,label,patient_id,age,sex,view\na,1,7,045Y,male,pa\nb,0,8,61,f,AP\nc,0,,old,,\n"
    assert [each.about for each in read_table(text).rows] == [
        About("7", 45.0, "M", "PA"), About("8", 61.0, "F", "AP"), About(),
    ]  # fmt: skip


def test_each_fault_of_a_table_has_its_line() -> None:
    table = read_table('path,label\na,1\nb,yes\n\na,0\n,1\n"c\nd",0\ne\n')
    assert [each.key for each in table.rows] == ["a", "c\nd"]
    assert table.faults == (
        "line 3: label 'yes' of b: expected 0 or 1",
        "line 5: a: a second label; the first is in line 2",
        "line 6: path is empty",
        "line 9: label '' of e: expected 0 or 1",
    )
    for text, fault in (("", "is empty"), ("a,b\n1,2", "expected path"), ("path,label\n", "has no labels")):
        assert [fault in each for each in read_table(text).faults] == [True]
