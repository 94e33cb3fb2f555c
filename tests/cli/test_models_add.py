"""Adding models as they were published: what is copied and written, what is left to a person, and what is refused."""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from added_models import filled_in
from bundles import changed, need_monai, parser, published, save_weights
from command_result import CommandResult
from onnx import TensorProto, helper, numpy_helper
from small_models import write_beside, write_models

from imaging.models.folders import shipped_folder
from imaging.models.reading import read_card
from imaging.models.to_fill_in import FILL_IN, open_keys

Run = Callable[..., CommandResult]
RUNS = ["spleen_ct_segmentation", "wholeBody_ct_segmentation", "prostate_mri_anatomy", "brats_mri_segmentation"]
pytestmark = pytest.mark.filterwarnings("ignore")
"""MONAI's own, of its deprecations."""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def with_weights(name: str, folder: Path) -> Path:
    """A published bundle, its network's weights drawn by a seed."""
    import torch

    bundle = published(name, folder)
    torch.manual_seed(7)
    save_weights(bundle, parser(bundle).get_parsed_content("network_def"))
    return bundle


def refused(result: CommandResult, *texts: str, status: int = 1) -> None:
    """One line a fault, and nothing is there."""
    assert result.status == status, result
    assert result.out == ""
    for text in texts:
        assert text in result.err
    assert "Traceback" not in result.err
    assert not Path("models").exists()


# Bundles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_a_published_bundle_becomes_a_model_once_its_examples_are_filled_in(
    run: Run, tmp_path: Path, name: str
) -> None:
    need_monai()
    bundle = with_weights(name, tmp_path / "downloads")
    answer = run("models", "add", bundle, "--to", "ours", "--json").json
    folder = Path(answer["folder"])
    assert (answer["model"], folder) == (name.lower().replace("_", "-"), Path("ours", answer["model"]))
    assert (folder / name / "configs" / "logging.conf").read_bytes() == (bundle / "configs/logging.conf").read_bytes()
    assert answer["digest"] == answer["weights"][f"{name}/models/model.pt"]
    written = tomllib.loads((folder / "card.toml").read_text())
    assert (written["status"], written["mode"], written["engine"]["sha256"]) == ("research", "shadow", answer["digest"])
    assert [key for key, _ in open_keys(written)] == [each["key"] for each in answer["to_fill_in"]]
    assert {"licence", "input[0].gate", "finding[0].code"} <= {each["key"] for each in answer["to_fill_in"]}

    listed = run("models", "list", "--models", "ours")
    for each in answer["to_fill_in"]:
        assert f"{each['key']} = 'FILL IN': is still to be filled in: {each['why']}; for example " in listed.out
    assert listed.out.count("(to-fill-in)") == len(answer["to_fill_in"]) == len(listed.out.splitlines()) - 1

    filled_in(answer)
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    card = read_card(tmp_path / "link" / answer["model"])
    assert (card.status, card.mode, card.licence) == ("research", "shadow", "Apache-2.0")
    assert run("models", "list", "--models", "ours").out.splitlines()[1].startswith(answer["model"])


def test_what_a_bundle_tells_is_on_its_card(run: Run, tmp_path: Path) -> None:
    need_monai()
    bundle = with_weights("brats_mri_segmentation", tmp_path / "downloads")
    answer = run("models", "add", bundle, "--id", "brats", "--json").json
    known = answer["known"]
    assert (known["version"], known["maker"], known["modality"]) == ("0.5.2", "MONAI team", ["MR"])
    assert known["inputs"] == ["T1c", "T1", "T2", "FLAIR"]
    assert known["network"]["name"] == "SegResNet"
    assert known["window"]["roi"] == [240, 240, 160]
    assert known["preparation"] == [{"do": "orient", "to": "column-row-slice"}, {"do": "zscore", "nonzero": True}]
    assert known["outputs"] == {"0": "Tumor core", "1": "Whole tumor", "2": "Enhancing tumor"}
    text = Path("models/brats/card.toml").read_text()
    assert "# network: name SegResNet, blocks_down 1, 2, 2, 4" in text
    written = tomllib.loads(text)
    roles = [(each["role"], each["weighting"], each.get("contrast")) for each in written["input"]]
    assert roles == [("t1c", "t1", "yes"), ("t1", "t1", "no"), ("t2", "t2", None), ("flair", "flair", None)]
    assert [each["channel"] for each in written["finding"]] == ["Tumor core", "Whole tumor", "Enhancing tumor"]


