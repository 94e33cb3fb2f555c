"""Files that are analysed: what is printed, and the reports that are written."""

import json
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_result import CommandResult
from drawn_film import drawn, write
from peers import imaging
from pydicom import dcmread
from small_models import write_models

from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study, head_study

RESULT = {
    "model",
    "version",
    "state",
    "reason",
    "flag",
    "findings",
    "timings_ms",
    "sr",
    "schema",
    "in_part",
    "triage",
    "images",
    "analysed",
    "facts",
}
FINDING = {"code", "scheme", "meaning", "present", "probability", "threshold", "measurements"}


def test_analyse_prints_the_one_shape_and_writes_an_sr_per_answer(
    run: Callable[..., CommandResult], films: Path, models: Path, tmp_path: Path
) -> None:
    completed = run("analyse", films, "--models", models, "--output", tmp_path / "out", "--json")
    assert completed.status == 0
    assert "1 files skipped" in completed.err
    assert completed.json.keys() == {"studies"}
    (study,) = completed.json["studies"]
    assert study.keys() == {"study_uid", "files", "results"}
    assert [Path(each).parent for each in study["files"]] == [films]
    (result,) = study["results"]
    assert result.keys() >= RESULT
    assert (result["model"], result["state"], result["flag"]) == ("small-film", "analysed", "urgent")
    (finding,) = result["findings"]
    assert finding.keys() >= FINDING
    assert (finding["present"], finding["measurements"]) == (True, [])
    assert Path(result["sr"]).is_absolute()
    assert Path(result["sr"]).stat().st_mode & 0o777 == 0o600
    in_words = run("analyse", films, "--models", models)
    assert "small-film 1: analysed, flag urgent" in in_words.out
    assert f"\n  {study['files'][0]}\n" in in_words.out
    assert "not a medical device" in in_words.out


def test_a_report_that_lay_open_to_others_is_closed_when_it_is_written_anew(
    run: Callable[..., CommandResult], films: Path, models: Path, tmp_path: Path
) -> None:
    again = ["analyse", films, "--models", models, "--at", "2026-11-24T09:30:00+07:00", "--output", tmp_path]
    (study,) = run(*again, "--json").json["studies"]
    report = Path(study["results"][0]["sr"])
    report.chmod(0o644)
    run(*again)
    assert report.stat().st_mode & 0o777 == 0o600


def test_analyse_prints_measurements_and_names_a_long_series_by_its_ends(run: Callable[..., CommandResult]) -> None:
    case = shipped_folder() / "head-ct-bleed" / "golden"
    result = run("analyse", case)
    assert result.status == 0
    assert f"  {case / '01.dcm'}\n  ... 12 more files ...\n  {case / '14.dcm'}\n" in result.out
    assert "      Volume 7.31 ml\n" in result.out
    assert "      Attenuation Coefficient 61.5 HU\n" in result.out


def test_what_limits_a_finding_stands_beside_it_and_calibrated_only_where_the_card_calibrates(
    run: Callable[..., CommandResult], tmp_path: Path, films: Path
) -> None:
    weak = shutil.copytree(shipped_folder() / "chest-film", tmp_path / "weak")
    card = (weak / "card.toml").read_text()
    (weak / "card.toml").write_text(re.sub(r"(\"cardiomegaly\"\nauc = .*\nci95 = \[)[0-9.]+", r"\g<1>0.446", card))
    case = weak / "golden" / "film.dcm"
    lines = run("analyse", case, "--models", weak).out.splitlines()
    assert "    Pleural effusion: present 0.994, calibrated (threshold 0.169)" in lines
    near = "    Cardiomegaly: absent 0.018, calibrated (threshold 0.153); near chance by the card's evidence"
    assert near in lines
    (study,) = run("analyse", case, "--models", weak, "--json").json["studies"]
    data = {each["code"]: (each["calibrated"], each["near_chance"]) for each in study["results"][0]["findings"]}
    assert data == {"60046008": (True, False), "cardiomegaly": (True, True)}
    assert study["results"][0]["unproven"] is None
    model = write_models(tmp_path / "models") / "small-film"
    out = run("analyse", films, "--models", model).out
    assert "(threshold 0.6); unproven: its card has no golden case" in out
    assert "calibrated" not in out


