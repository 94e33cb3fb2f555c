"""How long a peer may take, as it is written."""

import pytest

from imaging.domain.peers import Times


def test_what_is_not_said_is_as_usual() -> None:
    assert Times.parse("accept:45") == Times(5.0, 45.0, 300.0)
    assert Times.parse("connect:1+accept:2+response:0.5") == Times(1.0, 2.0, 0.5)


def test_what_is_written_is_read_back() -> None:
    assert Times.parse(str(Times(1.5, 2.0, 3000.0))) == Times(1.5, 2.0, 3000.0)


@pytest.mark.parametrize(
    "text",
    ["", "30", "accept", "accept:", "accept:soon", "accept:0", "accept:nan", "wait:3", "accept:1e9"],
)
def test_what_is_no_time_is_refused_with_the_form_wanted(text: str) -> None:
    with pytest.raises(ValueError, match=r"connect:5\+accept:30\+response:300"):
        Times.parse(text)
