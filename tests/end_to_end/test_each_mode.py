"""A model in each mode, from C-STORE to PACS and page; a later mode changes nothing that was answered."""

import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from films import a_film, send_until_acknowledged
from peers import Node, eventually
from pydicom import Dataset
from small_models import write_models
from storage_peer import StoragePeer


def answered(node: Node, study: str) -> Any:
    """The study's story once nothing more is to come."""

    def look() -> Any:
        found = node.status("--study", study)["studies"] if node.at_rest() else []
        return found[0] if found and found[0]["results"] else None

    return eventually(look, what="the answer")


def says(story: Any) -> list[Any]:
    """What its one answer says of its mode, and the flag, and why none is proposed."""
    (result,) = story["results"]
    return [result[key] for key in ("mode", "state", "flag", "no_flag", "no_report")]


def test_each_mode_from_receipt_to_report_and_history_stays(serve: Callable[..., Node], tmp_path: Path) -> None:
    pacs, models = StoragePeer().start(), write_models(tmp_path / "models")
    options = ["--deliver-to", f"PACS={pacs.address}", "--film-quiet-s", "0.2", "--models", str(models)]
    films = {mode: a_film(seed, f"in {mode}") for seed, mode in enumerate(("shadow", "findings", "live"), 1)}
    wanted: dict[str, list[Any]] = {
        "shadow": ["shadow", "analysed", None, "mode-shadow", "shadow"],
        "findings": ["findings", "analysed", None, "mode-findings", None],
        "live": ["live", "analysed", "urgent", None, None],
    }
    home, due = tmp_path / "home", {}
    for mode, (uid, data) in films.items():
        node = serve(*options, "--model-mode", f"small-film={mode}", home=home)
        send_until_acknowledged(lambda port=node.dicom_port: port, data)  # type: ignore[misc]
        story = answered(node, uid)
        assert says(story) == wanted[mode]
        assert story["reason"] == ("no-model" if mode == "shadow" else None)
        due[mode] = hours_until_due(story)
        assert bool(story["deliveries"]) == (mode != "shadow")
        for before in films:
            if before in due:
                assert says(answered(node, films[before][0])) == wanted[before], "a later mode rewrites nothing"
        if mode != "live":
            assert node.stop() == 0
    assert due == {"shadow": 4.0, "findings": 4.0, "live": 1.0}
    assert [str(each.StudyInstanceUID) for each in pacs.stored] == [films["findings"][0], films["live"][0]]
    assert [parameters(each) for each in pacs.stored] == [
        ["triage=abnormal >= 0.7: urgent; raises no flag: mode findings"],
        ["triage=abnormal >= 0.7: urgent"],
    ]
    with urllib.request.urlopen(f"{node.url}?lang=en", timeout=10) as answer:
        page = answer.read().decode()
    assert page.count("tone-present") == page.count("tone-noted") == page.count("tone-not_analysed") == 1
    assert [each["mode"] for each in node.status()["models"] if each["name"] == "small-film"] == ["live"]
    assert node.stop() == 0
    pacs.stop(wait=False)


def hours_until_due(story: Any) -> float:
    """From the receipt of a study."""
    received, due = (datetime.fromisoformat(story[key]) for key in ("received_at", "due_at"))
    return round((due - received).total_seconds() / 3600, 2)


def parameters(report: Dataset) -> list[str]:
    """What a report says of its triage, among the parameters of the algorithm."""
    texts = [str(each.value) for each in report.iterall() if each.keyword == "TextValue"]
    return [each for each in texts if each.startswith("triage=")]