def test_of_a_hundred_channels_one_finding_is_begun_and_all_are_named(run: Run, tmp_path: Path) -> None:
    need_monai()
    bundle = with_weights("wholeBody_ct_segmentation", tmp_path / "downloads")
    answer = run("models", "add", bundle, "--json").json
    examples = {each["key"]: each["example"] for each in answer["to_fill_in"]}
    assert examples["finding[0].channel"] == 'channel = "spleen"'
    assert "finding[1].code" not in examples
    assert "urinary_bladder" in Path(answer["card"]).read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("breast_density_classification", "network_def._target_ = 'TorchVisionFCModel': is not a supported network"),
        ("lung_nodule_ct_detection", "feature_extractor = '$monai.apps.detection.networks.retinanet_network"),
        ("pancreas_ct_dints_segmentation", "dints_space._target_ = 'monai.networks.nets.TopologyInstance'"),
        ("valve_landmarks", "network_def._target_ = 'scripts.valve_landmarks.PointRegressor'"),
    ],
)
def test_a_bundle_that_needs_its_code_is_refused_by_what_it_needs(
    run: Run, tmp_path: Path, name: str, text: str
) -> None:
    need_monai()
    bundle = published(name, tmp_path / "downloads")
    config = next((bundle / "configs").glob("inference.*"))
    refused(run("models", "add", bundle), f"{config}: {text}", "nothing was added: no code of a bundle is run")


def test_a_bundle_that_calls_the_system_or_has_an_unknown_transform_is_refused_and_nothing_runs(
    run: Run, tmp_path: Path
) -> None:
    need_monai()
    bundle = with_weights("spleen_ct_segmentation", tmp_path / "downloads")
    config = bundle / "configs" / "inference.json"
    text = config.read_text()
    changed(bundle, lambda data: data["network_def"].update(out_channels="$os.system('touch ran')"))
    refused(run("models", "add", bundle), "network_def.out_channels = \"$os.system('touch ran')\"")
    config.write_text(text)
    sharpen = {"_target_": "scripts.mine.Sharpend", "keys": "image"}
    changed(bundle, lambda data: data["preprocessing"]["transforms"].append(sharpen))
    refused(run("models", "add", bundle), "preprocessing.transforms[6]._target_ = 'scripts.mine.Sharpend'")
    assert not Path("ran").exists()


def test_a_bundle_whose_configuration_cannot_be_read_is_refused(run: Run, tmp_path: Path) -> None:
    bundle = published("spleen_ct_segmentation", tmp_path / "downloads")
    (bundle / "configs" / "metadata.json").write_text("{")
    result = run("models", "add", bundle)
    refused(result, f"{bundle}: folder = 'spleen_ct_segmentation': its configuration cannot be read: ")
    assert len(result.err.splitlines()) == 1


def test_a_bundle_without_weights_or_with_a_program_for_them_is_refused(run: Run, tmp_path: Path) -> None:
    import pickle
    import zipfile

    bundle = published("spleen_ct_segmentation", tmp_path / "downloads")
    weights = bundle / "models" / "model.pt"
    refused(run("models", "add", bundle), f"{weights}: is missing: download the bundle's weights to models/model.pt")
    weights.parent.mkdir()
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(os.getcwd, 2))
    refused(run("models", "add", bundle), f"{weights}: contains more than weights, and would run posix.getcwd")


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("channels", "model.pt does not fit UNet: "),
        ("argument", "UNet cannot be built from its configuration: "),
        ("safetensors", "model.safetensors cannot be loaded as weights alone: SafetensorError"),
    ],
)
def test_weights_that_are_not_this_networks_are_refused(run: Run, tmp_path: Path, of: str, text: str) -> None:
    need_monai()
    bundle = with_weights("spleen_ct_segmentation", tmp_path / "downloads")
    if of == "safetensors":
        (bundle / "models" / "model.pt").unlink()
        (bundle / "models" / "model.safetensors").write_bytes(b"\xff" * 64)
    else:
        other: dict[str, object] = {"out_channels": 3} if of == "channels" else {"chanels": [1]}
        changed(bundle, lambda data: data["network_def"].update(other))
    refused(run("models", "add", bundle), f"imaging models: {bundle}: ", text)


