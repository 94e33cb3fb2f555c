"""Files that are sent, and studies that are drawn."""

from collections.abc import Callable
from pathlib import Path

from command_result import CommandResult
from drawn_film import drawn
from storage_peer import StoragePeer


def test_send_shows_its_progress_and_fails_where_anything_is_refused(
    run: Callable[..., CommandResult], films: Path
) -> None:
    peer = StoragePeer(sop_classes=[drawn().SOPClassUID]).start()
    sent = run("send", films, "--to", peer.address, "--json")
    assert (sent.status, sent.json) == (0, {"sent": 1, "refused": {}, "passed_over": 1})
    assert "1 of 1" in sent.err
    peer.status = 0xC000
    refused = run("send", films, "--to", peer.address, "--json")
    assert (refused.status, list(refused.json["refused"])) == (1, [str(films / "film.dcm")])
    peer.stop()
    away = run("send", films, "--to", peer.address)
    assert (away.status, f"{peer.address}: no connection" in away.err) == (1, True)


def test_send_passes_over_no_good_file_for_the_sake_of_a_bad_one(
    run: Callable[..., CommandResult], shared: Path, films: Path
) -> None:
    overlong = shared / "malformed" / "identity" / "i07_long_sop_uid.dcm"
    peer = StoragePeer(sop_classes=[drawn().SOPClassUID]).start()
    result = run("send", overlong, films, "--to", peer.address, "--json")
    peer.stop()
    assert (result.status, result.json["sent"], list(result.json["refused"])) == (1, 1, [str(overlong)])


def test_send_to_a_host_without_address_is_a_failure_in_words(run: Callable[..., CommandResult], films: Path) -> None:
    result = run("send", films, "--to", "PACS@no-such-host.invalid:104")
    assert (result.status, "has no address" in result.err) == (1, True)


def test_send_to_a_node_that_takes_no_such_object_is_a_refusal(run: Callable[..., CommandResult], films: Path) -> None:
    peer = StoragePeer(sop_classes=()).start()
    result = run("send", films, "--to", peer.address, "--json")
    peer.stop()
    assert result.status == 1
    assert "presentation context" in result.out + result.err


def test_simulate_draws_studies_with_their_truth(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    result = run("simulate", "--studies", "1", "--kind", "film", "--output", tmp_path, "--json")
    assert result.status == 0
    (study,) = result.json["studies"]
    assert study.keys() == {"study_uid", "modality", "truth"}
    assert len(list(tmp_path.rglob("*.dcm"))) == 1
