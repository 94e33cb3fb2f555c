"""The door: what goes in as instances comes out as an outcome, alone or in batches, the same each time."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import (
    answer,
    film_card,
    shared,
    sources_in,
    volume_card,
    write_film,
    write_film_network,
    write_series,
)

from imaging.domain.card import UNPROVEN, Calibration, Card, Golden, SegmentSpec, Step, Window
from imaging.domain.faults import PublicError
from imaging.domain.findings import NO_GOLDEN_CASE, Answer, State, TriageClass
from imaging.domain.reasons import NotAnalysable
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.engines import registry as engines
from imaging.inference.engines.engine import Arrays, Engine, Identity
from imaging.inference.engines.registry import load
from imaging.inference.golden import check
from imaging.memory import memory_limit


@pytest.fixture
def films(tmp_path: Path) -> list[Source]:
    draw = np.random.default_rng(7)
    return [write_film(tmp_path / f"film{n}.dcm", draw.integers(0, 4096, (60 + n, 50))) for n in range(6)]


def test_a_film_gets_findings_a_flag_and_its_provenance(tmp_path: Path, films: list[Source]) -> None:
    outcome = Analyser(film_card(tmp_path / "model")).analyse(films[:1])
    assert outcome.state is State.ANALYSED
    one, two = outcome.findings
    # The network gives the mean of the squares of a z-score, which is 1: logits 1 and 2.
    assert one.probability == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-4)
    assert one.present is True
    assert one.sop_instance_uids == (films[0].header.sop_instance_uid,)
    assert two.present is False
    assert outcome.flag is TriageClass.URGENT  # "stat" depends on a finding that is absent
    assert outcome.images == (films[0].ref,)
    assert outcome.facts["images"] == "1"
    assert outcome.facts["triage"] == "one >= 0.7: urgent"
    assert outcome.facts["engine"].startswith("onnxruntime ")
    assert set(outcome.timings_ms) == {"read", "prepare", "infer", "decode"}


def test_batches_mix_studies_and_change_no_answer(tmp_path: Path, films: list[Source]) -> None:
    analyser = Analyser(film_card(tmp_path / "model"))
    studies = [films[:1], films[1:3], films[3:6]]
    alone = [answer(analyser.analyse(study)) for study in studies]
    combined = [answer(each) for each in analyser.run([analyser.prepare(study) for study in studies])]
    assert combined == alone


def test_a_study_of_several_films_has_the_largest_probability_and_names_those_that_reach_it(tmp_path: Path) -> None:
    dark, grey = (
        np.random.default_rng(1).integers(0, 100, (64, 64)),
        np.random.default_rng(2).integers(0, 4096, (64, 64)),
    )
    sources = [write_film(tmp_path / "a.dcm", dark), write_film(tmp_path / "b.dcm", grey)]
    card = film_card(tmp_path / "model")
    card = replace(card, prepare=(*card.prepare[:1], Step("scale", {"factor": 3.0, "offset": 0.0})))
    outcome = Analyser(card).analyse(sources)
    assert outcome.findings[0].probability == max(
        Analyser(card).analyse([source]).findings[0].probability or 0.0 for source in sources
    )
    assert outcome.findings[0].sop_instance_uids == (sources[1].header.sop_instance_uid,)
    assert len(outcome.images) == 2


class Failing:
    """A network that cannot bear bright films, and no more than two at once. Stands in for a real fault."""

    identity = Identity("failing", "1", "none", "f32", "none", 1)
    max_batch = 4

    def run(self, arrays: Arrays, *, is_alone: bool = True) -> Arrays:
        batch = arrays["x"]
        if len(batch) > 2:
            raise MemoryError
        if (batch > 0.9).any():
            raise RuntimeError("patient NGUYEN^VAN A")
        return {"y": np.zeros((len(batch), 2), np.float32)}

    def close(self) -> None:
        pass


def test_a_bad_film_fails_alone_and_memory_is_found_by_halving(
    tmp_path: Path, films: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "load", lambda card, threads: Failing())
    card = replace(film_card(tmp_path / "model"), prepare=(Step("resize", {"shape": (32, 32), "aspect": "stretch"}),))
    bright = np.zeros((64, 64), int)
    bright[:40] = 4095
    studies = [[films[0]], [write_film(tmp_path / "bright.dcm", bright)], [films[1]], [films[2]]]
    analyser = Analyser(card)
    outcomes = analyser.run([analyser.prepare(study) for study in studies])
    assert [each.state for each in outcomes] == [State.ANALYSED, State.FAILED, State.ANALYSED, State.ANALYSED]
    assert outcomes[1].fault is not None
    assert outcomes[1].fault.startswith("RuntimeError at inference/running.py:")
    assert "NGUYEN" not in outcomes[1].fault


def test_a_network_that_gives_no_number_gives_no_finding(tmp_path: Path, films: list[Source]) -> None:
    card = film_card(tmp_path / "model")
    sha256 = write_film_network(tmp_path / "model", factor=float("nan"))
    outcome = Analyser(replace(card, engine=replace(card.engine, sha256=sha256))).analyse(films[:1])
    assert outcome.state is State.FAILED
    assert outcome.findings == ()
    assert outcome.fault == "the network's output y has values that are not numbers (NaN or infinite)"


def test_what_cannot_be_analysed_is_an_outcome_with_its_reason(tmp_path: Path, films: list[Source]) -> None:
    analyser = Analyser(film_card(tmp_path / "model"))
    blank = write_film(tmp_path / "blank.dcm", np.full((64, 64), 5))
    outcome = analyser.analyse([blank])
    assert (outcome.state, outcome.why, outcome.flag) == (State.NOT_ANALYSED, "pixels-blank", None)
    assert outcome.images == (blank.ref,)
    with pytest.raises(NotAnalysable, match="pixels-blank"):
        analyser.prepare([blank])
    beside = analyser.analyse([blank, films[0]])
    assert beside.state is State.ANALYSED
    assert beside.coverage.missing == {"pixels-blank": 1}
    assert beside.images == (films[0].ref,)


def test_a_model_whose_network_differs_from_its_card_says_both(tmp_path: Path, films: list[Source]) -> None:
    card = film_card(tmp_path / "model")
    card = replace(card, engine=replace(card.engine, inputs={"film": "image"}))
    outcome = Analyser(card).analyse(films[:1])
    assert outcome.state is State.FAILED
    wanted = "the card expects input image and output y"
    assert outcome.fault == f"model.onnx has the input x and the output y; {wanted}"
    with pytest.raises(PublicError, match=wanted):
        Analyser(card).warm()


def test_platt_scaling_moves_the_probability_and_keeps_the_score(tmp_path: Path, films: list[Source]) -> None:
    card = film_card(tmp_path / "model")
    first = replace(card.findings[0], calibration=Calibration("platt", a=0.5, b=-1.0))
    finding = Analyser(replace(card, findings=(first,))).analyse(films[:1]).findings[0]
    assert finding.score == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-4)
    assert finding.probability == pytest.approx(1 / (1 + np.exp(-(0.5 * 1.0 - 1.0))), abs=1e-4)


def test_what_the_card_says_of_a_finding_goes_with_the_answer_through_json(tmp_path: Path, films: list[Source]) -> None:
    card = film_card(tmp_path / "model")
    first = replace(card.findings[0], calibration=Calibration("platt", a=0.5, b=-1.0))
    weak = {"finding": "two", "auc": 0.6, "ci95": [0.5, 0.7]}
    answer = Analyser(replace(card, findings=(first, card.findings[1]), evidence=(weak,))).analyse(films[:1])
    value = Answer.from_json(json.loads(json.dumps(answer.to_json())))
    assert (value.unproven, [each.is_near_chance for each in value.findings]) == (NO_GOLDEN_CASE, [False, True])
    assert [each.is_calibrated for each in value.findings] == [True, False]
    before = answer.to_json()
    for each in (before, *before["findings"]):
        for key in ("unproven", "calibrated", "near_chance"):
            each.pop(key, None)
    assert Answer.from_json(before).unproven == ""


@pytest.mark.parametrize(
    ("evidence", "is_near"),
    [
        ({"auc": 0.9, "ci95": [0.51, 0.99]}, False),
        ({"auc": 0.56, "ci95": [0.46, 0.66]}, True),
        ({"auc": 0.5}, True),
        ({"auc": 0.51}, False),
        ({"sensitivity": 0.9, "ci95": [0.4, 0.99]}, False),  # an interval of something else
        ({"auc": "0.4", "ci95": "no list"}, False),
        ({}, False),
    ],
)
def test_a_finding_is_near_chance_where_an_evidence_does_not_exclude_it(
    tmp_path: Path, evidence: dict[str, Any], is_near: bool
) -> None:
    card = film_card(tmp_path / "model")
    good = {"finding": "one", "auc": 0.95, "ci95": [0.9, 0.99]}
    card = replace(card, evidence=(good, {"finding": "one", **evidence}))
    assert [card.is_near_chance(each) for each in card.findings] == [is_near, False]


# Volumes -----------------------------------------------------------------------------------------------------


def head(bleed: bool) -> np.ndarray:
    """20 slices of 40 x 40: water, and where asked a block of 60 HU."""
    values = np.zeros((20, 40, 40), int)
    values[2:18, 4:36, 4:36] = 5
    if bleed:
        values[8:14, 10:20, 20:32] = 60
    return values


def head_series(folder: Path, bleed: bool) -> list[Source]:
    return write_series(folder, head(bleed), np.arange(20) * 3.0, spacing=(1.0, 1.0), start=(-10.0, -20.0, 5.0))


def test_a_segment_is_measured_where_it_lies_in_the_patient(tmp_path: Path) -> None:
    sources = head_series(tmp_path / "s", bleed=True)
    outcome = Analyser(volume_card(tmp_path / "model")).analyse(sources)
    (finding,) = outcome.findings
    assert outcome.state is State.ANALYSED
    assert outcome.flag is TriageClass.STAT
    assert finding.present is True
    assert finding.probability is not None
    assert finding.probability > 0.9
    measured = {each.unit: each.value for each in finding.measurements}
    assert measured["ml"] == pytest.approx(6 * 3 * 10 * 12 / 1000, rel=0.05)
    assert measured["[hnsf'U]"] == pytest.approx(60, abs=2)
    assert measured["mm"] == pytest.approx(np.sqrt(15**2 + 9**2 + 11**2), abs=2.5)
    assert finding.centre_mm is not None
    assert np.allclose(finding.centre_mm, (-10 + 25.5, -20 + 14.5, 5 + 3 * 10.5), atol=0.6)
    held = {sources[at].header.sop_instance_uid for at in range(8, 14)}
    assert len(finding.sop_instance_uids) == 3
    assert set(finding.sop_instance_uids) <= held
    assert len(outcome.images) == 20
    assert outcome.facts["volume"] == "even"
    assert outcome.facts["prepared_mm"] == "2x1x1"


def test_a_card_in_the_order_right_anterior_superior_finds_the_same(tmp_path: Path) -> None:
    sources = head_series(tmp_path / "s", bleed=True)
    card = volume_card(tmp_path / "model")
    steps = (Step("orient", {"to": "RAS"}), Step("resample", {"spacing": (1.0, 1.0, 2.0)}), card.prepare[2])
    turned = replace(card, prepare=steps, engine=replace(card.engine, window=Window((16, 16, 8), batch=3)))
    one, other = (Analyser(each).analyse(sources) for each in (card, turned))
    assert other.facts["prepared_mm"] == "1x1x2"
    assert other.findings[0].present
    assert other.findings[0].centre_mm == one.findings[0].centre_mm
    assert other.findings[0].measurements == one.findings[0].measurements


def test_a_clean_volume_has_an_absent_finding_without_measurements(tmp_path: Path) -> None:
    outcome = Analyser(volume_card(tmp_path / "model")).analyse(head_series(tmp_path / "s", bleed=False))
    (finding,) = outcome.findings
    assert (finding.present, finding.probability, finding.measurements) == (False, 0.0, ())
    assert outcome.flag is None


def test_components_that_are_too_small_are_dropped(tmp_path: Path) -> None:
    card = volume_card(tmp_path / "model")
    (segment,) = card.findings
    assert isinstance(segment, SegmentSpec)
    card = replace(card, findings=(replace(segment, min_ml=50.0),))
    assert Analyser(card).analyse(head_series(tmp_path / "s", bleed=True)).findings[0].present is False


def test_the_same_input_gives_the_same_answer_in_any_order(tmp_path: Path) -> None:
    sources = head_series(tmp_path / "s", bleed=True)
    card = volume_card(tmp_path / "model")
    answers = {
        answer(Analyser(card, threads).analyse(order)) for threads in (1, 2) for order in (sources, sources[::-1])
    }
    assert len(answers) == 1


def test_a_window_of_patches_gives_what_the_whole_volume_gives(tmp_path: Path) -> None:
    sources = head_series(tmp_path / "s", bleed=True)
    card = volume_card(tmp_path / "model")
    whole = replace(card, engine=replace(card.engine, window=None))
    analysers = [Analyser(each) for each in (card, whole)]
    for each in analysers:
        each.warm()
    patched, at_once = (each.analyse(sources).findings[0] for each in analysers)
    assert patched.measurements == at_once.measurements
    assert patched.probability == pytest.approx(at_once.probability, abs=1e-5)


def test_an_engine_that_lacks_memory_is_the_machines_trouble_and_no_failure(tmp_path: Path) -> None:
    sources = head_series(tmp_path / "s", bleed=True)
    card = volume_card(tmp_path / "model")
    fine = (Step("orient", {"to": "SAR"}), Step("resample", {"spacing": (1.0, 0.1, 0.1)}), card.prepare[2])
    analyser = Analyser(replace(card, prepare=fine, engine=replace(card.engine, window=None)))
    analyser.run([analyser.prepare(head_series(tmp_path / "t", bleed=True))])
    prepared = analyser.prepare(sources)
    held_mb = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") >> 20
    with memory_limit(held_mb + 2):
        (outcome,) = analyser.run([prepared])
    assert (outcome.state, outcome.why) == (State.NOT_ANALYSED, "memory")


def test_the_real_head_runs_through_a_whole_model(tmp_path: Path) -> None:
    card = volume_card(tmp_path / "model")
    card = replace(card, engine=replace(card.engine, window=Window((40, 128, 128))))
    outcome = Analyser(card, threads=2).analyse(sources_in(shared("ct/ge_head_human")))
    assert outcome.state is State.ANALYSED  # skull is brighter than 40 HU: this network finds it
    assert outcome.facts["volume"] == "uneven"
    assert outcome.facts["tilt_degrees"] == "18.5"


# Golden cases and engines ------------------------------------------------------------------------------------


def golden_card(folder: Path, probability: float) -> Card:
    card = film_card(folder)
    write_film(folder / "film.dcm", np.random.default_rng(7).integers(0, 4096, (64, 64)))
    expected = {"findings": [{"code": "one", "probability": probability, "present": True}]}
    (folder / "expected.json").write_text(json.dumps(expected))
    return replace(card, golden=Golden("film.dcm", "expected.json", 1e-3))


def test_a_golden_case_passes_where_the_known_answer_comes_out(tmp_path: Path) -> None:
    assert check(golden_card(tmp_path / "right", 0.731059)).passed
    wrong = check(golden_card(tmp_path / "wrong", 0.9))
    assert not wrong.passed
    assert "one: probability is 0.731" in wrong.faults[0]


def test_a_golden_case_says_what_keeps_it_from_running(tmp_path: Path) -> None:
    card = golden_card(tmp_path / "model", 0.7)
    assert check(replace(card, golden=None)).faults == (UNPROVEN,)
    (tmp_path / "model" / "expected.json").write_text('{"findings": [{"code": "one", "present": "NGUYEN^VAN"}]}')
    (fault,) = check(card).faults
    assert fault.startswith("ValueError at inference/golden.py:")
    assert "NGUYEN" not in fault
    (tmp_path / "model" / "expected.json").write_text("{}")
    assert check(card).faults[0].startswith("KeyError at inference/golden.py:")
    assert not check(replace(card, engine=replace(card.engine, outputs=("z",)))).passed


@pytest.fixture(params=["onnxruntime"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return load(film_card(tmp_path / "model"), 1)


def test_an_engine_gives_a_row_per_input_and_the_same_one_each_time(engine: Engine) -> None:
    batch = np.random.default_rng(1).normal(size=(3, 1, 32, 32)).astype(np.float32)
    first = engine.run({"x": batch})["y"]
    assert first.shape == (3, 2)
    assert first.dtype == np.float32
    assert np.array_equal(engine.run({"x": batch})["y"], first)
    assert np.allclose(engine.run({"x": batch[1:2]})["y"], first[1:2], atol=1e-6)
    engine.close()


def test_a_network_of_a_fixed_batch_size_takes_any_number_of_films(tmp_path: Path) -> None:
    card = film_card(tmp_path / "model")
    batch = np.random.default_rng(1).normal(size=(5, 1, 32, 32)).astype(np.float32)
    free = load(card, 1).run({"x": batch})["y"]
    sha256 = write_film_network(tmp_path / "model", batch=3)
    fixed = replace(card, engine=replace(card.engine, sha256=sha256))
    assert np.allclose(load(fixed, 1).run({"x": batch})["y"], free, atol=1e-6)


def test_several_threads_may_use_one_analyser(tmp_path: Path, films: list[Source]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    analyser = Analyser(film_card(tmp_path / "model"))

    def answers(study: Sequence[Source]) -> str:
        return answer(analyser.analyse(study))

    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(answers, [[film] for film in films * 3]))
    assert several == [answers([film]) for film in films] * 3
