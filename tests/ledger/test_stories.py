"""A study's whole story, by any of its names."""

import json

from ledger_cases import (
    MODEL,
    answered,
)

from imaging.ledger import stories
from imaging.ledger.store import Ledger


def test_a_story_is_found_by_uid_and_by_accession_number(ledger: Ledger) -> None:
    answered(ledger)
    answered(ledger, "1.2.4")
    (by_uid,) = stories.named(ledger, "1.2.3")
    assert [each["study_uid"] for each in stories.named(ledger, "A1")] == ["1.2.3", "1.2.4"]
    assert by_uid["revisions"][0]["signal"] == "end of the association"
    assert by_uid["received"][0]["instances"] == 1
    assert [(each["model"], each["state"]) for each in by_uid["results"]] == [(MODEL, "analysed")]
    assert [(each["destination"], each["state"]) for each in by_uid["deliveries"]] == [("PACS", "waiting")]
    assert stories.named(ledger, "9.9") == []
    json.dumps(by_uid)
