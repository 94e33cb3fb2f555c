from typing import cast

import pytest

from imaging.domain.languages import Language
from imaging.web.settings import WebSettings


@pytest.mark.parametrize(
    "viewer_url", ["", "https://v.example/{study_uid}", "weasis://open?p={patient_id}&a={accession_number}"]
)
def test_a_viewer_is_reached_by_its_scheme_and_the_three_placeholders(viewer_url: str) -> None:
    assert WebSettings(viewer_url=viewer_url).viewer_url == viewer_url


@pytest.mark.parametrize(
    "viewer_url", ["javascript:alert({study_uid})", "/viewer/{study_uid}", "data:text/html,x", "https://[::1"]
)
def test_a_viewer_address_that_would_run_as_script_or_is_none_is_refused(viewer_url: str) -> None:
    with pytest.raises(ValueError, match="viewer_url"):
        WebSettings(viewer_url=viewer_url)


def test_all_faults_come_in_one_answer_with_their_keys() -> None:
    with pytest.raises(ValueError) as events:
        WebSettings(viewer_url="https://v/{name}", language=cast("Language", "de"))
    for key in ("has {name}", "language 'de'"):
        assert key in str(events.value)
