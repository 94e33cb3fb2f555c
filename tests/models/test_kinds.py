"""Cards of boxes, numbers, outlines on films and labels of volumes: what they say, and what they cannot."""

import re
import tomllib
from pathlib import Path

import pytest
from card_cases import CHEST, HEAD, faults, written
from small_models import CARD, FILM, without_finding, write_detector, write_placed

from imaging.domain.card import BoxesSpec, LabelSpec, NumberSpec, SegmentSpec
from imaging.domain.tables import CardError, Faults, Table
from imaging.models.outputs import read_finding
from imaging.models.reading import read_card

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
NODULE = """
[[finding]]
as = "boxes"
code = {scheme = "SCT", value = "27925004", meaning = "Nodule"}
outputs = {boxes = "boxes", scores = "scores"}
decode = {format = "xyxy", axes = "xy", score = "sigmoid", score_min = 0.02, nms = 0.22, top = 100}
present = {score = ">=0.5"}
"""
AGE = """
[[finding]]
as = "number"
channel = 0
code = {scheme = "99IMAGING", value = "age", meaning = "Bone age"}
unit = "mo"
range = [0, 240]
present = {value = ">=120"}
"""


def of_films(finding: str) -> str:
    """The chest film's card with this finding alone."""
    head, _, _ = CHEST.partition("[[finding]]")
    return head + finding


def of_volumes(finding: str) -> str:
    head, _, _ = HEAD.partition("[engine.window]")
    return head + finding


def test_the_examples_of_the_docs_are_read_as_they_stand() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    found = {}
    for each in blocks:
        for data in tomllib.loads(each).get("finding", []):
            noted = Faults(DOCS)
            spec = read_finding(Table(data, "finding", noted))
            if data.get("as") in ("boxes", "number"):
                assert noted.lines == []
                found[spec.kind] = spec
    boxes, number = found["boxes"], found["number"]
    assert isinstance(boxes, BoxesSpec)
    assert (boxes.format, boxes.axes, boxes.zero, boxes.nms, boxes.top) == ("cccwhd", "xyz", "centre", 0.22, 100)
    assert (boxes.activation, boxes.threshold, boxes.score_min) == ("sigmoid", 0.5, 0.02)
    assert isinstance(number, NumberSpec)
    assert (number.unit, number.range, number.is_measured_only) == ("mo", (0.0, 240.0), True)


def test_one_network_may_answer_in_every_kind(tmp_path: Path) -> None:
    models = write_placed(tmp_path)
    film, volume = read_card(models / "film-places"), read_card(models / "volume-places")
    kinds = [BoxesSpec, LabelSpec, NumberSpec, NumberSpec]
    assert [type(each) for each in film.findings] == [*kinds, SegmentSpec]
    assert [type(each) for each in volume.findings] == kinds
    assert film.engine.outputs == ("boxes", "scores", "mean", "map")
    assert [(each.at_least, each.at_most) for each in film.findings if isinstance(each, NumberSpec)] == [
        (None, None),
        (None, 90.0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("nms = 0.22, ", "", "finding[0].decode.nms = absent: is required: a number (nms-absent)"),
        ('axes = "xy", ', "", "decode.axes = absent: is required: text (axes-absent)"),
        ('format = "xyxy", ', "", "decode.format = absent: is required: text (format-absent)"),
        ('axes = "xy"', 'axes = "xz"', 'must name each of x, y once, in the order in which "xyxy"'),
        ('axes = "xy"', 'axes = "xyz"', "(axes-form)"),
        ('"xyxy"', '"xyxyxy"', "must be one of xyxy, xxyy, xywh, ccwh, cxcywh, xyzxyz"),
        ('format = "xyxy", axes = "xy"', 'format = "cccwhd", axes = "xyz"',
         "format = 'cccwhd': has 3 axes, a film 2: use one of xyxy, xxyy, xywh, ccwh, cxcywh (format-dimensions)"),
        ('score = "sigmoid"', 'score = "tanh"', "must be one of sigmoid, softmax, none (score-unknown)"),
        ("score_min = 0.02", "score_min = 2", "(score-min-range)"),
        ("top = 100", "top = 0", "(top-range)"),
        ("top = 100", 'top = 100, zero = "corner"', "must be one of centre, edge (zero-unknown)"),
        ("top = 100", "top = 100, iou = 1", "decode.iou = 1: is not a key of a card"),
        ('present = {score = ">=0.5"}', "", "finding[0].present.score = absent: is required"),
        ('">=0.5"', '">=50"', "must read \">=0.5\", more than 0 and at most 1 (present-form)"),
        ('present', 'threshold = 0.3\npresent', "threshold = 0.3: is not of as = \"boxes\""),
        ('present', 'calibration = {kind = "platt", a = 1, b = 0}\npresent', "(boxes-keys)"),
        (', scores = "scores"', "", "outputs.scores = absent: is required"),
        ('"scores"}', '"boxes"}', "must be outputs of their own (outputs-repeated)"),
        ('"scores"}', '"scores", masks = "m"}', "outputs.masks = 'm': is not a key of a card"),
        (NODULE, f"{NODULE}[engine.window]\nroi = [8, 8, 8]\n", "(window-dimensions)"),
    ],
)  # fmt: skip
def test_boxes_whose_format_is_not_said_in_full_are_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = of_films(NODULE)
    assert old in text
    texts = faults(tmp_path, text.replace(old, new))
    assert any(fault in line for line in texts), texts


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('unit = "mo"\n', "", "finding[0].unit = absent: is required"),
        ('"mo"', '"months of age"', "must be a UCUM code of at most 16 characters"),
        ('"mo"', '"{score"', "(unit-form)"),
        ("range = [0, 240]\n", "", "finding[0].range = absent: must be the least and the greatest value"),
        ("[0, 240]", "[240, 0]", "(range-form)"),
        ("[0, 240]", '[0, "240"]', "(range-form)"),
        ('">=120"', '"120"', 'must read ">=150", "<=40" or ">=10 <=20" (value-form)'),
        ('">=120"', '">=20 <=10"', "(value-form)"),
        ('">=120"', '">=241"', "no value of range 0..240 reaches it (present-range)"),
        ("unit", "factor = 0\nunit", "would give every study one value: must not be 0 (factor-range)"),
        ("unit", "threshold = 0.5\nunit", "(number-keys)"),
        ("unit", 'activation = "none"\nunit', "(number-keys)"),
        (AGE, f'{AGE}[[triage]]\nwhen = {{finding = "age", probability = ">=0.5"}}\nclass = "stat"',
         "a number has no probability"),
        (AGE, f'{AGE}[[triage]]\nwhen = {{finding = "age", volume_ml = ">=0.5"}}\nclass = "stat"',
         "a number has no volume: use value"),
        ('present = {value = ">=120"}', '[[triage]]\nwhen = {finding = "age", value = ">=0.5"}\nclass = "stat"',
         "the finding is only measured, and never present: give it present = {value = ...} (triage-measured-only)"),
    ],
)  # fmt: skip
def test_numbers_without_unit_or_bounds_are_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = of_films(AGE)
    assert old in text
    texts = faults(tmp_path, text.replace(old, new))
    assert any(fault in line for line in texts), texts