# ONNX files --------------------------------------------------------------------------------------------------


def film_file(folder: Path, edit: Callable[[onnx.ModelProto], None] = lambda model: None) -> Path:
    """The network of the small film model without its card."""
    file = write_models(folder) / "small-film" / "model.onnx"
    (file.parent / "card.toml").unlink()
    model = onnx.load(file)
    edit(model)
    onnx.save(model, file)
    return file


def test_an_onnx_file_tells_its_names_shapes_types_and_what_its_exporter_noted(run: Run, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Sigmoid", ["y"], ["p"]))
        model.graph.output[0].name = "p"
        model.model_version, model.producer_name, model.producer_version = 3, "pytorch", "2.13"
        for key, value in (("names", "{0: 'Pleural effusion'}"), ("author", "A group\nof two"), ("note", "\x1b[2J")):
            model.metadata_props.add(key=key, value=value)

    file = film_file(tmp_path / "downloads", edit)
    answer = run("models", "add", file, "--json").json
    known = answer["known"]
    assert known["inputs"] == [{"name": "x", "type": "float32", "shape": [None, 1, 32, 32]}]
    assert known["outputs"] == [{"name": "p", "type": "float32", "shape": [None, 1], "made_by": "Sigmoid"}]
    assert (known["layout"], known["opset"], known["producer"]) == ("NCHW", {"ai.onnx": 17}, "pytorch 2.13")
    assert known["metadata"]["note"] == "\x1b[2J"
    text = Path(answer["card"]).read_text()
    assert "\x1b" not in text
    written = tomllib.loads(text)
    assert (answer["model"], written["version"], written["maker"]) == ("small-film", "3", "A group of two")
    assert written["prepare"][0] == {"do": "resize", "shape": [32, 32], "aspect": FILL_IN}
    (finding,) = written["finding"]
    assert (finding["activation"], finding["as"]) == ("none", "label")
    examples = {each["key"]: each["example"] for each in answer["to_fill_in"]}
    assert 'meaning = "Pleural effusion"' in examples["finding[0].code"]
    assert examples["finding[0].threshold"] == "threshold = 0.5"
    printed = run("models", "add", file, "--id", "again")
    assert printed.status == 0
    assert "\x1b" not in printed.out
    assert "finding[0].threshold: from which probability on it is present" in printed.out


def saved(file: Path, nodes: list[onnx.NodeProto], given: dict[str, Any], made: dict[str, Any], kind: int) -> Path:
    """A network of inputs and outputs by their names and shapes."""
    x, y = (
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in side.items()] for side in (given, made)
    )
    end = numpy_helper.from_array(np.array([-1, 1]), "end")
    model = helper.make_model(helper.make_graph(nodes, "g", x, y, [end]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, file)
    return file


SAME = [helper.make_node("Identity", ["x"], ["y"])]
FLAT = [helper.make_node("Reshape", ["x", "end"], ["y"])]


@pytest.mark.parametrize(
    ("nodes", "x", "y", "kind", "section", "key", "value"),
    [
        (FLAT, ["n", 32, 32, 1], ["n", 1], "FLOAT", "engine", "layout", "NHWC"),
        (SAME, ["n", 40, 48, 56, 1], ["n", 40, 48, 56, 1], "FLOAT", "engine", "layout", "NDHWC"),
        (SAME, ["n", 1, 40, 48, 56], ["n", 1, 40, 48, 56], "FLOAT", "engine", "window", {"roi": [40, 48, 56]}),
        (FLAT, ["n", 1, 32, 32], ["n", 1], "FLOAT16", "engine", "precision", "f16"),
        (FLAT, [4, 1, 32, 32], [4, 1], "FLOAT", "engine", "batch", 4),
        (FLAT, ["n", 3, "h", "w"], ["n", 1], "FLOAT", "prepare", "count", 3),
        (FLAT, ["n", 3, "h", "w"], ["n", 1], "FLOAT", "prepare", "shape", FILL_IN),
        (FLAT, ["n", 1, 32, 32], ["n", 1000], "FLOAT", "finding", "channel", FILL_IN),
        (SAME, ["n", 1, "d", "h", "w"], ["n", 1, "d", "h", "w"], "FLOAT", "finding", "mask_at", FILL_IN),
        (SAME, ["n", 1, "d", "h", "w"], ["n", 1, "d", "h", "w"], "FLOAT", "engine", "window", {"roi": FILL_IN}),
        (FLAT, ["n", 1, "d", "h", "w"], ["n", 1], "FLOAT", "engine", "window", None),
        (SAME, ["n", 1, "h", "w"], ["n", 1, "h", "w"], "FLOAT", "finding", "measure", ["area_mm2"]),
        (SAME, ["n", 4, "d", "h", "w"], ["n", 4, "d", "h", "w"], "FLOAT", "prepare", "count", FILL_IN),
    ],
)
def test_the_card_has_what_shapes_and_types_say(
    run: Run, tmp_path: Path, nodes: Any, x: Any, y: Any, kind: str, section: str, key: str, value: object
) -> None:
    file = saved(tmp_path / "net.onnx", nodes, {"x": x}, {"y": y}, getattr(TensorProto, kind))
    answer = run("models", "add", file, "--json").json
    tables = tomllib.loads(Path(answer["card"]).read_text())[section]
    assert value in [each.get(key) for each in (tables if isinstance(tables, list) else [tables])]
    filled_in(answer)
    assert "disabled" not in run("models", "list", "--models", "models").out


def test_several_inputs_and_outputs_are_named_each(run: Run, tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["T1", "FLAIR"], ["lesion"]), helper.make_node("Sub", ["T1", "FLAIR"], ["brain"])]
    shape = ["n", 1, "d", "h", "w"]
    given, made = dict.fromkeys(("T1", "FLAIR"), shape), dict.fromkeys(("lesion", "brain"), shape)
    file = saved(tmp_path / "lesions.onnx", nodes, given, made, TensorProto.FLOAT)
    answer = run("models", "add", file, "--json").json
    written = tomllib.loads(Path(answer["card"]).read_text())
    assert [(each["role"], each["weighting"]) for each in written["input"]] == [("t1", "t1"), ("flair", "flair")]
    assert written["engine"]["inputs"] == {"t1": "T1", "flair": "FLAIR"}
    assert [(each["output"], each["channel"]) for each in written["finding"]] == [("lesion", 0), ("brain", 0)]
    filled_in(answer)
    assert "unproven" in run("models", "check", "--models", "models").out


