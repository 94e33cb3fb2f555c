"""Reads films: each is an item by itself, whatever others its study has."""

from collections.abc import Mapping, Sequence

from imaging.domain.card import Card, Input, SegmentSpec
from imaging.domain.coverage import Coverage, counted
from imaging.domain.film_pixels import pixel_mm
from imaging.domain.fitting import check_memory
from imaging.domain.gates import Scope, Verdict
from imaging.domain.grid import FilmGrid
from imaging.domain.orientation import reorientation_of
from imaging.domain.reasons import NotAnalysable, Reason, furthest
from imaging.domain.source import Source
from imaging.inference.film import read_film
from imaging.inference.pixels import read_file
from imaging.inference.prepared import FilmItem, Prepared
from imaging.inference.timing import timed
from imaging.preparation.registry import prepare


def read(
    card: Card, card_input: Input, sources: Sequence[Source], verdict_by_uid: Mapping[str, Verdict], threads: int
) -> Prepared:
    """As `Reader` says. A film that cannot be used is missing, if another can."""
    timings = {"read": 0.0, "prepare": 0.0}
    taken, items = list[Source](), list[FilmItem]()
    missing, out = list[Reason](), list[Reason]()
    for source in sources:
        verdict = verdict_by_uid[source.header.sop_instance_uid]
        why = verdict.reason
        if why is None:
            try:
                items.append(_item(card, card_input.role, source, timings))
            except NotAnalysable as refused:
                why = refused.reason
            else:
                taken.append(source)
        if why is not None:
            (out if verdict.scope is Scope.OUT else missing).extend([why] * source.header.number_of_frames)
    if not items:
        raise NotAnalysable(*furthest(missing or out))
    coverage = Coverage(len(items), counted(missing), {}, counted(out))
    images = tuple(source.ref for source in taken)
    return Prepared(images, coverage, tuple(items), _facts(card, taken), timings)


def _item(card: Card, role: str, source: Source, timings: dict[str, float]) -> FilmItem:
    check_memory(card, [source.header])
    with timed(timings, "read"):
        film = read_film(read_file(source), reorientation_of(source.header.patient_orientation))
    with timed(timings, "prepare"):
        array = prepare(film.array, card.prepare)
    assert isinstance(array.grid, FilmGrid)  # a film's is one
    rows, columns = film.stored.shape
    return FilmItem({role: array.values}, (source.ref,), array.grid, (rows, columns), pixel_mm(source.header))


def _facts(card: Card, taken: Sequence[Source]) -> dict[str, str]:
    facts = {"images": str(len(taken))}
    if any(isinstance(each, SegmentSpec) for each in card.findings):
        facts["pixel_mm"] = "; ".join(dict.fromkeys(_in_words(pixel_mm(each.header)) for each in taken))
    lying = [source.header.patient_orientation for source in taken]
    if turned := ["/".join(each) for each in lying if reorientation_of(each)]:
        facts["turned"] = f"{len(turned)} of {len(taken)}, stored {', '.join(dict.fromkeys(turned))}"
    return facts


def _in_words(size: tuple[float, float] | None) -> str:
    return "unknown" if size is None else f"{size[0]:.4g}x{size[1]:.4g} at the detector"