def test_a_model_whose_golden_case_does_not_come_out_answers_analyse_as_unproven(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    shutil.copytree(shipped_folder() / "chest-film", tmp_path / "chest-film")
    expected = tmp_path / "chest-film" / "golden" / "expected.json"
    expected.write_text(expected.read_text().replace("0.993905", "0.5"))
    case = tmp_path / "chest-film" / "golden" / "film.dcm"
    (study,) = run("analyse", case, "--models", tmp_path, "--json").json["studies"]
    assert [each["unproven"] for each in study["results"]] == ["golden-case-failed"]
    assert "unproven: its golden case fails" in run("analyse", case, "--models", tmp_path).out


def test_the_same_files_models_and_at_give_the_same_bytes(
    run: Callable[..., CommandResult], films: Path, models: Path, tmp_path: Path
) -> None:
    at = ["--at", "2026-11-24T09:30:00+07:00", "--models", models]
    one, other = (
        Path(run("analyse", films, *at, "--output", tmp_path / name, "--json").json["studies"][0]["results"][0]["sr"])
        for name in ("one", "other")
    )
    assert one.read_bytes() == other.read_bytes()
    assert one.name == other.name


def test_what_no_model_fits_is_a_result_and_no_failure(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    ultrasound = drawn()
    ultrasound.Modality = "US"
    write(tmp_path / "us.dcm", ultrasound)
    completed = run("analyse", tmp_path / "us.dcm", "--models", models, "--json")
    assert completed.status == 0
    (result,) = completed.json["studies"][0]["results"]
    assert (result["model"], result["state"], result["reason"]) == (None, "not_analysed", "no-model")
    assert (result["flag"], result["findings"], result["in_part"], result["sr"]) == (None, [], False, None)


def test_an_image_encoded_twice_is_analysed_once_and_other_pixels_under_its_uid_leave_doubt(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    write(tmp_path / "1.dcm", drawn())
    again = drawn()
    again.StationName = "A PACS"
    again.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    write(tmp_path / "2.dcm", again)
    (result,) = run("analyse", tmp_path, "--models", models, "--json").json["studies"][0]["results"]
    assert (result["model"], result["state"]) == ("small-film", "analysed")
    assert (result["conflicts"], result["in_part"], result["images"]["considered"]) == (0, False, 1)
    other = drawn()
    other.PixelData = bytes(reversed(other.PixelData))
    write(tmp_path / "3.dcm", other)
    (result,) = run("analyse", tmp_path, "--models", models, "--json").json["studies"][0]["results"]
    assert (result["model"], result["state"], result["conflicts"]) == ("small-film", "analysed", 1)
    assert False not in [each["present"] for each in result["findings"]]
    assert "1 image has a second, different version" in run("analyse", tmp_path, "--models", models).out


def test_which_object_under_a_uid_is_newer_is_told_by_its_creation_and_never_by_its_files_name(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    old, new = drawn(), drawn()
    old.BodyPartExamined, old.InstanceCreationDate, old.InstanceCreationTime = "ABDOMEN", "20261124", "080000"
    new.InstanceCreationDate, new.InstanceCreationTime = "20261124", "090000"
    for names in (("a.dcm", "b.dcm"), ("b.dcm", "a.dcm")):
        for name, drawing in zip(names, (old, new), strict=True):
            write(tmp_path / name, drawing)
        (result,) = run("analyse", tmp_path, "--models", models, "--json").json["studies"][0]["results"]
        assert (result["model"], result["state"], result["conflicts"]) == ("small-film", "analysed", 0)


def test_a_study_that_needs_more_memory_than_it_may_take_is_not_analysed(models: Path, tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    study = head_study(1, False, now, run="commands")
    template = study.instances[0]
    template.Rows = template.Columns = 1024
    template.PixelData = bytes(2 << 20)
    for number in range(100):  # 200 MB of stored values, and again as much in units
        template.SOPInstanceUID = f"1.2.3.{number}"
        template.ImagePositionPatient = [0, 0, number]
        write(tmp_path / f"{number}.dcm", template)
    options = [str(tmp_path), "--models", str(models), "--memory-mb", "500", "--json"]
    completed = imaging("analyse", *options)  # a process of its own: this one holds much already
    (result,) = json.loads(completed.stdout)["studies"][0]["results"]
    assert (result["state"], result["reason"]) == ("not_analysed", "memory")


def test_two_films_of_other_names_without_identifiers_are_no_one_patients(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    for number, name in enumerate(("Nguyễn^An", "Trần^Bình")):
        image = drawn()
        image.PatientID, image.PatientName = "", name
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path / f"{number}.dcm", image)
    result = run("analyse", tmp_path, "--models", models, "--output", tmp_path / "out", "--json")
    (study,) = result.json["studies"]
    assert [(each["reason"], each["sr"]) for each in study["results"]] == [("mixed-patients", None)]
    assert not (tmp_path / "out").exists()


def test_an_image_without_identifier_and_name_joins_a_named_one_of_its_folder_alone(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    names = {"a/1.dcm": ("P1", "Nguyễn^An"), "a/2.dcm": ("", ""), "b/3.dcm": ("0000", "UNKNOWN")}
    for number, (name, who) in enumerate(names.items()):
        image = drawn()
        image.PatientID, image.PatientName = who
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, image)

    def reasons(*paths: Path) -> list[str | None]:
        (study,) = run("analyse", *paths, "--models", models, "--json").json["studies"]
        return [each["reason"] for each in study["results"]]

    assert reasons(tmp_path / "a") == [None]
    assert reasons(tmp_path / "a" / "2.dcm", tmp_path / "b") == [None]
    assert reasons(tmp_path) == ["mixed-patients"]


def test_a_patient_renamed_later_is_reported_by_the_newest_name_whatever_the_files_are_called(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    for name, at, who in (("1", "120000", "Nguyễn^An"), ("2", "110000", "Trauma^X17")):
        image = drawn()
        image.PatientID, image.PatientName, image.InstanceCreationTime = "P1", who, at
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{name}"
        write(tmp_path / f"{name}.dcm", image)
    out = tmp_path / "out"
    (study,) = run("analyse", tmp_path, "--models", models, "--output", out, "--json").json["studies"]
    (result,) = study["results"]
    assert str(dcmread(result["sr"]).PatientName) == "Nguyễn^An"

    again = run("analyse", tmp_path, "--models", models, "--json")
    assert "1 reports of our own skipped" in again.err
    assert [each["study_uid"] for each in again.json["studies"]] == [study["study_uid"]]


def test_a_sites_own_placeholders_are_nobodys_in_files_as_well(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    for number, born in enumerate(("19500101", "19990909")):
        image = drawn()
        image.PatientID, image.PatientName, image.PatientBirthDate = "KHONG RO", "", born
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path / f"{number}.dcm", image)
    analyse = ["analyse", tmp_path, "--models", models, "--json"]
    for words, wanted in (([], None), (["--patient-placeholders", "không rõ"], "mixed-patients")):
        (result,) = run(*analyse, *words).json["studies"][0]["results"]
        assert result["reason"] == wanted


def test_two_studies_with_one_sop_instance_uid_are_analysed_each(
    run: Callable[..., CommandResult], models: Path, tmp_path: Path
) -> None:
    one, other = drawn(), drawn()
    other.StudyInstanceUID, other.PatientID = "1.2.3.9", "P9"
    write(tmp_path / "1.dcm", one)
    write(tmp_path / "2.dcm", other)
    result = run("analyse", tmp_path, "--models", models, "--output", tmp_path / "out", "--json")
    results = [each for study in result.json["studies"] for each in study["results"]]
    assert [each["state"] for each in results] == ["analysed", "analysed"]
    assert len({each["sr"] for each in results}) == 2


def test_nothing_readable_is_asked_wrongly(run: Callable[..., CommandResult], films: Path, models: Path) -> None:
    for command in (["analyse", "--models", models], ["send", "--to", "PACS@127.0.0.1:104"]):
        result = run(*command, films / "readme.txt")
        assert (result.status, "no readable files: 1 files are not DICOM" in result.err) == (2, True)


def test_a_sites_words_reach_analyse_by_flag_variable_and_file(
    run: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_study(2, frozenset(), datetime(2026, 11, 24, 9, 0, tzinfo=UTC), rows=64, columns=64).instances[0]
    film.BodyPartExamined, film.ViewPosition = "TP", "T1"
    for code in ("ViewCodeSequence", "AnatomicRegionSequence"):
        film.pop(code, None)
    film.save_as(tmp_path / "film.dcm", enforce_file_format=True)

    def ends(*arguments: object) -> tuple[str, str | None]:
        (result,) = run("analyse", tmp_path / "film.dcm", *arguments, "--json").json["studies"][0]["results"]
        return result["state"], result["reason"]

    assert ends() == ("not_analysed", "body-part")
    assert ends("--site-words", "CHEST=tp") == ("not_analysed", "view")
    assert ends("--site-words", "CHEST=tp", "--site-words", "PA=t1")[0] == "analysed"
    (tmp_path / "imaging.toml").write_text('site_words = ["CHEST=tp", "PA=T1"]\n')
    assert ends("--config", tmp_path / "imaging.toml")[0] == "analysed"
    monkeypatch.setenv("IMAGING_SITE_WORDS", "CHEST=tp,PA=t1")
    assert ends()[0] == "analysed"


def test_dicom_that_cannot_be_read_is_named_with_the_reason(
    run: Callable[..., CommandResult], films: Path, models: Path, tmp_path: Path
) -> None:
    image = drawn()
    del image.StudyInstanceUID
    write(tmp_path / "without.dcm", image)
    alone = run("analyse", tmp_path, "--models", models)
    assert (alone.status, f"{tmp_path / 'without.dcm'}: " in alone.err) == (2, True)
    beside = run("analyse", tmp_path, films, "--models", models, "--json")
    assert (beside.status, len(beside.json["studies"])) == (0, 1)
    assert f"{tmp_path / 'without.dcm'}: " in beside.err
    assert "1 files skipped" in beside.err


def test_the_time_that_is_given_is_the_reports_whatever_the_machines_zone(
    run: Callable[..., CommandResult], films: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for zone in ("UTC", "Asia/Ho_Chi_Minh"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        run("analyse", films, "--models", models, "--at", "2026-11-24T09:30:00+07:00", "--output", tmp_path / zone)
    monkeypatch.undo()
    time.tzset()
    utc, local = (
        {file.name: file.read_bytes() for file in (tmp_path / zone).rglob("*.dcm")}
        for zone in ("UTC", "Asia/Ho_Chi_Minh")
    )
    assert utc == local
    assert len(utc) > 0


def test_a_folder_for_reports_that_is_a_file_is_refused_beforehand(
    run: Callable[..., CommandResult], films: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = run("analyse", films, "--output", tmp_path / "file", "--language", "de")
    assert result.status == 2
    assert f"--output {tmp_path / 'file'}: is not a folder" in result.err
    assert "--language 'de'" in result.err


def test_a_models_own_folder_will_do_as_well_as_one_that_holds_it(
    run: Callable[..., CommandResult], films: Path, models: Path
) -> None:
    completed = run("analyse", films, "--models", models / "small-film", "--json")
    (result,) = completed.json["studies"][0]["results"]
    assert (result["model"], result["state"]) == ("small-film", "analysed")


@pytest.mark.parametrize(
    ("mode", "flag", "triage", "no_flag"),
    [
        ("live", "urgent", "urgent", None),
        ("findings", None, "none", "mode-findings"),
        ("shadow", None, "none", "mode-shadow"),
    ],
)
def test_models_of_every_mode_are_run_and_say_theirs(
    run: Callable[..., CommandResult], tmp_path: Path, mode: str, flag: str | None, triage: str, no_flag: str | None
) -> None:
    case = shipped_folder() / "chest-film" / "golden" / "film.dcm"
    out = tmp_path / "out"
    command = ("analyse", case, "--output", out, "--model-mode", f"chest-film={mode}")
    (result,) = run(*command, "--json").json["studies"][0]["results"]
    assert [result[key] for key in ("mode", "flag", "triage", "no_flag")] == [mode, flag, triage, no_flag]
    assert result["findings"][0]["present"] is True
    assert (result["sr"] is None) == (mode == "shadow")
    assert out.exists() == (mode != "shadow")
    said = run(*command)
    assert (f"(mode {mode})" in said.out) == (mode != "live")
    assert (f"raises no flag: its mode is {mode}; --model-mode chest-film=live" in said.out) == (mode != "live")
    assert ("is in shadow: no SR is written" in said.err) == (mode == "shadow")


def test_a_report_says_of_a_mode_no_more_than_that_a_rule_which_is_met_raises_no_flag(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    def parameters(mode: str) -> list[str]:
        case = shipped_folder() / "chest-film" / "golden" / "film.dcm"
        run("analyse", case, "--output", tmp_path / mode, "--model-mode", f"chest-film={mode}")
        (file,) = (tmp_path / mode).iterdir()
        content = dcmread(file).to_json()
        return sorted(set(re.findall(r'"triage=[^"]*"', content)))

    assert parameters("live") == ['"triage=60046008 >= 0.5: urgent"']
    assert parameters("findings") == ['"triage=60046008 >= 0.5: urgent; raises no flag: mode findings"']


def test_a_rule_whose_finding_has_too_little_evidence_raises_nothing_and_the_finding_is_shown(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    weak = shutil.copytree(shipped_folder() / "chest-film", tmp_path / "weak")
    card = (weak / "card.toml").read_text()
    (weak / "card.toml").write_text(re.sub(r"metadata_auc = [0-9.]+", "metadata_auc = 0.9", card))
    case = weak / "golden" / "film.dcm"
    command = ("analyse", case, "--models", weak, "--model-mode", "chest-film=live")
    (result,) = run(*command, "--json").json["studies"][0]["results"]
    assert [result[key] for key in ("flag", "triage", "no_flag")] == [None, "none", "evidence"]
    assert result["findings"][0]["present"] is True
    assert "raises no flag: the finding's evidence in the card is too weak" in run(*command).out
