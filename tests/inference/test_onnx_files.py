"""ONNX files as they were exported: other element types, channels last, a fixed batch, several inputs and outputs."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import film_card, volume_card, write_film, write_series
from onnx import TensorProto, helper
from onnx_networks import FACTORS, LOGITS, POOL, SQUARED, TWO_VIEWS, bright, stated_beside, two_views, write_network
from small_models import FILM, VOLUME, write_beside, write_card

from imaging.domain.card import Card
from imaging.domain.faults import PublicError
from imaging.domain.findings import Answer, State
from imaging.domain.source import Source
from imaging.domain.tables import CardError
from imaging.inference.analyser import Analyser
from imaging.inference.engines.registry import load
from imaging.inference.golden import check
from imaging.models.catalogue import load_models
from imaging.models.cautions import warnings
from imaging.models.copies import digest_of
from imaging.models.reading import read_card


def with_network(card: Card, *args: Any, **options: Any) -> Card:
    return replace(card, engine=replace(card.engine, sha256=write_network(card.folder, *args, **options)))


def film(folder: Path, seed: int = 1, **elements: Any) -> Source:
    pixels = np.random.default_rng(seed).integers(0, 4096, (48, 48))
    return write_film(folder / f"{seed}.dcm", pixels, **elements)


def probabilities(answer: Answer) -> list[float | None]:
    assert answer.state is State.ANALYSED, answer.why
    return [each.probability for each in answer.findings]


# Element types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "factors", "precision", "within"),
    [(TensorProto.FLOAT16, np.float16, "f16", 2e-3), (TensorProto.DOUBLE, np.float64, "f64", 1e-6)],
)
def test_a_network_of_another_precision_answers_like_that_of_f32(
    tmp_path: Path, kind: int, factors: type, precision: str, within: float
) -> None:
    values = np.random.default_rng(2).random((3, 1, 32, 32), np.float32)
    made = []
    for name, of, of_factors in (("f32", TensorProto.FLOAT, np.float32), (precision, kind, factors)):
        folder = tmp_path / name
        digest = write_network(
            folder, LOGITS, {"x": (of, ["n", 1, 32, 32])}, {"y": (of, ["n", 2])}, factors=FACTORS.astype(of_factors)
        )
        write_card(folder, FILM, 1, digest)
        card = read_card(folder)
        assert card.engine.precision == name
        made.append(load(card, 1).run({"x": values})["y"])
    assert made[1].dtype == np.float32
    assert 0 < np.abs(made[1] - made[0]).max() < within or precision == "f64"
    assert np.allclose(made[1], made[0], atol=within)


def test_whole_numbers_are_fed_by_the_nearest_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
             helper.make_node("ReduceMax", ["float"], ["y"], axes=[2, 3], keepdims=0)]  # fmt: skip
    x, y = {"x": (TensorProto.UINT8, ["n", 1, 2, 2])}, {"y": (TensorProto.FLOAT, ["n", 1])}
    card = film_card(tmp_path / "model")
    card = with_network(replace(card, findings=card.findings[:1], triage=()), nodes, x, y)
    engine = load(card, 1)
    assert engine.run({"x": np.full((1, 1, 2, 2), 199.6, np.float32)})["y"] == 200
    for value in (-1.0, 255.6, np.nan):
        with pytest.raises(PublicError, match="input x do not fit into uint8: it holds 0 to 255: prepare them for it"):
            engine.run({"x": np.full((1, 1, 2, 2), value, np.float32)})


def test_a_quantized_network_runs_as_it_is(tmp_path: Path) -> None:
    """As ONNX Runtime's static quantization leaves it: floats in and out, whole numbers between."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["whole"]),
             helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["back"]),
             helper.make_node("ReduceMean", ["back"], ["flat"], axes=[2, 3], keepdims=0), LOGITS[-1]]  # fmt: skip
    digest = write_network(
        tmp_path / "model", nodes, {"x": (TensorProto.FLOAT, ["n", 1, 32, 32])}, {"y": (TensorProto.FLOAT, ["n", 2])},
        scale=np.float32(0.05), zero=np.int8(0), factors=FACTORS.astype(np.float32),
    )  # fmt: skip
    write_card(tmp_path / "model", FILM, 1, digest)
    card = read_card(tmp_path / "model")
    assert card.engine.precision == "int8"
    answer = Analyser(card).analyse([film(tmp_path)])
    assert answer.facts["precision"] == "int8"
    assert probabilities(answer)[0] == pytest.approx(0.5, abs=0.02)  # of a mean of 0


# Layout ------------------------------------------------------------------------------------------------------


