"""`imaging models evaluate`: labelled studies, images and pictures in, figures out."""

import csv
import json
import os
import signal
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from command_result import CommandResult
from onnx import helper, numpy_helper
from PIL import Image
from pydicom import Dataset
from small_models import FILM, write_card, write_models, write_network

from imaging.confined.client import Confined
from imaging.domain.evaluation.labels import read_table
from imaging.models.catalogue import load_models
from imaging.phantoms.study import film_study, head_study
from imaging.roles.evaluating import Evaluating
from imaging.roles.labelled import joined

NOW = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
GATES = """gate = [{{tag = "ViewPosition", any = ["PA", "AP"], absent = "refuse"}}]

[[prepare]]
do = "resize\""""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bright`: the probability of its finding is the sigmoid of 8 x (the film's mean grey - 0.5); it takes PA, AP."""
    folder = tmp_path_factory.mktemp("models") / "bright"
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Sub", ["flat", "half"], ["above"]),
        helper.make_node("Mul", ["above", "eight"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.full((1, 1), value, np.float32), name)
        for name, value in (("half", 0.5), ("eight", 8))
    ]
    digest = write_network(folder, nodes, weights, ["n", 1, 32, 32], ["n", 1])
    text = FILM.replace('[[prepare]]\ndo = "zscore"\n', "").replace('[[prepare]]\ndo = "resize"', GATES, 1)
    write_card(folder, text, 7, digest)
    return folder


def picture(file: Path, grey: float) -> Path:
    """An 8-bit picture of that mean, in which not all is one grey."""
    values = np.full((64, 64), round(grey * 255), np.uint8)
    values[::2, 0] += 1
    values[1::2, 0] -= 1
    Image.fromarray(values).save(file)
    return file


def pictures(folder: Path, greys: Sequence[float]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [picture(folder / f"{number:03}.png", grey) for number, grey in enumerate(greys)]


def film(file: Path, seed: int, **changes: object) -> Dataset:
    dataset = film_study(seed, frozenset(), NOW, run="evaluated", rows=128, columns=128).instances[0]
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    if "ViewPosition" in changes:
        dataset.pop("ViewCodeSequence", None)
    file.parent.mkdir(exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)
    return dataset


def table(file: Path, rows: Sequence[tuple[object, int]], key: str = "path") -> Path:
    file.write_text("\n".join([f"{key},label", *(f"{name},{int(label)}" for name, label in rows)]) + "\n")
    return file


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


Run = Callable[..., CommandResult]


def test_pictures_are_scored_and_all_figures_are_in_the_document(run: Run, model: Path, tmp_path: Path) -> None:
    greys = [0.2, 0.3, 0.7, 0.4, 0.6, 0.8]
    files = pictures(tmp_path / "films", greys)
    labels = table(tmp_path / "labels.csv", [(f"films/{file.name}", n >= 2) for n, file in enumerate(files)])
    out = tmp_path / "out"
    result = run("models", "evaluate", "bright", tmp_path / "films", "--models", model, "--labels", labels, "--json",
                 "--window", "0", "4095", "--out", out)  # fmt: skip
    assert result.status == 0, result.err
    found = result.json
    assert (found["model"], found["finding"], found["n"], found["positives"]) == ("bright", "abnormal", 6, 4)
    assert (found["auc"], found["refused"], found["failed"]) == (1.0, {}, {})
    assert (found["sensitivity"], found["specificity"]) == (0.75, 1.0)  # 0.4 is below the card's 0.6
    assert found["sensitivity_ci"][0] < 0.75 < found["sensitivity_ci"][1]
    assert found["lr_positive_ci"][0] < found["lr_positive"] < found["lr_positive_ci"][1]
    assert (found["metadata_auc"], found["unproven"]) == (None, "no-golden-case")
    assert found["suggested"]["threshold"] == pytest.approx(sigmoid(8 * (0.4 - 0.5)), abs=1e-5)
    assert found["flags_per_day"]["flags"] == {"urgent": pytest.approx(100 * 2 / 6)}  # of 0.7 and more
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "score", "present", "reason"]
    assert [float(row["score"]) for row in rows] == pytest.approx([sigmoid(8 * (g - 0.5)) for g in greys], abs=3e-3)
    assert [row["present"] for row in rows] == ["0", "0", "1", "0", "1", "1"]
    assert [stat.S_IMODE(each.stat().st_mode) for each in (out, out / "scores.csv", out / "evaluation.html")] == [
        0o700, 0o600, 0o600,
    ]  # fmt: skip
    assert "films/" not in (out / "evaluation.html").read_text()


def test_a_picture_and_a_dicom_film_of_the_same_values_have_the_same_score(
    run: Run, model: Path, tmp_path: Path
) -> None:
    dataset = film(tmp_path / "films" / "one.dcm", 2, WindowCenter="1500", WindowWidth="2001")
    Image.fromarray(dataset.pixel_array.astype(np.uint16)).save(tmp_path / "films" / "one.png")
    labels = table(tmp_path / "labels.csv", [("films/one.dcm", 1), ("films/one.png", 0)])
    out = tmp_path / "out"
    result = run("models", "evaluate", "bright", "--labels", labels, "--models", model, "--window", 499.5, 2499.5,
                 "--out", out, tmp_path / "films")  # fmt: skip
    assert result.status == 0, result.err
    with (out / "scores.csv").open() as file:
        one, other = (float(row["score"]) for row in csv.DictReader(file))
    assert one == pytest.approx(other, abs=1e-5)


def test_what_the_gates_refuse_is_counted_and_run_only_where_that_is_asked(
    run: Run, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    film(folder / "pa.dcm", 2)
    film(folder / "lateral.dcm", 4, ViewPosition="LL", PatientOrientation=["P", "F"])
    labels = table(tmp_path / "labels.csv", [("films/pa.dcm", 1), ("films/lateral.dcm", 0)])
    asked = ("models", "evaluate", "bright", folder, "--models", model, "--labels", labels, "--json")
    gated, ungated = run(*asked).json, run(*asked, "--ungated").json
    assert (gated["n"], gated["refused"], gated["ungated"]) == (1, {"view": 1}, {})
    assert (ungated["n"], ungated["refused"], ungated["ungated"]) == (2, {}, {"view": 1})
    text = run(*asked[:-1], "--ungated").out
    assert "1 of the analysed ones are refused in service (--ungated): view 1" in text


def test_studies_are_labelled_by_their_uid_and_grouped_by_what_their_headers_say(
    run: Run, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    made = [film(folder / f"{n}.dcm", n, PatientID=f"P{n}", PatientSex="FM"[n % 2]) for n in range(2, 8)]
    labels = table(tmp_path / "labels.csv", [(each.StudyInstanceUID, n % 3 == 0) for n, each in enumerate(made[:5])],
                   "study_uid")  # fmt: skip
    found = run("models", "evaluate", "bright", folder, "--models", model, "--labels", labels, "--json", "--by",
                "scanner,sex,age,view").json  # fmt: skip
    assert (found["n"], found["images_without_label"], found["labels_without_image"]) == (5, 1, 0)
    groups = {by: {each["group"]: each["n"] for each in rows} for by, rows in found["by"].items()}
    assert groups["sex"] == {"F": 3, "M": 2}
    assert groups["scanner"] == {"imaging drawn": 5}
    assert groups["view"] == {"PA": 5}
    assert sum(groups["age"].values()) == 5
    assert all(each["few"] for rows in found["by"].values() for each in rows)


def test_several_studies_of_a_patient_are_resampled_together(run: Run, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    for n in range(8):
        film(folder / f"{n}.dcm", n + 2, PatientID=f"P{n // 2}", PatientName=f"Le^{n // 2}")
    labels = table(tmp_path / "labels.csv", [(f"films/{n}.dcm", n % 3 == 0) for n in range(8)])
    asked = ("models", "evaluate", "bright", folder, "--models", model, "--labels", labels, "--json")
    first, again = run(*asked), run(*asked)
    assert first.json["auc_method"] == "bootstrap-patient"
    assert first.out == again.out


def test_a_volume_is_a_folder_and_a_picture_is_none(run: Run, tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    for seed, bleed in ((1, True), (2, False)):
        folder = tmp_path / "heads" / str(seed)
        folder.mkdir(parents=True)
        for number, instance in enumerate(head_study(seed, bleed, NOW, slices=14, size=64).instances):
            instance.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    picture(tmp_path / "heads" / "slice.png", 0.5)
    labels = table(tmp_path / "labels.csv", [("heads/1/", 1), ("heads/2", 0), ("heads/slice.png", 0)])
    result = run("models", "evaluate", "small-volume", tmp_path / "heads", "--models", models, "--labels", labels,
                 "--window", -20, 100, "--json")  # fmt: skip
    assert (result.json["n"], result.json["refused"]) == (2, {"positions-absent": 1})
    assert "small-volume takes volumes, and a picture has no geometry" in result.err


def test_a_finding_must_be_known_and_named_where_there_are_several(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0.5)
    labels = table(tmp_path / "labels.csv", [("a.png", 1)])
    for more in ((), ("--finding", "bleed")):
        result = run("models", "evaluate", "chest-film", tmp_path, "--labels", labels, *more)
        assert result.status == 2
        assert "60046008 (Pleural effusion)" in result.err
        assert "cardiomegaly (Cardiomegaly)" in result.err


def test_faults_of_what_is_asked_come_together(run: Run, model: Path, tmp_path: Path) -> None:
    result = run("models", "evaluate", "bright", tmp_path / "none", "--models", model, "--window", "9", "x", "--by",
                 "town", "--sensitivity", "1.1", "--studies-per-day", "0", "--prevalence", "nan")  # fmt: skip
    assert result.status == 2
    for each in ("none: no such file", "--labels: expected", "--window 9 x:", "--by 'town'", "--sensitivity '1.1'",
                 "--studies-per-day '0'", "--prevalence 'nan'"):  # fmt: skip
        assert each in result.err, each
    assert "available: bright" in run("models", "evaluate", "dull", tmp_path, "--models", model).err


def test_faults_of_the_table_have_their_lines_and_nothing_is_run(run: Run, model: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "films", [0.2, 0.8])
    for rows, fault in (
        ([("films/000.png", 2)], "line 2: label '2' of films/000.png: expected 0 or 1"),
        ([("films/000.png", 1), ("films/000.png", 0)], "line 3: films/000.png: a second label"),
        ([("films/000.png", 1), (tmp_path / "films/000.png", 0)], "line 3: "),
        ([("films", 1)], "line 2: films holds 2 pictures"),
        ([("films/none.png", 1)], "line 2: films/none.png: no such file or folder"),
    ):
        labels = table(tmp_path / "labels.csv", rows)
        result = run("models", "evaluate", "bright", tmp_path, "--models", model, "--labels", labels)
        assert (result.status, fault in result.err) == (2, True), result.err
        assert result.out == ""


def test_labels_and_images_that_do_not_meet_are_counted_and_one_kind_has_no_area(
    run: Run, model: Path, tmp_path: Path
) -> None:
    files = pictures(tmp_path / "films", [0.2, 0.8, 0.3])
    elsewhere = picture(tmp_path / "elsewhere.png", 0.4)
    labels = table(tmp_path / "labels.csv", [(files[0], 1), (elsewhere, 0), ("gone.png", 0)])
    asked = ("models", "evaluate", "bright", tmp_path / "films", "--models", model, "--labels", labels)
    result, text = run(*asked, "--json"), run(*asked).out
    assert result.status == 0
    assert (result.json["labels_without_image"], result.json["images_without_label"]) == (2, 2)
    assert (result.json["auc"], result.json["auc_ci"], result.json["lr_positive"]) == (None, None, None)
    assert "line 4: gone.png: no such file or folder" in result.err
    assert "all of them are positive: no AUC" in text


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_run(run: Run, model: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "films", [0.2, 0.8])
    labels = table(tmp_path / "labels.csv", [("films/000.png", 0), ("films/001.png", 1)])
    result = run("models", "evaluate", "bright", tmp_path / "films", "--models", model, "--labels", labels, "--out",
                 "/proc/none")  # fmt: skip
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines() == ["imaging models: --out /proc/none: No such file or directory"]


def test_a_process_that_ends_meanwhile_costs_no_exam(model: Path, tmp_path: Path) -> None:
    files = pictures(tmp_path / "films", np.linspace(0.1, 0.9, 90).tolist())
    (card,) = load_models([model]).models
    rows = read_table(table(tmp_path / "labels.csv", [(each, 0) for each in files]).read_text())
    exams = joined([tmp_path / "films"], rows, tmp_path, card, frozenset(), scanners=False).exams
    with Confined([card], threads=2, memory_mb=None) as confined:

        def kill(done: int) -> None:
            if done in (16, 64):
                os.kill(confined.pid, signal.SIGKILL)

        evaluating = Evaluating(confined, card, card.findings[0], threads=2)
        cases = evaluating.cases(exams, kill)
        assert confined.starts > 1
    scores = [each.score for each in cases]
    assert None not in scores
    assert scores == sorted(scores)  # type: ignore[type-var]


def test_a_picture_that_cannot_be_decoded_is_refused_and_the_others_count(
    run: Run, model: Path, tmp_path: Path
) -> None:
    files = pictures(tmp_path / "films", [0.2, 0.8, 0.3])
    files[1].write_bytes(files[1].read_bytes()[:80])
    labels = table(tmp_path / "labels.csv", [(each, n == 2) for n, each in enumerate(files)])
    result = run("models", "evaluate", "bright", tmp_path / "films", "--models", model, "--labels", labels, "--json")
    assert json.loads(result.out)["refused"] == {"pixels-unreadable": 1}
    assert result.json["n"] == 2
