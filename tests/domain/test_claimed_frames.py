"""A header may claim any number of frames: it is counted, and costs no memory."""

from pathlib import Path

from card_cases import CHEST, written
from ledger_cases import film

from imaging.domain.fitting import nothing_used
from imaging.domain.reasons import Reason
from imaging.models.reading import read_card

CLAIMED = 2**31 - 1


def test_a_header_that_claims_two_thousand_million_frames_is_counted_as_that(tmp_path: Path) -> None:
    card = read_card(written(tmp_path, CHEST))
    of_mr = film(number_of_frames=CLAIMED, modality="MR")
    assert nothing_used(card, [of_mr], Reason("modality")).considered == CLAIMED
