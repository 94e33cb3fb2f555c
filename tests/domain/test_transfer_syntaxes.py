"""Which of the transfer syntaxes that a context proposes is taken."""

import pytest

from imaging.domain.transfer_syntaxes import DECODABLE, EXPLICIT_LITTLE, NATIVE, taken
from imaging.inference.pixels import DECODERS

GE_PRIVATE, JPIP, JPEG_BASELINE = "1.2.840.113619.5.2", "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ([EXPLICIT_LITTLE, JPEG_BASELINE], EXPLICIT_LITTLE),
        ([JPEG_BASELINE, EXPLICIT_LITTLE], JPEG_BASELINE),
        ([GE_PRIVATE, JPIP, EXPLICIT_LITTLE, JPEG_BASELINE], EXPLICIT_LITTLE),
        ([JPIP, GE_PRIVATE], JPIP),
    ],
)
def test_the_first_that_can_be_decoded_is_taken_and_if_none_can_the_first(proposed: list[str], chosen: str) -> None:
    assert taken(proposed) == chosen


def test_what_is_taken_for_decodable_has_a_decoder() -> None:
    assert NATIVE | DECODERS.keys() == DECODABLE
