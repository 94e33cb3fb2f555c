"""Cards are read whole or not at all, and a bad one says everything that is wrong with it at once."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from card_cases import CHEST, DIGEST, HEAD, faults, written

from imaging.domain.card import FilmInput, Gate, LabelSpec, Lane, SegmentSpec, Step, VolumeInput
from imaging.domain.findings import TriageClass
from imaging.domain.tables import CardError
from imaging.inference.decoders.registry import DECODERS
from imaging.inference.engines.registry import ENGINES
from imaging.inference.readers.registry import READERS
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.models.reading import read_card
from imaging.preparation.registry import STEPS

RESIZE = '[[prepare]]\ndo = "resize"'


def test_a_film_card_is_read_as_it_stands(tmp_path: Path) -> None:
    card = read_card(written(tmp_path / "chest-film", CHEST))
    assert (card.id, card.status, card.lane) == ("chest-film", "demonstration", Lane.FILMS)
    assert card.inputs[0].sop_class_uids == ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1")
    assert card.inputs[0].gates[1] == Gate("PatientAge", min=18.0, absent="pass")
    assert card.prepare == (Step("resize", {"shape": (224, 224), "aspect": "pad"}), Step("zscore", {"nonzero": False}))
    assert card.findings[0].calibration is not None
    assert card.findings[0].calibration.a == 0.83
    assert (card.triage[0].at_least, card.triage[0].triage) == (0.8, TriageClass.URGENT)
    assert card.evidence[0]["anything_else"] == "is free"
    assert card.golden is not None
    assert card.digest == hashlib.sha256((tmp_path / "chest-film" / "card.toml").read_bytes()).hexdigest()


def test_a_volume_card_is_read_as_it_stands(tmp_path: Path) -> None:
    card = read_card(written(tmp_path / "head", HEAD))
    (head,) = card.inputs
    assert card.lane is Lane.VOLUMES
    assert isinstance(head, VolumeInput)
    assert (head.slices, head.extent_mm) == ((12, 600), (100.0, 1e6))
    assert (card.engine.inputs, card.engine.outputs) == ({"ct": "x"}, ("y",))
    assert card.engine.window is not None
    assert card.engine.window.roi == (96, 96, 48)
    assert card.prepare[1].options == {"spacing": (1, 1, 2), "mode": "linear"}
    (bleed,) = card.findings
    assert isinstance(bleed, SegmentSpec)
    assert bleed.present == {"volume_ml": 1.0}
    assert bleed.site is not None


def test_all_faults_come_at_once_each_with_key_value_and_rule(tmp_path: Path) -> None:
    text = (
        CHEST.replace("threshold = 0.31", "threshold = 1.4")
        .replace('do = "zscore"', 'do = "sharpen"')
        .replace('status = "demonstration"', 'status = "certified"')
        .replace('tag = "PatientAge"', 'tag = "ShoeSize"')
        .replace("batch = 8", 'batch = "eight"')
        .replace('value = "abnormal"', 'value = "abnormal-chest-film"')
        .replace('maker = "somebody"\n', "")
    )
    texts = faults(tmp_path, text)
    assert "finding[0].threshold = 1.4: must lie in 0..1 (threshold-range)" in texts
    assert any(line.startswith("prepare[1].do = 'sharpen': must be one of resize") for line in texts)
    assert "status = 'certified': must be one of demonstration, research, validated-here (status-unknown)" in texts
    assert any(line.startswith("input[0].gate[1].tag = 'ShoeSize'") for line in texts)
    assert "engine.batch = 'eight': must be a whole number (batch-type)" in texts
    assert any("value-length" in line for line in texts)
    assert "maker = absent: is required: text (maker-absent)" in texts
    assert "triage[0].when.finding = 'abnormal': is not the code value of a finding (triage-finding)" in texts
    assert len(texts) == 8


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('use = "Earlier', 'usage = "typo"\nuse = "Earlier', "usage = 'typo': is not a key of a card (key-unknown)"),
        ("absent = \"pass\"", "absnt = 1", "input[0].gate[1].absnt = 1: is not a key of a card (key-unknown)"),
        ('as = "label"', 'as = "boxes"', "finding[0].as = 'boxes': is not yet supported (as-unsupported)"),
        ('as = "label"', 'as = "segment"', "(as-dimensions)"),
        ('images = "each"', "", "input[0].images = 'all': films are taken one by one, with images = \"each\""),
        ('do = "zscore"', 'do = "orient"', "prepare[1].do = 'orient': does not prepare a film (do-dimensions)"),
        ('do = "zscore"', 'do = "stack"', "is not yet supported (do-unsupported)"),
        ('do = "zscore"', 'do = "orient"\nto = "RAR"', "one letter each of R or L, A or P, S or I, in the array's"),
        ('do = "zscore"', 'do = "orient"\nto = "RA"', "(to-form)"),
        (RESIZE, f'[[prepare]]\ndo = "scale"\n{RESIZE}', "(prepare-order)"),
        (DIGEST, "0" * 64, f"model.onnx has the digest {DIGEST} (sha256-differs)"),
        ('file = "model.onnx"', 'file = "../model.onnx"', "must lie in the model's folder (file-outside)"),
        ('file = "model.onnx"', 'file = "other.onnx"', "is not in the model's folder (file-missing)"),
        ('file = "model.onnx"', 'file = "golden"', "cannot be read: Is a directory (file-unreadable)"),
        ('file = "model.onnx"', f'file = "{"x" * 300}"', "cannot be reached (file-unreachable)"),
        ('file = "model.onnx"', 'file = "\\u0000"', "cannot be reached (file-unreachable)"),
        ('input = "golden/film.dcm"', 'input = "itself"', "cannot be reached (input-unreachable)"),
        ('images = "each"', 'slices = {min = nan}', "(min-range)"),
        ('images = "each"', 'slices = {min = inf}', "(min-range)"),
        ('"ComputedRadiographyImageStorage"', '"ChestImageStorage"', "(sop-class-unknown)"),
        ('"ComputedRadiographyImageStorage"', '"ExplicitVRLittleEndian"', "(sop-class-unknown)"),
        ('device_uid = "2.25.1"', 'device_uid = "2.25.01"', "(device-uid-form)"),
        ('probability = ">=0.8"', 'probability = ">=80"', "(triage-probability)"),
        ("min = 18, ", "", "input[0].gate[1].any = absent: a gate needs any, min or max (gate-empty)"),
        ("min = 18", 'any = ["ADULT"]', "gate[1].any = ('ADULT',): PatientAge takes min and max (gate-kind)"),
        ("min = 18", 'any = ["ADULT"], min = 18', "(gate-kind)"),
        ('any = ["CHEST", "THORAX"]', "min = 18", "gate[0].min = 18.0: BodyPartExamined takes any (gate-kind)"),
        ("card = 1", "card = 2", "card = 2: must lie in 1..1 (card-range)"),
        ("card = 1", 'card = 1\nbundle = "spleen"', "bundle = 'spleen': is not a key of a card (key-unknown)"),
    ],
)  # fmt: skip
def test_a_single_fault_is_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in CHEST
    texts = faults(tmp_path, CHEST.replace(old, new))
    assert any(fault in line for line in texts), texts


def test_best_of_films_is_one_fault_and_is_called_unsupported(tmp_path: Path) -> None:
    (text,) = faults(tmp_path, CHEST.replace('images = "each"', 'images = "best"'))
    assert text.startswith("input[0].images = 'best': films are taken one by one")
    assert text.endswith("not yet supported (images-unsupported)")
    head = tmp_path / "head"
    head.mkdir()
    assert faults(head, HEAD.replace('modality = ["CT"]\n', "")) == [
        "input[0].modality = absent: is required: a list of texts (modality-absent)"
    ]


def test_what_is_no_toml_is_one_fault_of_the_file(tmp_path: Path) -> None:
    assert "(not-readable)" in faults(tmp_path, "card = ")[0]
    assert "(not-readable)" in faults(tmp_path / "deep", f"card = {'[' * 5000}")[0]
    with pytest.raises(CardError, match="not-readable"):
        read_card(tmp_path / "nowhere")


def test_what_a_card_may_name_has_a_reader_a_decoder_an_engine_and_work_for_each_step() -> None:
    assert set(READERS) == {each.kind for each in (FilmInput, VolumeInput)}
    assert set(DECODERS) == {each.kind for each in (LabelSpec, SegmentSpec)}
    assert set(ENGINES) == {"onnx", "openvino", "torch"}
    assert all((kind.run is None) == kind.is_geometry for kind in STEPS.values())
    assert {each for kind in STEPS.values() for each in kind.takes} == set(READERS)


def test_a_bad_card_disables_that_model_alone_and_visibly(tmp_path: Path) -> None:
    written(tmp_path / "models" / "good", CHEST)
    written(tmp_path / "models" / "bad", HEAD.replace("mask_at = 0.5", "mask_at = 5"))
    written(tmp_path / "models" / "ugly", CHEST.replace('file = "model.onnx"', 'file = "golden"'))
    (tmp_path / "models" / "no-model").mkdir()
    catalogue = load_models([tmp_path / "models"])
    assert [card.id for card in catalogue.models] == ["chest-film"]
    assert list(catalogue.disabled) == ["head", f"chest-film ({tmp_path / 'models' / 'ugly'})"]
    assert "finding[0].mask_at = 5: must lie in 0..1 (mask-at-range)" in catalogue.disabled["head"]
    assert catalogue.model("chest-film") is catalogue.models[0]
    assert catalogue.model("bad") is None


def test_of_two_models_with_one_id_the_first_folders_is_served(tmp_path: Path) -> None:
    for site in ("a", "b"):
        written(tmp_path / site / "model", CHEST)
    catalogue = load_models([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert [card.folder for card in catalogue.models] == [tmp_path / "a" / "model"]
    assert any("id-repeated" in text for text in catalogue.disabled.values())
    assert "no such folder" in catalogue.disabled["c"]


def test_a_models_own_folder_and_those_right_below_it_are_taken(tmp_path: Path) -> None:
    written(tmp_path / "site", CHEST)
    written(tmp_path / "site" / "head", HEAD)
    assert [card.id for card in load_models([tmp_path / "site"]).models] == ["chest-film", "head"]


def test_no_disabled_model_hides_another_of_its_name(tmp_path: Path) -> None:
    for site in ("a", "b"):
        written(tmp_path / site / "model", CHEST.replace("threshold = 0.31", "threshold = 1.4"))
        written(tmp_path / site / "nameless", CHEST.replace('id = "chest-film"', "id = 4"))
    names = [f"{name} ({tmp_path / site / folder})" for site in "ab"
             for name, folder in (("chest-film", "model"), ("nameless", "nameless"))]  # fmt: skip
    catalogue = load_models([tmp_path / "a", tmp_path / "b"])
    assert list(catalogue.disabled) == names
    assert list(catalogue.why_disabled("chest-film")) == names[::2]


def test_the_shipped_models_can_all_be_served() -> None:
    catalogue = load_models([shipped_folder()])
    assert catalogue.disabled == {}


def test_a_model_is_synthetic_where_all_that_it_was_measured_on_is() -> None:
    cards = {card.id: card for card in load_models([shipped_folder()]).models}
    assert [name for name, card in cards.items() if card.is_synthetic] == ["brain-mr-lesion", "head-ct-bleed"]
    assert not replace(cards["head-ct-bleed"], evidence=()).is_synthetic
    mixed = (*cards["head-ct-bleed"].evidence, *cards["chest-film"].evidence)
    assert not replace(cards["head-ct-bleed"], evidence=mixed).is_synthetic
