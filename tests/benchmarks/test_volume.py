"""The benchmark of reading: all readers agree, and each is beside ours."""

import json

import pytest

from benchmarks import volume


def test_every_reader_gives_the_same_values_with_every_transfer_syntax(capsys: pytest.CaptureFixture[str]) -> None:
    assert volume.main(["--slices", "14", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["syntaxes"]) == ["uncompressed", "JPEG 2000", "JPEG-LS"]
    for readers in found["syntaxes"].values():
        assert list(readers) == ["ours", "pydicom", "SimpleITK"]
        assert readers["ours"]["ours_is_faster_by"] == 1.0
        assert all(each["seconds"] > 0 for each in readers.values())
    assert "SimpleITK" in volume.as_text(found)


def test_what_is_asked_wrongly_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert volume.main(["--slices", "none"]) == 2
    assert "--slices 'none': expected a number" in capsys.readouterr().err
