"""Bundles are read as data: what can be run becomes what a card has, all else is refused by name, and nothing runs."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bundles import changed, digest, need_monai, published, write_card
from peers import ROOT

from imaging.domain.card import Network, Window
from imaging.domain.tables import CardError, Faults, Table
from imaging.models.bundle import Bundle, read_bundle
from imaging.models.bundle_parts import Outputs
from imaging.models.reading import read_card

Edit = Callable[[dict[str, Any]], None]


def read(folder: Path, name: str, edit: Edit | None = None) -> tuple[Bundle | None, list[str]]:
    """A published bundle, its configuration changed; and its faults, without those of what is not installed."""
    bundle = published(name, folder)
    if edit is not None:
        changed(bundle, edit)
    faults = Faults(folder / "card.toml")
    made = read_bundle(Table({"folder": name}, "engine", faults), folder)
    return made, [each.removeprefix(f"{folder}/") for each in faults.lines if "(engine-absent)" not in each]


def steps(bundle: Bundle | None) -> list[dict[str, Any]]:
    assert bundle is not None
    return [each.step for each in bundle.steps]


def test_the_spleen_bundle_becomes_what_a_card_has(tmp_path: Path) -> None:
    bundle, faults = read(tmp_path, "spleen_ct_segmentation")
    assert faults == []
    assert bundle is not None
    assert steps(bundle) == [
        {"do": "orient", "to": "RAS"},
        {"do": "resample", "spacing": [1.5, 1.5, 2.0], "mode": "linear", "beyond": "border"},
        {"do": "window", "low": -57.0, "high": 164.0},
    ]
    assert bundle.window == Window((96, 96, 96), 0.5, "constant", 4, padding="zero")
    assert bundle.outputs == Outputs("softmax", "argmax", carried="values")
    assert bundle.network.name == "UNet"
    assert bundle.network.options["channels"] == [16, 32, 64, 128, 256]
    assert (bundle.labels, bundle.modality) == ({"background": 0, "spleen": 1}, ("CT",))
    assert bundle.facts["version"] == "0.5.9"


def test_the_whole_body_bundle_takes_its_spacing_and_window_from_other_parts_of_its_file(tmp_path: Path) -> None:
    bundle, faults = read(tmp_path, "wholeBody_ct_segmentation")
    assert faults == []
    assert steps(bundle)[1:] == [
        {"do": "resample", "spacing": [1.5, 1.5, 1.5], "mode": "linear", "beyond": "border"},
        {"do": "zscore", "nonzero": True},
        {"do": "percentile", "lower": 0, "upper": 100},
        {"do": "scale", "factor": 2.0, "offset": -1.0},
    ]
    assert bundle is not None
    assert bundle.window == Window((96, 96, 96), 0.25, "gaussian", 1, padding="replicate")
    assert bundle.outputs == Outputs("softmax", "argmax", carried="mask")
    assert bundle.labels["liver"] == 5


def test_the_prostate_bundle_keeps_the_largest_component_of_its_labels(tmp_path: Path) -> None:
    bundle, faults = read(tmp_path, "prostate_mri_anatomy")
    assert faults == []
    assert bundle is not None
    assert bundle.outputs == Outputs("none", "argmax", carried="labels", largest=frozenset({1, 2}))


def test_the_brats_bundle_takes_four_series_and_reports_its_channels_before_their_merge(tmp_path: Path) -> None:
    bundle, faults = read(tmp_path, "brats_mri_segmentation")
    assert faults == []
    assert bundle is not None
    assert bundle.channels == 4
    assert steps(bundle) == [{"do": "orient", "to": "column-row-slice"}, {"do": "zscore", "nonzero": True}]
    assert bundle.outputs == Outputs("sigmoid", "threshold", 0.5, carried="values")
    assert bundle.labels == {"Tumor core": 0, "Whole tumor": 1, "Enhancing tumor": 2}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("breast_density_classification", "network_def._target_ = 'TorchVisionFCModel': is not a supported network"),
        ("lung_nodule_ct_detection", "feature_extractor = '$monai.apps.detection.networks.retinanet_network"),
        (
            "valve_landmarks",
            "network_def._target_ = 'scripts.valve_landmarks.PointRegressor': is not a supported network",
        ),
    ],
)
def test_a_bundle_that_cannot_be_run_is_refused_by_what_it_needs(tmp_path: Path, name: str, text: str) -> None:
    bundle, faults = read(tmp_path, name)
    assert bundle is None
    (fault,) = faults
    assert text in fault
    assert fault.startswith(f"{name}/configs/inference.json: ")


def test_a_bundle_in_yaml_is_read_alike(tmp_path: Path) -> None:
    need_monai()
    import yaml

    bundle, _ = read(tmp_path, "spleen_ct_segmentation")
    config = tmp_path / "again" / "spleen_ct_segmentation" / "configs" / "inference.json"
    published("spleen_ct_segmentation", tmp_path / "again")
    config.with_suffix(".yaml").write_text(yaml.safe_dump(json.loads(config.read_text())))
    config.unlink()
    faults = Faults(tmp_path / "card.toml")
    again = read_bundle(Table({"folder": "spleen_ct_segmentation"}, "engine", faults), tmp_path / "again")
    assert bundle is not None
    assert again is not None
    assert (again.steps, again.window, again.network) == (bundle.steps, bundle.window, bundle.network)


def test_a_bundle_whose_network_was_searched_for_is_refused_by_what_it_needs(tmp_path: Path) -> None:
    need_monai()
    bundle, (fault,) = read(tmp_path, "pancreas_ct_dints_segmentation")
    assert bundle is None
    assert "dints_space._target_ = 'monai.networks.nets.TopologyInstance': must be plain values" in fault


@pytest.mark.parametrize("use", ["channels: *j", "channels: $@a == @b", "dropout: $len(@a) + @a", "norm: $-@a"])
@pytest.mark.timeout(20)
def test_a_few_lines_of_yaml_that_hold_a_thousand_million_values_are_refused_at_once(tmp_path: Path, use: str) -> None:
    need_monai()
    published("spleen_ct_segmentation", tmp_path)
    config = tmp_path / "spleen_ct_segmentation" / "configs" / "inference.json"
    config.unlink()

    def bomb(letters: str) -> str:
        lines = [f"{letters[0]}: &{letters[0]} [x, x, x, x, x, x, x, x, x]"]
        pairs = pairwise(letters)
        lines += [f"{each}: &{each} [{', '.join([f'*{before}'] * 9)}]" for before, each in pairs]
        return "\n".join(lines)

    first, second = bomb("pqrstuvwxj"), bomb("klmnoyzABC")
    text = (
        f"{first}\n{second}\na: *j\nb: *C\nnetwork:\n  _target_: UNet\n  spatial_dims: 3\n  in_channels: 1\n  {use}\n"
    )
    config.with_suffix(".yaml").write_text(text)
    faults = Faults(tmp_path / "card.toml")
    assert read_bundle(Table({"folder": "spleen_ct_segmentation"}, "engine", faults), tmp_path) is None
    (fault,) = faults.lines
    assert "network." in fault
    assert len(fault) < 1000


def of_network(key: str, value: object) -> Edit:
    return lambda data: data["network_def"].update({key: value})


def of_transform(**value: object) -> Edit:
    return lambda config: config["preprocessing"]["transforms"].append({"keys": "image", **value})


def of_keys(**keys: object) -> Edit:
    return lambda data: data.update(keys)


def both(*edits: Edit) -> Edit:
    def all_of_them(data: dict[str, Any]) -> None:
        for each in edits:
            each(data)

    return all_of_them


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (of_network("out_channels", "$os.system('touch ran')"), "network_def.out_channels"),
        (of_network("out_channels", "$__import__('os').system('touch ran')"), "(expression-unknown)"),
        (of_network("out_channels", "$(lambda: 2)()"), "(expression-unknown)"),
        (of_network("out_channels", "$[x for x in (2,)][0]"), "(expression-unknown)"),
        (of_network("out_channels", "$len.__class__"), "(expression-unknown)"),
        (of_network("out_channels", "$9**9**9**9"), "(expression-unknown)"),
        (of_network("out_channels", "$'a' * 9999999999"), "cannot be computed: TypeError"),
        (of_network("out_channels", "$1 / 0"), "cannot be computed: ZeroDivisionError"),
        (of_network("out_channels", "$" + "(" * 5000), "(expression)"),
        (of_network("out_channels", "@nowhere"), "there is no nowhere in this file (reference-unknown)"),
        (of_network("out_channels", "%other.json::key"), "is not a reference within this file (reference-form)"),
        (of_network("out_channels", "@network_def::out_channels"), "refers to itself"),
        (of_network("norm", {"_target_": "os.system", "command": "touch ran"}), "network_def.norm._target_"),
        (of_network("_target_", "os.system"), "network_def._target_ = 'os.system': is not a supported network"),
        (of_network("_target_", "monai.networks.nets.torch.load"), "(network-unknown)"),
        (
            of_transform(_target_="Rotate90d"),
            "preprocessing.transforms[6]._target_ = 'Rotate90d': is not a supported transform",
        ),
        (of_transform(_target_="scripts.mine.Touchd"), "preprocessing.transforms[6]._target_"),
        (of_transform(_target_="CropForegroundd", source_key="image", select_fn="$lambda x: x > 1"), "].select_fn = "),
        (
            of_transform(_target_="ScaleIntensityd", factor=2),
            "].factor = 2: is not a supported argument of ScaleIntensityd",
        ),
        (
            of_transform(_target_="Resized", spatial_size=[96, 96, 96], mode="trilinear"),
            "preprocessing.transforms[6]._target_ = 'Resized': after Spacingd is inverted in two steps",
        ),
        (of_transform(_target_="Resized", spatial_size=[96, 96, 96]), "].mode = 'area': must be 'trilinear' here"),
        (
            of_transform(_target_="Resized", spatial_size=[96, 96, -1], mode="trilinear"),
            "].spatial_size = [96, 96, -1]: must be three sizes",
        ),
        (of_transform(_target_="EnsureTyped", dtype="float16"), "].dtype = 'float16': must be float32"),
        (of_keys(inferer={"_target_": "scripts.mine.Inferer"}), "inferer._target_"),
        (of_keys(inferer={"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96], "overlap": 1.5}), "overlap"),
        (of_keys(postprocessing=["$os.system('touch ran')"]), "postprocessing[0]"),
        (of_keys(postprocessing={"_target_": "Compose", "transforms": []}), "(discrete-absent)"),
        (
            both(of_keys(a=["@b"] * 50, b=["@c"] * 50, c=["@d"] * 50, d=[1] * 50), of_network("channels", "@a")),
            "has too many values",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle, faults = read(tmp_path, "spleen_ct_segmentation", edit)
    assert bundle is None
    assert text in "\n".join(faults)
    assert not (tmp_path / "ran").exists()


def test_what_nobody_asks_for_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "$__import__('os').system('touch ran')"
    edit = of_keys(imports=[code], initialize=[code], run=[code], handlers=[{"_target_": code}], dataset=code)
    bundle, faults = read(tmp_path, "spleen_ct_segmentation", edit)
    assert faults == []
    assert bundle is not None
    assert not (tmp_path / "ran").exists()


def test_sizes_may_be_computed(tmp_path: Path) -> None:
    edit = both(
        of_keys(size=[96, 96, 48], deep=True, first=16),
        of_network("spatial_dims", "$len(@size)"),
        of_network("channels", "$[@first, @first * 2, -(-@first // 1) * 4] if @deep and @size#2 < 96 else []"),
        of_network("strides", "%network_def#kernel"),
        of_network("kernel", [2, "$4 / 2"]),
        of_network("img_size", "@size"),
    )
    bundle, faults = read(tmp_path, "spleen_ct_segmentation", edit)
    assert faults == []
    assert bundle is not None
    assert bundle.network == Network("UNet", {**bundle.network.options, "spatial_dims": 3, "channels": [16, 32, 64]})
    assert bundle.network.options["strides"] == [2, 2.0]


# Cards of bundles --------------------------------------------------------------------------------------------


def weights(file: Path, pickled: bytes, name: str = "model/data.pkl") -> str:
    """A file as `torch.save` writes one; its digest."""
    file.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, pickled)
    return digest(file)


class Runs:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch ran",)


def faults_of(model: Path) -> str:
    with pytest.raises(CardError) as error:
        read_card(model)
    return "\n".join(each for each in error.value.faults if "(engine-absent)" not in each)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_runs_code_is_refused_by_name_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    sha256 = weights(bundle / "models" / "model.pt", pickle.dumps({"w": Runs()}, protocol))
    text = faults_of(write_card(bundle, sha256, ["spleen"]))
    assert "contains more than weights, and would run " + ("posix.system" if protocol == 2 else "STACK_GLOBAL") in text
    assert "(weights-refused)" in text
    assert not (tmp_path / "ran").exists()


def test_what_is_no_file_of_weights_is_said(tmp_path: Path) -> None:
    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    file = bundle / "models" / "model.pt"
    old = io.BytesIO()
    pickle.dump({"w": 1}, old, 2)
    file.parent.mkdir()
    file.write_bytes(old.getvalue())
    assert "is not a weights file in the zip format that torch.save has written since 1.6" in faults_of(
        write_card(bundle, digest(file), ["spleen"])
    )
    program = weights(file, b"", "model/constants.pkl")
    assert "is TorchScript, which is a program" in faults_of(write_card(bundle, program, ["spleen"]))


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            "channel = 'spleen'",
            "channel = 'liver'",
            "channel = 'liver': must be a channel of the bundle: 0 'background'",
        ),
        ("channel = 'spleen'", "channel = 2", "finding[0].channel = 2"),
        ("channel = 'spleen'", 'channel = 1\nactivation = "sigmoid"', "finding[0].activation = 'sigmoid': comes from"),
        ("channel = 'spleen'", "channel = 1\nmask_at = 0.3", "finding[0].mask_at"),
        ("channel = 'spleen'", 'channel = 1\nas = "label"', "finding[0].as = 'label'"),
        ("[engine]", '[[prepare]]\ndo = "zscore"\n[engine]', "prepare = [{'do': 'zscore'}]: comes from the bundle's"),
        ('folder = "spleen_ct', 'folder = "../spleen/spleen_ct', "engine.folder"),
        ('folder = "spleen_ct_segmentation"', 'folder = "nowhere"', "(folder-missing)"),
        ("seconds = 300", 'file = "models/other.pt"', "(file-missing)"),
        ('sha256 = "', 'sha256 = "0', "(sha256-differs)"),
    ],
)
def test_what_a_bundle_says_is_not_said_again_on_its_card(tmp_path: Path, before: str, after: str, text: str) -> None:
    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    sha256 = weights(bundle / "models" / "model.pt", pickle.dumps({}, 2))
    card = write_card(bundle, sha256, ["spleen"]) / "card.toml"
    assert before in card.read_text()
    card.write_text(card.read_text().replace(before, after))
    assert text in faults_of(card.parent)


def test_a_changed_configuration_is_another_model(tmp_path: Path) -> None:
    need_monai()
    bundle = published("spleen_ct_segmentation", tmp_path / "spleen")
    sha256 = weights(bundle / "models" / "model.pt", pickle.dumps({}, 2))
    model = write_card(bundle, sha256, ["spleen"])
    first = read_card(model)
    assert (first.version, first.maker, first.inputs[0].modality) == ("0.5.9", "MONAI team", ("CT",))
    changed(bundle, of_keys(output_dir="elsewhere"))
    assert read_card(model).digest != first.digest


def test_without_torch_a_bundle_is_disabled_with_what_mends_it(tmp_path: Path) -> None:
    """In an environment that has all but the extra."""
    (libraries := tmp_path / "libraries").mkdir()
    site = Path(pytest.__file__).parents[1]
    for each in site.iterdir():
        if each.name.partition("-")[0] not in ("torch", "monai"):
            (libraries / each.name).symlink_to(each)
    bundle = published("spleen_ct_segmentation", tmp_path / "models" / "spleen")
    sha256 = weights(bundle / "models" / "model.pt", pickle.dumps({}, 2))
    write_card(bundle, sha256, ["spleen"])
    program = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from imaging.models.catalogue import load_models\n"
        "print(load_models([Path(sys.argv[3])]).disabled['spleen'])"
    )
    arguments = [str(libraries), str(ROOT), str(tmp_path / "models")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    texts = done.stdout.splitlines()
    assert len(texts) == 2
    assert all(each.endswith("which is not installed: pip install 'imaging[monai]' (engine-absent)") for each in texts)