LABEL = """
[[finding]]
channel = 0
code = {scheme = "SCT", value = "1386000", meaning = "Intracranial hemorrhage"}
"""
SEGMENT = """
[[finding]]
channel = 0
as = "segment"
code = {scheme = "SCT", value = "1386000", meaning = "Intracranial hemorrhage"}
"""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (of_volumes(f"[engine.window]\nroi = [8, 8, 8]\n{LABEL}"), "a label is of the whole input, and patches"),
        (of_volumes(f"[engine.window]\nroi = [8, 8, 8]\n{AGE}"), "(window-form)"),
        (of_volumes(NODULE), "has 2 axes, a volume 3: use one of xyzxyz, xxyyzz, xyxyzz, xyzwhd, cccwhd"),
        (of_volumes(LABEL + SEGMENT.replace("1386000", "2")), "is read as channels and as map: it has one form"),
        (of_films(SEGMENT + 'measure = ["volume_ml"]'), "is not measured of a film (measure-dimensions)"),
        (of_films(SEGMENT + 'present = {mean_hu = ">=1"}'), "is not measured of a film (present-dimensions)"),
        (of_films(SEGMENT + "min_ml = 1"), "a film has no millilitres"),
        (of_films(SEGMENT + 'measure = ["centroid"]'), "on a film each component has its centre in pixels"),
        (of_volumes(SEGMENT + 'measure = ["area_mm2"]'), "is not measured of a volume"),
        (of_films(LABEL + '[[triage]]\nwhen = {finding = "1386000", value = ">=1"}\nclass = "stat"'),
         'is of as = "number": use probability (triage-value-absent)'),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    texts = faults(tmp_path, text)
    assert any(fault in line for line in texts), texts


def test_cards_of_the_new_kinds_are_sound(tmp_path: Path) -> None:
    boxes = of_films(NODULE).replace('output = "y"\n', "")
    for number, text in enumerate([boxes, of_films(AGE), of_films(SEGMENT), of_volumes(LABEL), of_volumes(AGE)]):
        read_card(written(tmp_path / str(number), text))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('boxes = "boxes"', 'boxes = "scores"', "must be outputs of their own"),
        ('boxes = "boxes"', 'boxes = "rows"', "model.onnx has the output boxes"),
        ('boxes = "boxes", scores = "scores"', 'boxes = "map", scores = "scores"',
         'model.onnx has map (any, 1, any, any), expected (boxes, 4) for "xyxy", or with a batch (output-shape)'),
        ('scores = "scores"', 'scores = "map"', "expected (boxes), or with channels, or with a batch"),
    ],
)  # fmt: skip
def test_the_networks_outputs_are_held_against_the_card(tmp_path: Path, old: str, new: str, fault: str) -> None:
    folder = tmp_path / "detector"
    text = without_finding(FILM).format(sha256=write_detector(folder, 2)) + NODULE
    assert old in text
    (folder / "card.toml").write_text(CARD.format(name="detector", number=1) + text)
    read_card(folder)
    (folder / "card.toml").write_text(CARD.format(name="detector", number=1) + text.replace(old, new))
    with pytest.raises(CardError, match=re.escape(fault)):
        read_card(folder)


def test_a_volume_of_one_size_is_made_by_cropping_and_padding(tmp_path: Path) -> None:
    folder = write_placed(tmp_path) / "volume-places"
    card = folder / "card.toml"
    sized = 'do = "window"\nlow = 0\nhigh = 80\n[[prepare]]\ndo = "crop-centre"\nshape = [8, 8, 8]\n'
    text = card.read_text()
    sha256 = write_detector(folder, 3, size=8)
    text = re.sub('sha256 = "[0-9a-f]*"', f'sha256 = "{sha256}"', text)
    card.write_text(text)
    with pytest.raises(CardError, match=re.escape('add do = "crop-centre", and then do = "pad-centre"')):
        read_card(folder)
    padded = f'{sized}[[prepare]]\ndo = "pad-centre"\nshape = [8, 8, 8]\n'
    card.write_text(text.replace('do = "window"\nlow = 0\nhigh = 80\n', padded))
    read_card(folder)