def test_outputs_that_no_finding_can_be_read_of_are_left_alone(run: Run, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Shape", ["x"], ["sizes"]))
        model.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["all"]))
        model.graph.output.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]))
        tensors = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 1])
        model.graph.output.append(helper.make_value_info("all", helper.make_sequence_type_proto(tensors)))

    answer = run("models", "add", film_file(tmp_path / "downloads", edit), "--json").json
    written = tomllib.loads(Path(answer["card"]).read_text())
    assert (written["engine"]["output"], len(written["finding"])) == ("y", 1)
    filled_in(answer)
    assert "unproven" in run("models", "check", "--models", "models").out


def test_a_film_is_outlined_by_a_file_that_was_added(run: Run, tmp_path: Path, films: Path) -> None:
    shape = ["n", 1, 32, 32]
    nodes = [helper.make_node("Sigmoid", ["x"], ["y"])]
    file = saved(tmp_path / "outline.onnx", nodes, {"x": shape}, {"y": shape}, TensorProto.FLOAT)
    filled_in(run("models", "add", file, "--json").json)
    (study,) = run("analyse", films, "--models", "models", "--json").json["studies"]
    (result,) = study["results"]
    assert result["state"] == "analysed"
    assert [each["meaning"] for each in result["findings"][0]["measurements"]] == ["Area"]


