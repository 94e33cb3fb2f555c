"""Reads several series of one examination, as inputs of their own or as channels of one: one of them is the reference,
and the others are brought to its grid by where they lie. Nothing is registered: they must share a Frame of Reference.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from imaging.domain.card import Card, VolumeInput
from imaging.domain.coverage import Coverage
from imaging.domain.gates import Scope, Verdict
from imaging.domain.grid import Grid
from imaging.domain.reasons import NotAnalysable
from imaging.domain.source import Source
from imaging.inference.acquisitions import StudyRead, read_study
from imaging.inference.prepared import Prepared, StackItem
from imaging.inference.readers.roles import joined, shared_out
from imaging.inference.readers.volumes import facts_of
from imaging.inference.timing import timed
from imaging.inference.volume import Volume
from imaging.preparation.array import Array, Tensor
from imaging.preparation.registry import axes_of, prepare

_EVEN = 1e-4
"""By how much unit vectors may differ that are one direction."""


def read(
    card: Card, sources: Sequence[Source], verdict_by_uid: Mapping[str, Mapping[str, Verdict]], threads: int
) -> Prepared:
    """What a card of several inputs takes of a study. `verdict_by_uid`: by role, what each instance is to it.

    Raises NotAnalysable: where a role has no series, `input-missing` with the role.
    """
    timings: dict[str, float] = {}
    own, out = shared_out(card, sources, verdict_by_uid)
    with timed(timings, "read"):
        studies = {
            each.role: _read(card, each, own[each.role], verdict_by_uid[each.role], threads)
            for each in card.inputs
            if isinstance(each, VolumeInput)
        }
    volumes = {role: study.acquired[0].parts[0].volume for role, study in studies.items()}
    _hold_one_space(volumes)
    reference = card.engine.reference or card.inputs[0].role
    with timed(timings, "prepare"):
        arrays = {
            roles[0]: prepare(
                partial(_laid_on, volumes[reference], [volumes[each] for each in roles]), card.prepare, roles
            )
            for roles in card.engine.roles.values()
        }
    grid = next(iter(arrays.values())).grid
    assert isinstance(grid, Grid)  # a volume's is one
    images = tuple(dict.fromkeys(image for each in volumes.values() for image in each.images))
    values = {role: each.values for role, each in arrays.items()}
    item = StackItem(values, images, volumes[reference], grid, axes=axes_of(card))
    coverage = joined([_of_first(each) for each in studies.values()], out)
    return Prepared(images, coverage, (item,), _facts(volumes, grid), timings)


def _read(
    card: Card, card_input: VolumeInput, sources: Sequence[Source], data: Mapping[str, Verdict], threads: int
) -> StudyRead:
    if not any(data[each.header.sop_instance_uid].scope is Scope.IN for each in sources):
        raise NotAnalysable("input-missing", card_input.role)
    return read_study(sources, card_input, data, (card.engine.memory_mb << 20) // len(card.inputs), threads)


def _of_first(study: StudyRead) -> Coverage:
    """The coverage where the first stack alone is looked at."""
    coverage, first = study.coverage, len(study.acquired[0].parts[0].used)
    if coverage.used == first:
        return coverage
    missing = dict(coverage.missing)
    missing["acquisitions"] = missing.get("acquisitions", 0) + coverage.used - first
    return Coverage(first, missing, coverage.redundant, coverage.out_of_scope)


def _hold_one_space(volumes: Mapping[str, Volume]) -> None:
    """Where series share no Frame of Reference, nobody knows what lies where."""
    uids = {each.frame_of_reference_uid for each in volumes.values()}
    if len(uids) > 1 or "" in uids:
        raise NotAnalysable("frame-of-reference-differs")


def _laid_on(
    reference: Volume,
    volumes: Sequence[Volume],
    toward: str = "",
    spacing_mm: tuple[float, ...] | None = None,
    is_nearest: bool = False,
    is_border_repeated: bool = False,
) -> Array:
    """Volumes on the reference's grid, a channel each."""
    grid = reference.grid(toward=toward, spacing_mm=spacing_mm, is_half_even=is_border_repeated)
    return Array(np.stack([_on(each, reference, grid, is_nearest, is_border_repeated) for each in volumes]), grid)


def _on(volume: Volume, reference: Volume, grid: Grid, is_nearest: bool, is_border_repeated: bool) -> Tensor:
    """A volume on the grid of another, linear; what it does not reach is outside."""
    if np.allclose(volume.axes, reference.axes, rtol=0.0, atol=_EVEN):
        return volume.resample(grid, is_nearest=is_nearest, is_border_repeated=is_border_repeated)
    done = np.empty(grid.shape, np.float32)
    for at, plane in enumerate(done):
        index = np.indices(plane.shape).reshape(2, -1).T
        seen = volume.sampled(grid.to_patient(np.column_stack([np.full(len(index), at), index])))
        plane[:] = np.where(np.isnan(seen), volume.outside, seen).reshape(plane.shape)
    return done


def _facts(volumes: Mapping[str, Volume], grid: Grid) -> dict[str, str]:
    """How each role's volume was made, role by role."""
    every = {role: facts_of(each) for role, each in volumes.items()}
    names = sorted({name for each in every.values() for name in each})
    facts = {name: "; ".join(f"{role} {each[name]}" for role, each in every.items() if name in each) for name in names}
    return facts | {"prepared_mm": "x".join(f"{length:.4g}" for length in grid.spacing_mm)}
