"""A node is served again with a model that it lacked: what settled before can be asked about, and is answered once."""

from collections.abc import Callable
from pathlib import Path

from films import a_film, send_until_acknowledged
from peers import Node, command_in_process, eventually, imaging_json
from small_models import write_models
from storage_peer import StoragePeer


def test_what_settled_without_a_model_is_answered_once_it_is_there_and_asked_for(
    serve: Callable[..., Node], tmp_path: Path
) -> None:
    pacs, models = StoragePeer().start(), write_models(tmp_path / "models")
    texts = ["--deliver-to", f"PACS={pacs.address}", "--film-quiet-s", "0.2", "--models"]
    node = serve(*texts, str(models / "small-volume"))
    uid, data = a_film(1, "comes later")
    send_until_acknowledged(lambda: node.dicom_port, data)
    eventually(lambda: node.status()["studies"]["settled"], what="the study without a model")
    place = ["--home", str(node.home)]
    unknown = command_in_process("replay", *place, "--model", "small-film")
    assert (unknown.status, "available: small-volume" in unknown.err) == (2, True)
    node.stop()
    queued = command_in_process("replay", *place, "--model", "small-film", "--since", "1d")
    assert "1 study is queued for small-film, where it fits, when the node starts" in queued.out

    node = serve(*texts, str(models), home=node.home)
    eventually(lambda: pacs.stored, what="the report")
    assert [str(each.StudyInstanceUID) for each in pacs.stored] == [uid]
    eventually(node.at_rest, what="rest")
    for which in (["--model", "small-film"], ["--study", uid]):
        value = imaging_json("replay", *place, *which, "--json")
        assert value["jobs"] == value["deliveries"] == 0
    eventually(node.at_rest, what="rest")
    assert [each["model"] for each in node.status("--study", uid)["studies"][0]["results"]] == ["small-film"]
    assert node.stop() == 0
    pacs.stop(wait=False)