def test_the_commands_that_are_printed_can_be_pasted(run: Run, tmp_path: Path) -> None:
    import shlex

    printed = run("models", "add", film_file(tmp_path / "downloads"), "--to", "của tôi").out
    commands = [shlex.split(each) for each in printed.splitlines() if each.startswith("  imaging ")]
    assert len(commands) == 4
    assert {each[-1].lstrip("+") for each in commands} == {"của tôi/small-film"}


def test_inputs_that_nothing_tells_apart_are_told_apart_by_a_person(run: Run, tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Reshape", ["s", "end"], ["y"])]
    given = {key: ["n", 1, 32, 32] for key in ("a", "b")}
    file = saved(tmp_path / "views.onnx", nodes, given, {"y": ["n", 1]}, TensorProto.FLOAT)
    answer = run("models", "add", file, "--json").json
    examples = {each["key"]: each["example"] for each in answer["to_fill_in"]}
    assert [examples[f"input[{at}].gate"].partition("any = ")[2][:5] for at in (0, 1)] == ['["PA"', '["LAT']
    filled_in(answer)
    assert "disabled" not in run("models", "list", "--models", "models").out


@pytest.mark.parametrize("name", ["small-film", "small-volume"])
def test_an_onnx_file_becomes_a_model_that_answers_once_its_examples_are_filled_in(
    run: Run, tmp_path: Path, films: Path, name: str
) -> None:
    file = write_models(tmp_path / "downloads") / name / "model.onnx"
    answer = run("models", "add", file, "--json").json
    filled_in(answer)
    assert "unproven" in run("models", "check", "--models", "models").out
    if name == "small-film":
        (study,) = run("analyse", films, "--models", "models", "--json").json["studies"]
        (result,) = study["results"]
        assert (result["state"], result["findings"][0]["code"]) == ("analysed", "channel-0")


def test_a_model_that_is_not_filled_in_is_not_served_and_says_why(run: Run, tmp_path: Path, films: Path) -> None:
    answer = run("models", "add", film_file(tmp_path / "downloads"), "--json").json
    filled_in({**answer, "to_fill_in": [each for each in answer["to_fill_in"] if "threshold" not in each["key"]]})
    checked = run("models", "check", "--models", "models")
    assert checked.status == 1
    assert checked.out.count("(to-fill-in)") == 1
    assert "finding[0].threshold = 'FILL IN': is still to be filled in" in checked.out
    (study,) = run("analyse", films, "--models", "models", "--json").json["studies"]
    assert [each["findings"] for each in study["results"]] == [[]]


def test_weights_beside_an_onnx_file_come_with_it_and_from_outside_they_are_refused(run: Run, tmp_path: Path) -> None:
    inside = write_beside(tmp_path / "downloads" / "inside", location="weights/model.bin") / "model.onnx"
    answer = run("models", "add", inside, "--json").json
    assert set(answer["weights"]) == {"model.onnx", "weights/model.bin"}
    stated = tomllib.loads(Path(answer["card"]).read_text())["engine"]["external"]
    assert stated == {"weights/model.bin": answer["weights"]["weights/model.bin"]}
    assert (Path(answer["folder"]) / "weights" / "model.bin").is_file()
    data = inside.parent / "weights" / "model.bin"
    data.rename(tmp_path / "elsewhere.bin")
    missing = run("models", "add", inside, "--id", "missing")
    assert (missing.status, "takes weights from 'weights/model.bin', which does not exist there" in missing.err) == (
        1,
        True,
    )
    data.symlink_to(tmp_path / "elsewhere.bin")
    linked = run("models", "add", inside, "--id", "linked")
    assert (linked.status, "which is not in the model's folder: export the network" in linked.err) == (1, True)
    assert [each.name for each in Path("models").iterdir()] == ["inside"]


def opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Sharpen"


def age(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["n", 1]))


