"""Which of measured settings is chosen."""

from imaging.domain.tuning import Measured, Parity, Setup, best

OWN = Measured(Setup("onnx", "f32", 1, 1), 20.0, 50.0, 1.0, 90.0)
SAME = Parity(0.0, 0, None, True)


def faster(
    gain: float, parity: Parity = SAME, engine: str = "openvino", alone_ms: float = 30.0, batch: int = 4
) -> Measured:
    return Measured(Setup(engine, "bf16", 1, batch), 20 * gain, alone_ms, gain, 180.0, parity)


def test_the_fastest_that_gives_the_cards_own_answers_is_chosen() -> None:
    assert best([OWN, faster(1.4, engine="a"), faster(2.0, engine="b")]).engine == "b"


def test_what_fails_parity_is_never_chosen_however_fast() -> None:
    for parity in (Parity(0.0101, 0, None, True), Parity(0.001, 1, None, True), Parity(0.0, 0, 0.9989, False)):
        assert best([OWN, faster(9.0, parity), faster(1.4, engine="slower")]).engine == "slower"
        assert best([OWN, faster(9.0, parity)]) == OWN.setup


def test_what_was_not_measured_to_its_end_is_never_chosen() -> None:
    left = Measured(Setup("torch", "f32", 2, 1), why="it needs more memory than there is")
    broken = Measured(Setup("torch", "bf16", 2, 1), 90.0, 1.0, 4.0, 10.0, SAME, why="it was killed by signal 9")
    assert best([OWN, left, broken]) == OWN.setup


def test_what_is_faster_by_no_more_than_the_noise_does_not_replace_the_cards_own() -> None:
    assert best([OWN, faster(1.09)]) == OWN.setup


def test_of_settings_that_are_as_fast_the_smallest_batch_is_chosen_and_then_the_soonest_answer() -> None:
    rows = [OWN, faster(2.0, engine="late", alone_ms=90.0), faster(1.96, engine="soon", alone_ms=20.0)]
    assert best(rows).engine == "soon"
    assert best([*rows, faster(1.9, engine="small", batch=1)]).engine == "small"