def test_a_film_network_with_the_channels_last_answers_as_the_other_does(tmp_path: Path) -> None:
    first = film_card(tmp_path / "first")
    turned = [helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2]),
              helper.make_node("Mul", ["turned", "turned"], ["square"]),
              helper.make_node("ReduceMean", ["square"], ["flat"], axes=[2, 3], keepdims=0), LOGITS[-1]]  # fmt: skip
    last = film_card(tmp_path / "last")
    last = with_network(
        replace(last, engine=replace(last.engine, is_channels_last=True)), turned,
        {"x": (TensorProto.FLOAT, ["n", 32, 32, 1])}, {"y": (TensorProto.FLOAT, ["n", 2])},
        factors=FACTORS.astype(np.float32),
    )  # fmt: skip
    answers = [probabilities(Analyser(card).analyse([film(tmp_path)])) for card in (first, last)]
    assert answers[0] == pytest.approx(answers[1], abs=1e-5)


def test_a_volume_network_with_the_channels_last_finds_the_same_place(tmp_path: Path) -> None:
    first = volume_card(tmp_path / "first")
    into, back = [0, 4, 1, 2, 3], [0, 2, 3, 4, 1]
    nodes = [helper.make_node("Transpose", ["x"], ["turned"], perm=into),
             helper.make_node("Sub", ["turned", "at"], ["over"]), helper.make_node("Mul", ["over", "steep"], ["bleed"]),
             helper.make_node("Neg", ["bleed"], ["clean"]),
             helper.make_node("Concat", ["clean", "bleed"], ["both"], axis=1),
             helper.make_node("Transpose", ["both"], ["y"], perm=back)]  # fmt: skip
    last = volume_card(tmp_path / "last")
    last = with_network(
        replace(last, engine=replace(last.engine, is_channels_last=True)), nodes,
        {"x": (TensorProto.FLOAT, ["n", "d", "h", "w", 1])}, {"y": (TensorProto.FLOAT, ["n", "d", "h", "w", 2])},
        at=np.float32(0.5), steep=np.float32(8),
    )  # fmt: skip
    values = np.zeros((12, 40, 40))
    values[3:7, 10:20, 22:30] = 70
    series = write_series(tmp_path / "s", values, np.arange(12) * 3.0)
    answers = [Analyser(card).analyse(series) for card in (first, last)]
    assert answers[0].findings[0].present
    assert answers[0].findings == answers[1].findings


# A fixed batch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_of_a_fixed_batch_of_4_fewer_are_filled_up_and_more_are_split(tmp_path: Path, count: int) -> None:
    free, fixed = film_card(tmp_path / "free"), film_card(tmp_path / "fixed")
    fixed = with_network(
        fixed, SQUARED, {"x": (TensorProto.FLOAT, [4, 1, 32, 32])}, {"y": (TensorProto.FLOAT, [4, 2])},
        factors=FACTORS.astype(np.float32),
    )  # fmt: skip
    engine = load(fixed, 1)
    assert engine.max_batch == 4
    values = np.random.default_rng(3).random((count, 1, 32, 32), np.float32)
    single = [load(free, 1).run({"x": each[None]})["y"][0] for each in values]
    assert np.allclose(engine.run({"x": values})["y"], single, atol=1e-6)


def test_patches_of_a_volume_run_as_many_at_once_as_the_file_fixes(tmp_path: Path) -> None:
    folder, kind = tmp_path / "model", TensorProto.FLOAT
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)]
    digest = write_network(folder, nodes, {"x": (kind, [6, 1, 8, 16, 16])}, {"y": (kind, [6, 2, 8, 16, 16])})
    write_card(folder, VOLUME.replace("batch = 4\n", ""), 1, digest)
    card = read_card(folder)
    assert card.engine.window is not None
    assert card.engine.window.batch == 6
    values = np.random.default_rng(5).integers(0, 90, (12, 40, 40)).astype(float)
    series = write_series(tmp_path / "s", values, np.arange(12) * 6.0)
    single = replace(card, engine=replace(card.engine, window=replace(card.engine.window, batch=1)))
    answers = [Analyser(each).analyse(series) for each in (card, single)]
    assert answers[0].state is State.ANALYSED
    assert answers[0].findings == answers[1].findings


# Several inputs and outputs ----------------------------------------------------------------------------------


def test_two_films_by_role_are_two_inputs_by_name(tmp_path: Path) -> None:
    analyser = Analyser(read_card(two_views(tmp_path / "model")))
    front = bright(tmp_path, "front", 6, ViewPosition="PA")
    side = bright(tmp_path, "side", 24, ViewPosition="LL")
    answer = analyser.analyse([side, front])
    (probability,) = probabilities(answer)
    assert probability is not None
    assert probability > 0.9
    assert answer.coverage is not None
    assert (answer.coverage.used, answer.coverage.missed) == (2, 0)
    assert {each.sop_instance_uid for each in answer.images} == {each.header.sop_instance_uid for each in (front, side)}
    turned = [bright(tmp_path, "front", 24, ViewPosition="PA"), bright(tmp_path, "side", 6, ViewPosition="LL")]
    (other,) = probabilities(analyser.analyse(turned))
    assert other == pytest.approx(1 - probability, abs=1e-5)


