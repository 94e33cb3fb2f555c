"""Reads films: each as an item by itself, the best one of a study, all of a study as one item, or one for each role."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from imaging.domain.card import Card, FilmInput, Input, SegmentSpec
from imaging.domain.coverage import Coverage, counted
from imaging.domain.film_pixels import pixel_mm
from imaging.domain.fitting import check_memory
from imaging.domain.gates import Scope, Verdict
from imaging.domain.grid import FilmGrid
from imaging.domain.orientation import reorientation_of
from imaging.domain.ranking import rank_film
from imaging.domain.reasons import NotAnalysable, Reason, furthest
from imaging.domain.source import Source
from imaging.inference.decoded import DECODED
from imaging.inference.film import Film, read_film
from imaging.inference.pixels import read_file
from imaging.inference.prepared import FilmItem, Item, Prepared
from imaging.inference.readers.roles import joined, shared_out
from imaging.inference.timing import timed
from imaging.preparation.registry import prepare

COPY: Final = "copy"
"""Why a film adds nothing: for the network it is the one that was looked at."""


def read(
    card: Card, card_input: Input, sources: Sequence[Source], verdict_by_uid: Mapping[str, Verdict], threads: int
) -> Prepared:
    """As `Reader` says. A film that cannot be used is missing, if another can."""
    assert isinstance(card_input, FilmInput)
    timings = {"read": 0.0, "prepare": 0.0}
    if card_input.images == "best":
        source, item, coverage = _best(card, card_input, sources, verdict_by_uid, timings)
        return Prepared((source.ref,), coverage, (item,), _facts(card, [source]), timings)
    taken, items = list[Source](), list[Item]()
    missing, out = list[Reason](), list[Reason]()
    if card_input.is_together:
        sources = sorted(sources, key=lambda source: rank_film(card_input, source.header))
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
    made = (_together(items),) if card_input.is_together else tuple(items)
    return Prepared(images, coverage, made, _facts(card, taken), timings)


def read_roles(
    card: Card, sources: Sequence[Source], verdict_by_uid: Mapping[str, Mapping[str, Verdict]], threads: int
) -> Prepared:
    """What a card of several films takes of a study, the best one of each role. `verdict_by_uid`: by role, what each
    instance is to it. Raises NotAnalysable: where a role has no film, `input-missing` with the role.
    """
    timings = {"read": 0.0, "prepare": 0.0}
    own, out = shared_out(card, sources, verdict_by_uid)
    taken, items, coverages = list[Source](), list[Item](), list[Coverage]()
    for each in card.inputs:
        assert isinstance(each, FilmInput)
        verdicts = verdict_by_uid[each.role]
        if not any(verdicts[source.header.sop_instance_uid].scope is Scope.IN for source in own[each.role]):
            raise NotAnalysable("input-missing", each.role)
        source, item, coverage = _best(card, each, own[each.role], verdicts, timings)
        taken.append(source)
        items.append(item)
        coverages.append(coverage)
    arrays = {role: values for item in items for role, values in item.arrays.items()}
    images = tuple(source.ref for source in taken)
    whole = replace(items[0], arrays=arrays, images=images)
    return Prepared(images, joined(coverages, out), (whole,), _facts(card, taken), timings)


def _best(
    card: Card,
    card_input: FilmInput,
    sources: Sequence[Source],
    verdict_by_uid: Mapping[str, Verdict],
    timings: dict[str, float],
) -> tuple[Source, Item, Coverage]:
    """The first film, in the input's rank, that can be used, and what the others are to it. Raises NotAnalysable.

    Another film that the card takes may show what this one does not, and nobody looks at it: it is missing, so that
    nothing is called absent; but for one that is for the network the same, pixel by pixel.
    """
    chosen: tuple[Source, Item] | None = None
    missing, out, copies = list[Reason](), list[Reason](), 0
    for source in sorted(sources, key=lambda source: rank_film(card_input, source.header)):
        verdict = verdict_by_uid[source.header.sop_instance_uid]
        why, item = verdict.reason, None
        if why is None and (chosen is None or _may_be_copy(source, chosen[0])):
            try:
                item = _item(card, card_input.role, source, timings)
            except NotAnalysable as refused:
                why = refused.reason
        if item is not None and chosen is None:
            chosen = source, item
        elif item is not None and chosen is not None and _is_same(item, chosen[1]):
            copies += 1
        else:
            reasons = [why or Reason("one-film")] * source.header.number_of_frames
            (out if verdict.scope is Scope.OUT else missing).extend(reasons)
    if chosen is None:
        raise NotAnalysable(*furthest(missing or out))
    return *chosen, Coverage(1, counted(missing), {COPY: copies} if copies else {}, counted(out))


def _may_be_copy(source: Source, other: Source) -> bool:
    """Whether it is worth reading: films of two sizes are no copies."""
    sizes = {(each.header.rows, each.header.columns, each.header.number_of_frames) for each in (source, other)}
    return len(sizes) == 1


def _is_same(one: Item, other: Item) -> bool:
    """Whether two films are the same for the network."""
    return all(np.array_equal(values, other.arrays[role]) for role, values in one.arrays.items())


def _together(items: Sequence[Item]) -> Item:
    """All films of a study as one item, along a first axis."""
    arrays = {role: np.stack([each.arrays[role] for each in items]) for role in items[0].arrays}
    return replace(items[0], arrays=arrays, images=tuple(image for each in items for image in each.images))


def _item(card: Card, role: str, source: Source, timings: dict[str, float]) -> FilmItem:
    check_memory(card, [source.header])
    with timed(timings, "read"):
        film = _film(source)
    with timed(timings, "prepare"):
        array = prepare(film.array, card.prepare, (role,))
    assert isinstance(array.grid, FilmGrid)  # a film's is one
    rows, columns = film.stored.shape
    return FilmItem({role: array.values}, (source.ref,), array.grid, (rows, columns), pixel_mm(source.header))


def _film(source: Source) -> Film:
    """The film as it is shown, decoded once for all models."""
    turn = reorientation_of(source.header.patient_orientation)
    return DECODED.of(
        lambda: (source.content_key(), turn), lambda: read_film(read_file(source), turn), lambda film: film.stored
    )


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
