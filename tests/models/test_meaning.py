"""A card that cannot mean what it says is refused when it is read; its digest covers all that makes its answers."""

import shutil
from pathlib import Path

import onnx
import pytest
from card_cases import CHEST, HEAD, faults, written
from small_models import write_beside

from imaging.domain.card import TriageRule, WeightsFile
from imaging.domain.findings import TriageClass
from imaging.domain.tables import CardError
from imaging.models.copies import digest_of
from imaging.models.reading import read_card

NO_PROBABILITY = HEAD.replace('probability = "max-component-mean"\n', "")
LABEL = 'as = "label"'
EACH = 'images = "each"'


def ruled(text: str, when: str) -> str:
    return f'{text}\n[[triage]]\nwhen = {{finding = "1386000", {when}}}\nclass = "stat"\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ruled(NO_PROBABILITY, 'probability = ">=0.5"'),
         "triage[0].when.probability = '>=0.5': the finding has no probability: give it probability = "
         '"max-component-mean", or use volume_ml = ">=5" here (triage-probability-absent)'),
        (ruled(HEAD.replace('"volume_ml", ', ""), 'volume_ml = ">=5"'), "(triage-volume-absent)"),
        (ruled(HEAD, 'volume_ml = "5"'), "triage[0].when.volume_ml = '5': must read \">=5\""),
        (f'{HEAD}\n[[triage]]\nwhen = {{finding = "1386000"}}\nclass = "stat"\n', "(triage-empty)"),
        (CHEST.replace('probability = ">=0.8"', 'volume_ml = ">=5"'), "a label has no volume: use probability"),
        (CHEST.replace('when = {finding = "abnormal"', 'when = {finding = "normal"'), "(triage-finding)"),
        (HEAD.replace('["CT"]', '["MR"]'),
         "finding[0].measure = 'mean_hu': only CT has Hounsfield units, but the card takes MR: leave it out"),
        (HEAD.replace('["CT"]', '["CT", "MR"]'), "(mean-hu-modality)"),
        (HEAD.replace('["CT"]', '["MR"]').replace(', "mean_hu"', "").replace("volume_ml = ", "mean_hu = "),
         "finding[0].present = 'mean_hu': only CT"),
        (CHEST.replace('["DX", "CR"]', '["CT"]'),
         "input[0].images = 'each': takes films, and CT are slices: take them with images = \"best\", as one volume"),
        (CHEST.replace(EACH, f"{EACH}\nslices = {{min = 3}}"), "input[0].slices = (3, 100000): is of series"),
        (CHEST.replace(EACH, f"{EACH}\nmax_gap_mm = 5"), "(images-each)"),
        (HEAD.replace("min = 12, max = 600", "min = 600, max = 12"), "min must not exceed max (slices-range)"),
        (HEAD.replace("min = 12", "min = 12.5"), "must be whole numbers (slices-type)"),
        (HEAD.replace("max_gap_mm = 7.5", "max_gap_mm = 0"), "(max-gap-mm-range)"),
        (HEAD.replace('weighting = ""', 'weighting = "t2"'), "CT has no weighting: leave it out, or take only MR"),
        (HEAD.replace('modality = ["CT"]', 'modality = ["CT"]\nsop_class = ["MRImageStorage"]'),
         "input[0].sop_class = 'MRImageStorage': its images are MR, which is not in modality: add \"MR\" there"),
        (HEAD.replace('["CT"]', '["ct"]'), "(modality-form)"),
        (HEAD.replace('["CT"]', "[]"), "(modality-empty)"),
        (HEAD.replace('{tag = "BodyPartExamined", any = ["HEAD", "BRAIN"]', '{tag = "ViewPosition", any = ["PA"]'),
         "input[0].gate[0].tag = 'ViewPosition': CT never has it, so no image would be taken: leave the gate out"),
        (CHEST.replace('"PatientAge", min = 18', '"EchoTime", min = 18'), "DX, CR never has it"),
        (CHEST.replace("min = 18", "min = 90, max = 18"), "gate[1].min = 90.0: must not exceed max, which is 18"),
        (HEAD + '[[finding]]\nchannel = 0\nas = "segment"\n'
         'code = {scheme = "SCT", value = "1386000", meaning = "Again"}\n', "(finding-repeated)"),
        (CHEST.replace(LABEL, f'{LABEL}\nmin_ml = 1'), 'finding[0].min_ml = 1: is only for as = "segment"'),
        (CHEST.replace(LABEL, f'{LABEL}\nprobability = "max-component-mean"'), "(label-keys)"),
        (f"{NO_PROBABILITY}threshold = 0.8\n", "finding[0].threshold = 0.8: has no effect without probability"),
        (HEAD.replace("mask_at = 0.5", "mask_at = 0"), "would include every voxel"),
        (HEAD.replace('["volume_ml", ', '["volume_ml", "volume_ml", '), "(measure-repeated)"),
        (CHEST.replace("threshold = 0.31", "threshold = -0.1"), "must lie in 0..1 (threshold-range)"),
        (CHEST.replace("a = 0.83", "a = 0"), "must not be 0 (a-range)"),
        (CHEST.replace('do = "zscore"', 'do = "percentile"\nlower = 1\nupper = 101'), "(upper-range)"),
        (CHEST.replace('do = "zscore"', 'do = "scale"\nfactor = 0'), "(factor-range)"),
        (HEAD.replace('do = "window"', 'do = "orient"\nto = "SAR"\n[[prepare]]\ndo = "window"'), "(do-repeated)"),
        (CHEST.replace("[[finding]]", "[engine.window]\nroi = [8, 8, 8]\n[[finding]]", 1), "(window-dimensions)"),
        (CHEST.replace('do = "zscore"', 'do = "crop-centre"\nshape = [9, 9, 9]'), "must be rows and columns"),
        (HEAD.replace('do = "window"\nlow = 0\nhigh = 80', 'do = "crop-centre"\nshape = [9, 9]'), "(shape-dimensions)"),
        (CHEST.replace('maker = "somebody"', 'maker = ""'), "maker = '': must not be empty (maker-empty)"),
        (HEAD.replace('id = "head"', 'id = ""'), "(id-empty)"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_mean_what_it_says_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    texts = faults(tmp_path, text)
    assert any(fault in line for line in texts), texts


@pytest.mark.parametrize(
    ("when", "rule"),
    [
        ('volume_ml = ">=5"', TriageRule("1386000", None, TriageClass.STAT, 5.0)),
        ('volume_ml = ">= 2.5", probability = ">=0.8"', TriageRule("1386000", 0.8, TriageClass.STAT, 2.5)),
        ('probability = ">=0.8"', TriageRule("1386000", 0.8, TriageClass.STAT)),
    ],
)
def test_a_rule_asks_by_volume_probability_or_both(tmp_path: Path, when: str, rule: TriageRule) -> None:
    assert read_card(written(tmp_path / "head", ruled(HEAD, when))).triage == (rule,)


def test_a_segment_without_probability_may_be_urgent_by_its_volume(tmp_path: Path) -> None:
    card = read_card(written(tmp_path / "head", ruled(NO_PROBABILITY, 'volume_ml = ">=5"')))
    assert card.triage[0].text == "1386000 volume_ml >= 5: stat"


def test_a_gate_that_only_some_of_the_modalities_have_may_pass_the_others(tmp_path: Path) -> None:
    gate = 'gate = [{tag = "EchoTime", min = 60, absent = "pass"}]\nslices'
    text = HEAD.replace('["CT"]', '["CT", "MR"]').replace("slices", gate, 1).replace(', "mean_hu"', "")
    text = text.replace('gate = [{tag = "BodyPartExamined", any = ["HEAD", "BRAIN"], absent = "doubt"}]\n', "")
    assert read_card(written(tmp_path / "head", text)).inputs[0].gates[0].tag == "EchoTime"
    (tmp_path / "other").mkdir()
    assert "(gate-modality)" in faults(tmp_path / "other", text.replace(', absent = "pass"', ""))[0]


# Weights beside the file -------------------------------------------------------------------------------------


def refused(folder: Path) -> str:
    with pytest.raises(CardError) as error:
        read_card(folder)
    (text,) = error.value.faults
    return text


def test_the_digest_covers_card_weights_and_what_the_weights_keep_outside(tmp_path: Path) -> None:
    model = write_beside(tmp_path / "model")
    card = read_card(model)
    assert card.engine.beside == (WeightsFile("model.bin", digest_of(model / "model.bin")),)
    assert card.engine.digest != card.engine.sha256

    (model / "model.bin").write_bytes((model / "model.bin").read_bytes()[::-1])
    other = read_card(model)
    assert other.engine.sha256 == card.engine.sha256
    assert len({card.digest, other.digest, card.engine.digest, other.engine.digest}) == 4

    text = (model / "card.toml").read_text()
    (model / "card.toml").write_text(text.replace("threshold = 0.6", "threshold = 0.5"))
    assert read_card(model).digest != other.digest
    assert read_card(model).engine.digest == other.engine.digest


@pytest.mark.parametrize("location", ["../model.bin", "inner/../../model.bin", "/tmp/model.bin", ""])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    model = write_beside(tmp_path / "model")
    (tmp_path / "model.bin").write_bytes((model / "model.bin").read_bytes())
    name_weights(model, "model.bin", location)
    text = refused(model)
    assert f"engine.file = 'model.onnx': takes weights from {location!r}, which is not in the model's folder" in text
    assert text.endswith("(external-outside)")


def name_weights(model: Path, old: str, new: str) -> None:
    """Another name for the file beside, in the ONNX file and on the card."""
    network = onnx.load(model / "model.onnx", load_external_data=False)
    for entry in (entry for tensor in network.graph.initializer for entry in tensor.external_data):
        entry.value = new if entry.value == old else entry.value
    before = digest_of(model / "model.onnx")
    (model / "model.onnx").write_bytes(network.SerializeToString())
    card = model / "card.toml"
    card.write_text(card.read_text().replace(before, digest_of(model / "model.onnx")))


def test_a_link_may_lead_to_weights_in_the_folder_and_not_out_of_it(tmp_path: Path) -> None:
    model = write_beside(tmp_path / "model")
    (model / "blobs").mkdir()
    shutil.move(model / "model.bin", model / "blobs" / "0123")
    (model / "model.bin").symlink_to("blobs/0123")
    assert read_card(model).engine.beside[0].name == "model.bin"
    shutil.move(model / "blobs" / "0123", tmp_path / "0123")
    (model / "model.bin").unlink()
    (model / "model.bin").symlink_to(tmp_path / "0123")
    assert "(external-outside)" in refused(model)


@pytest.mark.parametrize("kind", ["nothing", "a folder", "an address in memory"])
def test_weights_that_are_not_there_are_named(tmp_path: Path, kind: str) -> None:
    model = write_beside(tmp_path / "model")
    (model / "model.bin").unlink()
    if kind == "a folder":
        (model / "model.bin").mkdir()
    elif kind == "an address in memory":
        name_weights(model, "model.bin", "*/_ORT_MEM_ADDR_/*")
    text = refused(model)
    assert "which does not exist there: copy it to its place beside model.onnx (external-missing)" in text


def test_weights_in_a_folder_of_the_model_keep_their_place(tmp_path: Path) -> None:
    model = write_beside(tmp_path / "model", location="data/model.bin")
    (model / "nets").mkdir()
    shutil.move(model / "model.onnx", model / "nets" / "model.onnx")
    shutil.move(model / "data", model / "nets" / "data")
    card = model / "card.toml"
    card.write_text(card.read_text().replace('file = "model.onnx"', 'file = "nets/model.onnx"'))
    files = read_card(model).engine.files
    assert [each.name for each in files] == ["nets/model.onnx", "nets/data/model.bin"]