def test_the_film_of_a_role_that_is_absent_is_named(tmp_path: Path) -> None:
    analyser = Analyser(read_card(two_views(tmp_path / "model")))
    assert analyser.analyse([bright(tmp_path, "front", 6, ViewPosition="PA")]).why == "input-missing: lateral"
    assert analyser.analyse([bright(tmp_path, "side", 6, ViewPosition="LL")]).why == "input-missing: frontal"


def test_findings_are_read_of_the_outputs_that_they_name(tmp_path: Path) -> None:
    second = (
        '\n[[finding]]\nchannel = 0\noutput = "z"\n'
        'code = {{scheme = "99IMAGING", value = "other", meaning = "Other"}}\n'
    )
    card = read_card(two_views(tmp_path / "model", TWO_VIEWS + second))
    assert card.engine.outputs == ("y", "z")
    films = [bright(tmp_path, "front", 6, ViewPosition="PA"), bright(tmp_path, "side", 24, ViewPosition="LL")]
    one, other = probabilities(Analyser(card).analyse(films))
    assert one is not None
    assert other == pytest.approx(1 - one, abs=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('inputs = {{lateral = "side", frontal = "front"}}', 'input = "front"', "engine.inputs = absent: of several"),
        ('lateral = "side", ', "", "engine.inputs.lateral = absent: is required: text (lateral-absent)"),
        ('lateral = "side"', 'lateral = "side", chest = "x"', "(role-unknown)"),
        ('lateral = "side"', 'lateral = "sied"', "engine.inputs.lateral = 'sied': model.onnx has the input front"),
        ('any = ["LATERAL"]', 'any = ["FRONTAL"]', "also takes images of frontal"),
        ('role = "lateral"\nmodality = ["DX", "CR"]\nimages = "best"', 'role = "lateral"\nmodality = ["DX", "CR"]\n'
         'images = "each"', "of several inputs, each is one film: \"best\" (images-roles)"),
        ('output = "y"', 'output = "y"\nreference = "frontal"', "films are not laid over each other"),
        ('lateral = "side", frontal = "front"', 'lateral = "front", frontal = "front"', "(stack-films)"),
        ('output = "y"', 'output = "w"', "engine.output = 'w': model.onnx has the output y (any, 1) and z (any, 1)"),
    ],
)  # fmt: skip
def test_roles_that_the_network_or_the_images_contradict_are_faults(
    tmp_path: Path, old: str, new: str, fault: str
) -> None:
    assert old in TWO_VIEWS
    with pytest.raises(CardError) as error:
        read_card(two_views(tmp_path / "model", TWO_VIEWS.replace(old, new)))
    assert any(fault in line for line in error.value.faults), error.value.faults


# Weights and operators ---------------------------------------------------------------------------------------


def test_external_data_that_changed_since_its_digest_on_the_card_is_refused_by_name(tmp_path: Path) -> None:
    bare = read_card(write_beside(tmp_path / "bare"))
    (warning,) = warnings(bare)
    assert f'external = {{"model.bin" = "{digest_of(bare.folder / "model.bin")}"}}' in warning
    assert warning.endswith("(external-unstated)")
    folder = stated_beside(tmp_path / "models" / "beside")
    assert warnings(read_card(folder)) == ()
    shutil.copytree(folder, tmp_path / "models" / "other")
    other = tmp_path / "models" / "other" / "card.toml"
    other.write_text(other.read_text().replace('id = "beside"', 'id = "other"'))
    (folder / "model.bin").write_bytes(b"\0" * 8)
    catalogue = load_models([tmp_path / "models"])
    assert [card.id for card in catalogue.models] == ["other"]
    assert "model.bin has the digest" in catalogue.disabled["beside"]
    assert "(sha256-differs)" in catalogue.disabled["beside"]


def test_a_digest_of_what_the_network_does_not_take_is_a_fault(tmp_path: Path) -> None:
    folder = write_beside(tmp_path / "model")
    text = (folder / "card.toml").read_text().replace('input = "x"\n', 'input = "x"\nexternal = {"w.bin" = "0"}\n')
    (folder / "card.toml").write_text(text)
    with pytest.raises(CardError, match="is not a file that the network takes weights from"):
        read_card(folder)


@pytest.mark.parametrize(
    ("operator", "opset", "words"),
    [("Identity", 99, "Opset 99 is under development"), ("Sharpen", 17, "No Op registered for Sharpen")],
)
def test_what_the_runtime_lacks_disables_that_model_in_its_words(
    tmp_path: Path, operator: str, opset: int, words: str
) -> None:
    nodes = [*POOL, helper.make_node(operator, ["flat"], ["y"])]
    ports = {"x": (TensorProto.FLOAT, ["n", 1, 32, 32])}, {"y": (TensorProto.FLOAT, ["n", 1])}
    write_card(tmp_path / "model", FILM, 1, write_network(tmp_path / "model", nodes, *ports, opset=opset))
    (fault,) = check(read_card(tmp_path / "model")).faults
    assert fault.startswith("the network cannot be loaded: ")
    assert words in fault