def boxes(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "k", 4]))


def sequence(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("SequenceConstruct", [model.graph.output[0].name], ["all"]))
    tensors = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 1])
    model.graph.output[0].CopyFrom(helper.make_value_info("y", helper.make_sequence_type_proto(tensors)))


def flat(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 10]))


def unstated(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (opset, "the network cannot be loaded: FAIL : Load model from model.onnx failed: ONNX Runtime only"),
        (operator, "the network cannot be loaded: INVALID_GRAPH"),
        (flat, "has the input x (any, 10); expected (batch, channels, rows, columns) for films"),
        (age, "has the input age (any, 1); expected"),
        (
            boxes,
            "gives y (any, any, 4), of which no finding can be read: expected (batch, channels), or a value for each "
            "place of the input; for a detector write a card as docs/models.md (Boxes) says",
        ),
        (sequence, "gives y: a sequence, of which no finding can be read"),
        (unstated, "states no shape of its input x; expected"),
    ],
)
def test_an_onnx_file_that_cannot_be_run_is_refused_and_nothing_is_left(
    run: Run, tmp_path: Path, edit: Callable[[onnx.ModelProto], None], text: str
) -> None:
    file = film_file(tmp_path / "downloads", edit)
    result = run("models", "add", file)
    refused(result, f"imaging models: {file}: {text}")
    assert len(result.err.splitlines()) == 1


# Folders with a card -----------------------------------------------------------------------------------------


def test_a_models_folder_keeps_its_card_but_for_its_status_and_mode(run: Run) -> None:
    shipped = shipped_folder() / "chest-film"
    answer = run("models", "add", shipped, "--id", "their-film", "--json").json
    assert answer["to_fill_in"] == []
    assert answer["changed"] == [
        "status = 'demonstration' is now 'research'",
        "mode = 'findings' is now 'shadow'",
        "id = 'chest-film' is now 'their-film'",
    ]
    old, new = (tomllib.loads((each / "card.toml").read_text()) for each in (shipped, Path(answer["folder"])))
    assert new == {**old, "status": "research", "mode": "shadow", "id": "their-film"}
    assert "# Written by train.py" in Path(answer["card"]).read_text()
    assert run("models", "check", "--models", "models").out == "their-film: as expected\n"


def test_a_models_folder_with_faults_is_refused_by_them(run: Run, tmp_path: Path) -> None:
    model = write_models(tmp_path / "downloads") / "small-film"
    card = model / "card.toml"
    card.write_text(card.read_text().replace("threshold = 0.6", "threshold = 6"))
    refused(run("models", "add", model), f"{card}: finding[0].threshold = 6: must lie in 0..1")
    card.write_text(card.read_text().replace("threshold = 6", 'threshold = "FILL IN"'))
    (asked,) = run("models", "add", model, "--json").json["to_fill_in"]
    assert asked["key"] == "finding[0].threshold"


# What is refused ---------------------------------------------------------------------------------------------


def test_nothing_is_ever_overwritten(run: Run, tmp_path: Path) -> None:
    file = film_file(tmp_path / "downloads")
    Path("models/small-film").mkdir(parents=True)
    Path("models/small-film/notes.txt").write_text("mine")
    result = run("models", "add", file)
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "imaging models: models/small-film: is there already: choose another --id or --to, or remove it first\n"
    )
    assert [each.name for each in Path("models/small-film").iterdir()] == ["notes.txt"]


