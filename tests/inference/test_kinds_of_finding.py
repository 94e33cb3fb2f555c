"""Numbers, boxes, outlines and labels of volumes as they are decoded, and what is said of an output that cannot be."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import need_monai
from inference_cases import film_card, volume_card, write_film, write_series
from onnx import TensorProto, helper, numpy_helper
from small_models import write_detector, write_network

from imaging.domain.boxes import FORMATS, kept
from imaging.domain.card import (
    BoxesSpec,
    Card,
    Engine,
    FilmInput,
    FindingSpec,
    Gate,
    LabelSpec,
    NumberSpec,
    SegmentSpec,
    Step,
    TriageRule,
    VolumeInput,
)
from imaging.domain.codes import Code
from imaging.domain.findings import Finding, ImageRef, State, TriageClass
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.models.copies import digest_of

CODE = Code("99IMAGING", "it", "It")
BOXES = BoxesSpec(0, CODE, activation="none", output="boxes", scores="scores", axes="yx")


def giving(folder: Path, outputs: Mapping[str, Any], *findings: FindingSpec) -> Card:
    """A film model that gives these whatever the film shows, its input 32 x 32."""
    card = film_card(folder, findings=findings)
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    weights = [numpy_helper.from_array(values, f"{name}_0") for name, values in arrays.items()]
    nodes = [helper.make_node("Identity", [f"{name}_0"], [name]) for name in arrays]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 32, 32])
    made = [helper.make_empty_tensor_value_info(name) for name in arrays]
    model = helper.make_model(
        helper.make_graph(nodes, "given", [x], made, weights), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    names = tuple(dict.fromkeys(name for each in findings for name in (each.output or "y", *each.further_outputs)))
    return replace(card, engine=_engine(path, names), triage=())


def _engine(path: Path, names: tuple[str, ...]) -> Engine:
    return Engine("onnx", "model.onnx", digest_of(path), {"film": "x"}, names)


def floats(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def film(path: Path, **elements: Any) -> Source:
    return write_film(path, np.arange(64 * 64).reshape(64, 64) % 4096, **elements)


def found(card: Card, *sources: Source) -> Finding:
    answer = Analyser(card).analyse(sources)
    assert answer.state is State.ANALYSED, answer.why
    (finding,) = answer.findings
    assert Finding.from_json(finding.to_json()) == finding
    return finding


def fault(card: Card, *sources: Source) -> str:
    answer = Analyser(card).analyse(sources)
    assert (answer.state, answer.findings) == (State.FAILED, ())
    return str(answer.fault)


# Boxes -------------------------------------------------------------------------------------------------------------

TWO = floats([[[2, 2, 10, 10], [3, 3, 10, 10], [20, 4, 28, 8]]])
SCORES = floats([[0.9, 0.6, 0.7]])


def test_of_boxes_that_overlap_one_is_told_and_the_highest_score_is_the_probability(tmp_path: Path) -> None:
    finding = found(giving(tmp_path / "m", {"boxes": TWO, "scores": SCORES}, BOXES), film(tmp_path / "f.dcm"))
    assert [each.score for each in finding.places] == pytest.approx([0.9, 0.7])
    assert finding.probability == pytest.approx(0.9)
    # The film has 64 pixels where the input has 32: pixel i of the input has its centre at 2 i + 0.5.
    assert finding.places[0].box == (4.5, 4.5, 20.5, 20.5)
    assert finding.places[1].box == (8.5, 40.5, 16.5, 56.5)  # rows first: 20 to 28, columns 4 to 8
    top = replace(BOXES, top=1)
    assert (
        len(found(giving(tmp_path / "t", {"boxes": TWO, "scores": SCORES}, top), film(tmp_path / "g.dcm")).places) == 1
    )


@pytest.mark.parametrize(
    ("outputs", "spec", "scores"),
    [
        ({"boxes": TWO[0], "scores": SCORES[0]}, BOXES, [0.9, 0.7]),  # without a batch
        ({"boxes": TWO, "scores": floats([[[0, 2], [0, 0], [0, 1]]])}, replace(BOXES, channel=1, activation="sigmoid"),
         [0.880797, 0.731059]),
        ({"boxes": TWO, "scores": floats([[[0, 2], [9, 0], [0, 0]]])}, replace(BOXES, channel=1, activation="softmax"),
         [0.880797, 0.5]),
        ({"boxes": TWO, "scores": SCORES, "labels": np.array([[7, 3, 7]])}, replace(BOXES, channel=3, labels="labels"),
         [0.6]),
        ({"boxes": TWO, "scores": floats([[0.9, 0.6, 0.01]])}, BOXES, [0.9]),
        ({"boxes": floats(np.zeros((1, 0, 4))), "scores": floats(np.zeros((1, 0)))}, BOXES, []),
        ({"boxes": floats([[[2, 2, 10, 10], [-1, -1, -1, -1], [99, 0, -5, 0]]]), "scores": floats([[0.9, 0.0, 0.0]])},
         BOXES, [0.9]),  # rows that only fill up
        ({"boxes": floats([[[-9, 2, 10, 40], [-9, -9, -2, -2]]]), "scores": floats([[0.9, 0.8]])}, BOXES, [0.9]),
    ],
    ids=["no batch", "sigmoid", "softmax", "labels", "score_min", "no boxes", "filled up", "cut to the input"],
)  # fmt: skip
def test_scores_come_in_several_forms(
    tmp_path: Path, outputs: Mapping[str, Any], spec: BoxesSpec, scores: Sequence[float]
) -> None:
    finding = found(giving(tmp_path / "m", outputs, spec), film(tmp_path / "f.dcm"))
    assert [each.score for each in finding.places] == pytest.approx(scores, abs=1e-6)
    assert finding.probability == pytest.approx(max(scores, default=0.0), abs=1e-6)
    assert finding.present is (max(scores, default=0.0) >= 0.5)


@pytest.mark.parametrize(
    ("outputs", "spec", "text"),
    [
        ({"boxes": floats(TWO * np.nan), "scores": SCORES}, BOXES, "boxes has values that are not numbers"),
        ({"boxes": TWO, "scores": floats([[0.9, np.inf, 0.7]])}, BOXES, "scores has values that are not numbers"),
        ({"boxes": TWO, "scores": floats([[0.9, 3, 0.7]])}, BOXES, 'outside 0..1, but the card has score = "none"'),
        ({"boxes": floats([[[10, 2, 2, 10]]]), "scores": floats([[0.9]])}, BOXES,
         'has a box of a negative size, read as "xyxy": is this its format?'),
        ({"boxes": floats([[[2, 2, 10, 100]]]), "scores": floats([[0.9]])}, BOXES, "beyond the input (32 x 32)"),
        ({"boxes": floats([[[-300, 2, 10, 10]]]), "scores": floats([[0.9]])}, BOXES, "further beyond the input"),
        ({"boxes": TWO, "scores": SCORES[:, :2]}, BOXES, "3, 2 rows of boxes, scores and labels"),
        ({"boxes": TWO[..., :3], "scores": SCORES}, BOXES, "(1, 3, 3) for 1 input, expected (batch, boxes, 4)"),
        ({"boxes": TWO, "scores": SCORES}, replace(BOXES, format="xyzxyz", axes="zyx"), "expected (batch, boxes, 6)"),
        ({"boxes": TWO, "scores": SCORES}, replace(BOXES, channel=1), "or (batch, boxes, at least 2) of"),
        ({"boxes": TWO, "scores": SCORES}, replace(BOXES, activation="softmax"), "at least 2) of scores"),
        ({"boxes": np.concatenate([TWO, TWO]), "scores": SCORES}, BOXES, "(2, 3, 4) for 1 input"),
        ({"boxes": TWO.astype(np.int64), "scores": SCORES}, BOXES, "is int64"),
        ({"boxes": TWO, "scores": SCORES, "labels": np.array([["a", "b", "c"]])}, replace(BOXES, labels="labels"),
         "is string"),
    ],
)  # fmt: skip
def test_boxes_that_cannot_be_are_a_fault_in_words(
    tmp_path: Path, outputs: Mapping[str, Any], spec: BoxesSpec, text: str
) -> None:
    assert text in fault(giving(tmp_path / "m", outputs, spec), film(tmp_path / "f.dcm"))


def test_formats_and_suppression_are_monais(tmp_path: Path) -> None:
    need_monai()
    import torch
    from monai.data.box_utils import convert_box_mode, non_max_suppression

    rng = np.random.default_rng(5)
    low = rng.random((50, 3)) * 20
    boxes, scores = np.concatenate([low, low + 1 + rng.random((50, 3)) * 9], axis=1), rng.random(50)
    for name in ("xyzxyz", "xxyyzz", "xyxyzz", "xyzwhd", "cccwhd"):
        rows = convert_box_mode(torch.from_numpy(boxes), "xyzxyz", name).numpy()
        np.testing.assert_allclose(np.concatenate(FORMATS[name].ends(rows), axis=1), boxes, atol=1e-9)
    for most in (0.05, 0.22, 0.5):
        theirs = non_max_suppression(torch.from_numpy(boxes), torch.from_numpy(scores), most, 100)
        assert kept(boxes[:, :3], boxes[:, 3:], scores, most, 100).tolist() == theirs.tolist()


def test_of_stacks_that_lie_in_each_other_a_box_is_told_once(tmp_path: Path) -> None:
    """A table that moved: the lower and the upper half were taken as two stacks, and each is seen with the other."""
    values = np.zeros((12, 32, 32))
    values[5:8, 10:16, 12:20] = 1000  # across the border
    lower = write_series(tmp_path / "a", values[:6], np.arange(6) * 4.0)
    turned = (0.9998, 0.02, 0, -0.02, 0.9998, 0)
    upper = write_series(tmp_path / "b", values[6:], np.arange(6) * 4.0 + 24, orientation=turned)
    spec = replace(BOXES, format="xyzxyz", axes="zyx")
    card = volume_card(
        tmp_path / "m",
        inputs=(VolumeInput("ct", ("CT",), slices=(3, 600)),),
        prepare=(Step("window", {"low": 0.0, "high": 1000.0}),),
        findings=(spec,),
        triage=(),
    )
    engine = Engine("onnx", "model.onnx", write_detector(card.folder, 3), {"ct": "x"}, ("boxes", "scores"))
    answer = Analyser(replace(card, engine=engine)).analyse([*lower, *upper])
    assert answer.facts["stacks"] == "2"
    (finding,) = answer.findings
    assert len(finding.places) == 1


# Numbers -----------------------------------------------------------------------------------------------------------

AGE = NumberSpec(0, CODE, unit="mo", range=(0.0, 240.0), factor=24.0, offset=12.0)


def test_a_number_is_measured_of_each_film_and_is_neither_present_nor_absent(tmp_path: Path) -> None:
    card = giving(tmp_path / "m", {"y": floats([[5.123]])}, AGE)
    first, second = film(tmp_path / "a.dcm"), film(tmp_path / "b.dcm")
    one = found(card, first)
    assert (one.present, one.is_measured_only, one.probability, one.threshold) == (None, True, None, None)
    assert [(each.code, each.value, each.unit) for each in one.measurements] == [(CODE, 134.95, "mo")]
    both = found(card, first, second)
    assert {each.sop_instance_uids for each in both.measurements} == {
        (each.header.sop_instance_uid,) for each in (first, second)
    }


@pytest.mark.parametrize(
    ("low", "high", "present"), [(100.0, None, True), (None, 100.0, False), (130.0, 140.0, True), (140.0, None, False)]
)
def test_a_number_may_be_present_by_its_range_and_raise_a_flag_by_its_value(
    tmp_path: Path, low: float | None, high: float | None, present: bool
) -> None:
    card = giving(tmp_path / "m", {"y": floats([[5.0]])}, replace(AGE, at_least=low, at_most=high))
    rules = (
        TriageRule("it", None, TriageClass.URGENT, value_least=100.0),
        TriageRule("it", None, TriageClass.STAT, value_most=100.0),
    )
    answer = Analyser(replace(card, triage=rules)).analyse([film(tmp_path / "f.dcm")])
    assert answer.findings[0].present is present
    assert answer.triage is (TriageClass.URGENT if present else None)
    assert rules[0].text == "it value >= 100: urgent"


@pytest.mark.parametrize("value", [-1.0, 9.6, np.nan])
def test_a_number_that_cannot_be_is_a_fault_in_words(tmp_path: Path, value: float) -> None:
    text = fault(giving(tmp_path / "m", {"y": floats([[value]])}, AGE), film(tmp_path / "f.dcm"))
    assert ("not numbers" if np.isnan(value) else "a value outside 0..240 mo, the card's range") in text
    if value == value:
        assert f"{value:g}" not in text  # a value of the patient's images is told to nobody


# Volumes: labels and numbers ---------------------------------------------------------------------------------------


def pooled(folder: Path, *findings: FindingSpec) -> Card:
    """A volume model whose logits are the mean of what lies between 0 and 80 HU, in shares of 1, twice."""
    card = volume_card(
        folder,
        inputs=(VolumeInput("ct", ("CT",), slices=(3, 600), gates=(Gate("BodyPartExamined", ("HEAD",)),)),),
        prepare=(Step("window", {"low": 0.0, "high": 80.0}),),
        findings=findings,
        triage=(),
    )
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Concat", ["flat", "flat"], ["y"], axis=1),
    ]
    sha256 = write_network(folder, nodes, [], ["n", 1, "d", "h", "w"], ["n", 2])
    return replace(card, engine=Engine("onnx", "model.onnx", sha256, {"ct": "x"}, ("y",)))


def series(folder: Path, count: int = 8, **elements: Any) -> list[Source]:
    values = np.full((count, 32, 32), 80)
    values[0, 0, 0] = -1000
    return write_series(folder, values, np.arange(count) * 4.0, **elements)


def test_a_label_of_a_volume_is_one_probability_and_names_no_slice(tmp_path: Path) -> None:
    spec = LabelSpec(1, CODE, activation="none", threshold=0.9)
    finding = found(pooled(tmp_path / "m", spec), *series(tmp_path / "s"))
    assert (finding.present, finding.sop_instance_uids) == (True, ())
    assert finding.probability == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    "spec",
    [
        LabelSpec(1, CODE, activation="none", threshold=1.0),
        NumberSpec(0, CODE, unit="%", range=(0.0, 100.0), factor=100.0, at_most=40.0),
        NumberSpec(0, CODE, unit="%", range=(0.0, 100.0), factor=100.0),
    ],
)
def test_what_is_not_found_where_images_are_missing_is_undetermined(tmp_path: Path, spec: FindingSpec) -> None:
    sources = series(tmp_path / "s")
    neck = series(tmp_path / "t", 2, start=(-20.0, -30.0, -3.0), BodyPartExamined="NECK")  # of the same series
    card = pooled(tmp_path / "m", spec)
    assert found(card, *sources).present is (None if found(card, *sources).is_measured_only else False)
    answer = Analyser(card).analyse([*sources, *neck])
    assert (answer.state, answer.coverage.missed > 0) == (State.ANALYSED, True), answer.why
    assert answer.findings[0].present is None


@pytest.mark.parametrize(
    ("outputs", "spec"),
    [
        ({"boxes": TWO, "scores": SCORES / 2}, BOXES),
        ({"y": floats([[5.0]])}, NumberSpec(0, CODE, unit="mo", range=(0.0, 240.0), at_least=9.0)),
        ({"y": floats(np.zeros((1, 1, 32, 32)))}, SegmentSpec(0, CODE, activation="none", measure=("area_mm2",))),
    ],
    ids=["boxes", "number", "segment"],
)
def test_what_is_on_no_film_that_could_be_read_is_undetermined_where_another_could_not(
    tmp_path: Path, outputs: Mapping[str, Any], spec: FindingSpec
) -> None:
    card, whole = giving(tmp_path / "m", outputs, spec), film(tmp_path / "a.dcm")
    assert found(card, whole).present is False
    broken = film(tmp_path / "b.dcm", BitsAllocated=32)
    finding = found(card, whole, broken)
    assert finding.present is None


# Outlines on films -------------------------------------------------------------------------------------------------

OUTLINE = SegmentSpec(
    0,
    CODE,
    activation="none",
    measure=("area_mm2", "max_diameter_mm"),
    present={"area_mm2": 500.0},
    probability="max-component-mean",
)


def outlining(folder: Path, spec: SegmentSpec = OUTLINE) -> Card:
    card = film_card(folder, findings=(spec,))
    sha256 = write_network(
        folder, [helper.make_node("Identity", ["x"], ["y"])], [], ["n", 1, "h", "w"], ["n", 1, "h", "w"]
    )
    engine = Engine("onnx", "model.onnx", sha256, {"film": "x"}, ("y",))
    steps = (Step("resize", {"shape": (64, 64), "aspect": "pad"}),)
    return replace(card, engine=engine, prepare=steps, triage=())


def outlined(path: Path, *boxes: Sequence[int], **elements: Any) -> Source:
    pixels = np.full((256, 192), 100, np.uint16)
    for left, top, right, bottom in boxes:
        pixels[top : bottom + 1, left : right + 1] = 4000
    return write_film(path, pixels, **elements)


@pytest.mark.parametrize("orientation", ["L\\F", "R\\H", "F\\L", "H\\R", "F\\R"])
def test_an_outline_is_measured_on_the_image_as_it_is_stored(tmp_path: Path, orientation: str) -> None:
    # Eight-fold sides, so that each edge lies between two of the network's pixels, which are four of the film's.
    source = outlined(
        tmp_path / "f.dcm", (40, 64, 79, 103), (120, 200, 127, 207),
        PatientOrientation=orientation, ImagerPixelSpacing=[0.5, 0.4],
    )  # fmt: skip
    finding = found(outlining(tmp_path / "m"), source)
    area, diameter = finding.measurements
    assert (area.unit, diameter.unit) == ("mm2", "mm")
    assert area.value == pytest.approx((40 * 40 + 8 * 8) * 0.5 * 0.4)
    assert diameter.value == pytest.approx(float(np.hypot(39 * 0.5, 39 * 0.4)), abs=0.06)
    assert [each.box for each in finding.places] == [(39.5, 63.5, 79.5, 103.5), (119.5, 199.5, 127.5, 207.5)]
    assert finding.places[0].centre == (59.5, 83.5)
    assert (finding.present, finding.sop_instance_uids) == (False, ())  # 332.8 of 500 mm2
    large = replace(OUTLINE, present={"area_mm2": 300.0})
    assert found(outlining(tmp_path / "n", large), source).sop_instance_uids == (source.header.sop_instance_uid,)


@pytest.mark.parametrize("elements", [{}, {"PixelSpacing": [0.5, 0.4]}, {"ImagerPixelSpacing": [0.0, 0.4]}])
def test_without_the_size_of_a_pixel_at_the_detector_nothing_is_in_mm_nor_present_by_it(
    tmp_path: Path, elements: Mapping[str, Any]
) -> None:
    source = outlined(tmp_path / "f.dcm", (40, 64, 79, 103), **elements)
    finding = found(outlining(tmp_path / "m"), source)
    assert [(each.value, each.unit) for each in finding.measurements] == [
        (1600, "{pixels}"),
        (pytest.approx(39 * 2**0.5, abs=0.06), "{pixels}"),
    ]
    assert finding.present is None
    by_probability = replace(OUTLINE, present={})
    assert found(outlining(tmp_path / "n", by_probability), source).present is True
    assert found(outlining(tmp_path / "o"), outlined(tmp_path / "clean.dcm", (0, 0, 0, 0), **elements)).present is False


def test_of_several_films_an_outline_is_measured_on_the_one_where_it_is_largest(tmp_path: Path) -> None:
    films = [
        outlined(tmp_path / f"{each}.dcm", (8, 8, 8 * each + 7, 47), ImagerPixelSpacing=[1, 1]) for each in (2, 5, 3)
    ]
    finding = found(outlining(tmp_path / "m", replace(OUTLINE, present={"area_mm2": 700.0})), *films)
    assert finding.measurements[0].value == 40 * 40
    assert set(finding.sop_instance_uids) == {films[1].header.sop_instance_uid, films[2].header.sop_instance_uid}
    assert finding.places[0].image[0] == films[1].header.sop_instance_uid


def test_an_empty_film_gets_an_answer_of_the_form_of_real_ones(tmp_path: Path) -> None:
    image = ImageRef("1.2", "1.3", "1.4")
    detector = giving(tmp_path / "d", {"boxes": TWO, "scores": SCORES}, BOXES)
    assert Analyser(detector).of_nothing(image).findings[0].places
    assert Analyser(outlining(tmp_path / "o")).of_nothing(image).state is State.ANALYSED
    card = film_card(tmp_path / "m", findings=(LabelSpec(0, CODE),))
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 3, 4], keepdims=0)
    sha256 = write_network(tmp_path / "m", [mean], [], ["n", "films", 1, 32, 32], ["n", 1])
    films = FilmInput("film", ("DX",), images="all")
    card = replace(card, inputs=(films,), engine=replace(card.engine, sha256=sha256), triage=())
    assert Analyser(card).of_nothing(image).findings[0].probability == 0.5
