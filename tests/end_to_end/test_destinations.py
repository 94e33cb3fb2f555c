"""Several destinations of one node: outcomes by choice, a refusal with its replay, and a PACS that is away."""

from collections.abc import Callable
from pathlib import Path

from films import a_film, send_until_acknowledged
from peers import Node, eventually, free_port, imaging_json
from small_models import write_models
from storage_peer import StoragePeer


def test_each_destination_gets_what_it_asked_for_and_replay_brings_what_was_refused(
    serve: Callable[..., Node], tmp_path: Path
) -> None:
    takes, refuses, negatives = StoragePeer().start(), StoragePeer(status=0xC000).start(), StoragePeer().start()
    options = [
        *("--models", str(write_models(tmp_path / "models"))),
        *("--deliver-to", f"PACS={takes.address}", "--deliver-to", f"RIS={refuses.address}"),
        *("--deliver-to", f"AUDIT={negatives.address}", "--deliver-outcomes", "AUDIT=negative+failed"),
        *("--deliver-to", f"AGAIN={negatives.address}", "--deliver-outcomes", "AGAIN=failed"),
        *("--deliver-to", f"AWAY=PACS@127.0.0.1:{free_port()}"),
    ]
    node = serve(*options)
    for seed in (1, 2):  # the small model finds something in every film
        send_until_acknowledged(lambda: node.dicom_port, a_film(seed, "destinations")[1])
    value = eventually(
        lambda: (
            (status := node.status())["deliveries"] == {"waiting": 2, "sending": 0, "delivered": 2, "dead": 2}
            and status
        ),
        what="two answers at the PACS, two refused by the RIS, two waiting for who is away",
    )
    states = {each["name"]: each["state"] for each in value["peers"]}
    assert states == {"PACS": "up", "RIS": "up", "AWAY": "down", "AUDIT": "not tried yet", "AGAIN": "not tried yet"}
    assert "destinations_share_an_address names=AUDIT,AGAIN" in node.log.read_text()
    assert value["dead_letters"] == [
        {"destination": "RIS", "why": "C-STORE answered with status 0xC000, cannot understand", "count": 2}
    ]
    assert negatives.stored == []

    refuses.status = 0x0000
    assert imaging_json("replay", "--home", str(node.home), "--to", "RIS", "--json")["deliveries"] == 2
    eventually(lambda: len(refuses.stored) == 2, what="the replayed answers at the RIS")
    by_uid = {str(each.SOPInstanceUID): each for each in takes.stored}
    assert {str(each.SOPInstanceUID): each for each in refuses.stored} == by_uid, "one UID, one content"
    story = node.status("--study", str(takes.stored[0].StudyInstanceUID))["studies"][0]
    assert {each["destination"]: each["state"] for each in story["deliveries"]}["AWAY"] == "waiting"
    assert node.stop() == 0
    for each in (takes, refuses, negatives):
        each.stop()