def test_links_that_lead_out_of_the_folder_are_refused_and_those_within_are_followed(run: Run, tmp_path: Path) -> None:
    model = write_models(tmp_path / "downloads") / "small-film"
    (model / "figures.md").write_text("none")
    (model / "notes.md").symlink_to("figures.md")
    folder = Path(run("models", "add", model, "--id", "first", "--json").json["folder"])
    assert not (folder / "notes.md").is_symlink()
    assert (folder / "notes.md").read_text() == "none"
    for at, target in enumerate(("/etc/passwd", "../../downloads/small-volume/card.toml", "nowhere", "..", ".")):
        link = model / f"link-{at}"
        link.symlink_to(target)
        result = run("models", "add", model, "--id", f"other-{at}")
        assert result.status == 1
        assert result.err.startswith(f"imaging models: {link}: is a link ")
        link.unlink()
    os.mkfifo(model / "pipe")
    assert "pipe: is neither a file nor a folder" in run("models", "add", model, "--id", "other").err
    assert [each.name for each in Path("models").iterdir()] == ["first"]


def test_what_is_no_model_is_refused_with_what_is_near(run: Run, tmp_path: Path) -> None:
    models = write_models(tmp_path / "downloads")
    refused(run("models", "add", models), "is no model: expected the folder of a MONAI bundle", "did you mean")
    (models / "small-film" / "card.toml").unlink()
    near = models / "small-film" / "model.onnx"
    refused(run("models", "add", models / "small-film"), f"did you mean {near}?")
    (tmp_path / "spleen.zip").write_bytes(b"PK")
    refused(run("models", "add", tmp_path / "spleen.zip"), "unpack it first")
    whole = (shipped_folder() / "head-ct-bleed" / "model.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    refused(run("models", "add", tmp_path / "cut.onnx"), "cut.onnx: is no model: it is damaged, or no ONNX file")
    (tmp_path / "empty").touch()
    refused(run("models", "add", tmp_path / "empty"), f"{tmp_path / 'empty'}: is no model")


def test_wrong_arguments_are_told_together(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("models", "add", "nowhere", "--id", "Not an id", "--models", tmp_path)
    refused(result, "nowhere: no such file or folder", "--id 'Not an id': must match", status=2)
    assert "--models: is of models that are there; add takes --to DIR" in result.err
    refused(run("models", "add"), "add: expected one path", status=2)
    refused(run("models", "add", "a", "b"), "add: expected one path", status=2)
    refused(run("models", "list", "--to", "ours"), "--to: is only for add", status=2)
    (tmp_path / "file").touch()
    refused(run("models", "add", tmp_path, "--to", tmp_path / "file"), "--to", "is not a folder", status=2)
    model = write_models(tmp_path / "downloads") / "small-film"
    inside = run("models", "add", model, "--to", model / "models")
    assert (inside.status, "which would be copied into itself" in inside.err) == (1, True)
    assert not (model / "models").exists()
    monkeypatch.chdir(model)
    assert run("models", "add", ".", "--to", "../ours").out.startswith("../ours/small-film: a model's folder from .: ")


def test_what_a_bundle_has_of_licences_is_named(run: Run, tmp_path: Path) -> None:
    need_monai()
    bundle = with_weights("spleen_ct_segmentation", tmp_path / "downloads")
    (bundle / "LICENSE").write_text("\n   Apache License\n   Version 2.0, January 2004\n")
    (bundle / "docs").mkdir()
    (bundle / "docs" / "data_license.txt").write_text("Third Party Licenses\n")
    answer = run("models", "add", bundle, "--json").json
    assert answer["known"]["licences"] == {
        "LICENSE": "Apache License Version 2.0, January 2004",
        "docs/data_license.txt": "Third Party Licenses",
    }
    assert "licence" in {each["key"] for each in answer["to_fill_in"]}


def test_a_disk_that_is_full_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    file = film_file(tmp_path / "downloads")
    (file.parent / "more").write_bytes(bytes(3 << 20))
    write_models(tmp_path / "downloads")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        result = run("models", "add", file.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    refused(result, "File too large")


def test_its_help_and_json_are_as_documented(run: Run, tmp_path: Path) -> None:
    answer = json.loads(run("models", "add", film_file(tmp_path / "downloads"), "--json").out)
    assert {"model", "folder", "card", "digest", "known", "to_fill_in"} <= set(answer)
    assert all(set(each) == {"key", "why", "example"} for each in answer["to_fill_in"])
