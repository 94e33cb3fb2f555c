"""Of several films of a study: the best one alone, or all of them at once; and what is never called absent by it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import film_card, write_film
from onnx import TensorProto, helper, numpy_helper

from imaging.domain.card import Card, FilmInput, Gate, LabelSpec
from imaging.domain.codes import Code
from imaging.domain.coverage import Coverage
from imaging.domain.findings import Answer
from imaging.domain.source import Source
from imaging.inference.analyser import Analyser
from imaging.inference.prepared import Prepared
from imaging.models.copies import digest_of
from imaging.models.rules import contradictions

VIEW = Gate("ViewPosition", any=("PA", "AP"))
NEVER = (LabelSpec(0, Code("99IMAGING", "one", "One"), threshold=0.999),)


def card_of(folder: Path, images: Any = "best", **changes: Any) -> Card:
    """Whose only finding is absent on every film."""
    card = film_card(folder, findings=NEVER)
    return replace(card, inputs=(FilmInput("film", ("DX", "CR"), gates=(VIEW,), images=images, **changes),), triage=())


def film(folder: Path, name: str, seed: int = 0, **elements: Any) -> Source:
    pixels = np.random.default_rng(seed).integers(0, 4096, (48, 40))
    return write_film(folder / f"{name}.dcm", pixels, **{"ViewPosition": "PA", **elements})


def prepared(card: Card, sources: Sequence[Source]) -> Prepared:
    made = Analyser(card).prepared(sources)
    assert not isinstance(made, Answer), made.why
    return made


def chosen(card: Card, sources: Sequence[Source]) -> str:
    (image,) = prepared(card, sources).images
    return image.sop_instance_uid


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"ViewPosition": "AP"}, {}),
        ({"AcquisitionDate": "20250101", "AcquisitionTime": "101500"},
         {"AcquisitionDate": "20250101", "AcquisitionTime": "102000"}),
        ({"AcquisitionDate": "20250101", "AcquisitionTime": "102000", "ViewPosition": "AP"},
         {"AcquisitionDate": "20250101", "AcquisitionTime": "101500"}),
        ({"SeriesNumber": 2}, {"SeriesNumber": 1}),
        ({"InstanceNumber": 2}, {"InstanceNumber": 1}),
        ({"SOPInstanceUID": "1.2.9"}, {"SOPInstanceUID": "1.2.8"}),
    ],
    ids=["view", "latest", "view before time", "series", "instance", "uid"],
)  # fmt: skip
def test_the_best_film_is_the_same_in_whatever_order_films_come(
    tmp_path: Path, worse: dict[str, Any], better: dict[str, Any]
) -> None:
    card = card_of(tmp_path / "model")
    films = [film(tmp_path, "worse", 1, **worse), film(tmp_path, "better", 2, **better)]
    assert {chosen(card, each) for each in (films, films[::-1])} == {films[1].header.sop_instance_uid}


def test_a_film_that_nobody_looked_at_leaves_a_finding_undetermined(tmp_path: Path) -> None:
    card = card_of(tmp_path / "model")
    one, other = film(tmp_path, "one", 1, InstanceNumber=1), film(tmp_path, "other", 2, InstanceNumber=2)
    alone, both = (Analyser(card).analyse(films) for films in ([one], [one, other]))
    assert alone.findings[0].present is False
    assert both.findings[0].present is None
    assert both.coverage == Coverage(1, {"one-film": 1})
    assert both.coverage.sentence == "1 of 2 images not analysed: one-film"
    assert [each.sop_instance_uid for each in both.images] == [one.header.sop_instance_uid]


def test_a_copy_adds_nothing_and_a_lateral_is_out_of_scope(tmp_path: Path) -> None:
    """The same film under another UID, as after an import; another view is none that the card takes."""
    card = card_of(tmp_path / "model")
    films = [film(tmp_path, "one", 1), film(tmp_path, "copy", 1), film(tmp_path, "side", 2, ViewPosition="LL")]
    answer = Analyser(card).analyse(films)
    assert answer.findings[0].present is False
    assert answer.coverage == Coverage(1, {}, {"copy": 1}, {"view": 1})


def test_the_next_best_film_speaks_where_the_best_cannot_be_read(tmp_path: Path) -> None:
    card = card_of(tmp_path / "model")
    blank = write_film(tmp_path / "blank.dcm", np.zeros((48, 40)), ViewPosition="PA", InstanceNumber=1)
    other = film(tmp_path, "other", 2, InstanceNumber=2)
    made = prepared(card, [blank, other])
    assert [each.sop_instance_uid for each in made.images] == [other.header.sop_instance_uid]
    assert made.coverage == Coverage(1, {"pixels-blank": 1})
    assert Analyser(card).analyse([blank]).why == "pixels-blank"


# All at once -------------------------------------------------------------------------------------------------


def together(folder: Path) -> Card:
    """Of a network that takes all films of a study: its logit is the greatest value of any of them."""
    card = card_of(folder, "all")
    nodes = [helper.make_node("ReduceMax", ["x"], ["max"], axes=[1, 3, 4], keepdims=0),
             helper.make_node("Add", ["max", "nothing"], ["y"])]  # fmt: skip
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "films", 1, 32, 32])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    nothing = numpy_helper.from_array(np.zeros(1, np.float32), "nothing")
    graph = helper.make_graph(nodes, "all", [given], [made], [nothing])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return replace(card, engine=replace(card.engine, sha256=digest_of(folder / "model.onnx")))


def test_all_films_of_a_study_are_one_input_in_their_rank(tmp_path: Path) -> None:
    card = together(tmp_path / "model")
    films = [film(tmp_path, str(seed), seed, InstanceNumber=4 - seed) for seed in (1, 2, 3)]
    made = prepared(card, films)
    (item,) = made.items
    assert item.arrays["film"].shape == (3, 1, 32, 32)
    assert [each.sop_instance_uid for each in item.images] == [each.header.sop_instance_uid for each in films[::-1]]
    assert made.coverage == Coverage(3)
    single = [Analyser(card).analyse([each]).findings[0].probability or 0.0 for each in films]
    answers = [Analyser(card).analyse(each) for each in (films, films[::-1])]
    assert answers[0].findings == answers[1].findings
    assert answers[0].findings[0].probability == max(single)
    Analyser(card).warm()


def test_studies_of_different_numbers_of_films_run_beside_each_other(tmp_path: Path) -> None:
    card = together(tmp_path / "model")
    analyser = Analyser(card)
    films = [film(tmp_path, str(seed), seed) for seed in (1, 2, 3)]
    alone = [analyser.analyse(each).findings for each in (films, films[:1])]
    made = [prepared(card, each) for each in (films, films[:1])]
    assert [each.findings for each in analyser.run(made)] == alone


def test_all_at_once_needs_one_size_and_marks_no_place(tmp_path: Path) -> None:
    card = card_of(tmp_path / "model", "all")
    assert [name for *_, name in contradictions(card)] == []
    assert [name for *_, name in contradictions(replace(card, prepare=()))] == ["images-size"]
