"""Each shipped model passes its golden case, and says what is drawn into the shared studies."""

import pytest
from inference_cases import shared, source_of, sources_in

from imaging.domain.findings import Answer, State
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.golden import check
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder

SHIPPED = {card.id: card for card in load_models([shipped_folder()]).models}


def analysed(model: str, sources: list[Source]) -> Answer:
    if model not in SHIPPED:
        pytest.skip(f"no model {model} is shipped")
    return Analyser(SHIPPED[model]).analyse(sources)


@pytest.mark.parametrize("model", sorted(SHIPPED))
def test_the_golden_case_passes(model: str) -> None:
    result = check(SHIPPED[model])
    assert result.passed, result.faults


@pytest.mark.parametrize(
    ("model", "study", "truth"),
    [
        ("head-ct-bleed", "ct/phantom_head/bleed", True),
        ("head-ct-bleed", "ct/phantom_head/normal", False),
        ("brain-mr-lesion", "mr/phantom_brain/lesion", True),
        ("brain-mr-lesion", "mr/phantom_brain/normal", False),
    ],
)
def test_drawn_lesions_are_found_where_they_were_drawn(model: str, study: str, truth: bool) -> None:
    import json

    import numpy as np

    outcome = analysed(model, sources_in(shared(study)))
    assert outcome.state is State.ANALYSED, outcome.why
    assert outcome.findings[0].present is truth
    if truth:
        drawn = json.loads((shared(study) / "truth.json").read_text())
        assert outcome.findings[0].centre_mm is not None
        assert np.linalg.norm(np.subtract(outcome.findings[0].centre_mm, drawn["centre_mm"])) < 15


def test_the_chest_model_answers_each_film_or_says_why_not() -> None:
    ends = {}
    for path in sorted((shared("cxr") / "dicom").glob("*.dcm")):
        outcome = analysed("chest-film", [source_of(path)])
        ends[path.stem] = outcome.why or str(outcome.state)
    assert ends.pop("cr02") == "view"  # View Position is empty, and there is no view code
    assert set(ends.values()) == {"analysed"}


def test_the_real_brain_without_flair_is_refused_by_its_sequence() -> None:
    outcome = analysed("brain-mr-lesion", sources_in(shared("mr/t1_sagittal_siemens")))
    assert (outcome.state, outcome.why) == (State.NOT_ANALYSED, "sequence: t1")
