"""Reads of a study what a volume model looks at, stack by stack, and says of every other image why it did not.

What is decided stands in `imaging.domain.stacks`; here the files are opened. Candidates are tried in rank order until
the place of the patient is covered, so that a good series beside a bad one speaks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from imaging.domain.card import VolumeInput
from imaging.domain.coverage import Coverage, counted
from imaging.domain.gates import Scope, Verdict
from imaging.domain.geometry import Region, fault_of, plane_of
from imaging.domain.ranking import rank
from imaging.domain.reasons import NotAnalysable, Reason, furthest
from imaging.domain.source import Source
from imaging.domain.stack_gates import check_joined, check_stack
from imaging.domain.stacks import (
    MAX_ACQUISITIONS,
    Frame,
    FrameStack,
    acquisitions,
    frame_stacks,
    is_same_acquisition,
    is_same_space,
    latest,
    moment,
    outside,
)
from imaging.inference.series import ReadStack, frames_of, read_stack, stored_values

SAME_PLACE, OLDER, COPY, AIR = "same-place", "older-acquisition", "copy", "air"
"""Why an image adds nothing to what was analysed."""

AIR_BELOW_HU, AIR_FRACTION, AIR_OF_MOST = -300.0, 0.995, 0.05
"""Air: nearly all of it lies under this, or where there are no Hounsfield units under this share of the brightest."""

FINE = 65
"""Points along each side of an image by which its pixels are told to lie within what was analysed, or beyond."""

MAX_FRAMES: Final = 1 << 16
"""Of an object that cannot be read, so many are told apart, whatever number its header claims."""

Key = tuple[str, int]


@dataclass(frozen=True)
class Acquired:
    """One acquisition as it was read: stacks that together are one whole."""

    group: tuple[FrameStack, ...]
    parts: tuple[ReadStack, ...]

    @property
    def regions(self) -> list[Region]:
        """Where its parts lie in the patient."""
        return [part.volume.region for part in self.parts]


@dataclass(frozen=True)
class StudyRead:
    """What a model looks at, and what all of the study's images are to its answer."""

    acquired: tuple[Acquired, ...]
    coverage: Coverage


@dataclass
class _Left:
    """What was not used, while it is worked out: a fault by frame, frames by what they are."""

    faults: dict[Key, Reason] = field(default_factory=dict)

    def note(self, frames: Sequence[Frame], reason: Reason) -> None:
        for frame in frames:
            self.faults.setdefault(_key(frame), reason)


def read_study(
    sources: Sequence[Source],
    card_input: VolumeInput,
    verdict_by_uid: Mapping[str, Verdict],
    max_bytes: int,
    threads: int = 1,
    read: Callable[..., ReadStack] = read_stack,
) -> StudyRead:
    """Everything of these instances that the input takes. Raises NotAnalysable where that is nothing.

    `verdict_by_uid`: of each image by its UID, whether it may be taken; `read` reads a stack; `max_bytes` bounds the
    stored values that are held at once.
    """
    by_uid = {source.header.sop_instance_uid: source for source in sources}
    left, frames, doubtful = _Left(), list[Frame](), list[Frame]()
    out: list[tuple[Reason, int]] = []
    for source in sources:
        verdict = verdict_by_uid[source.header.sop_instance_uid]
        if verdict.scope is Scope.OUT:
            assert verdict.reason is not None
            out.append((verdict.reason, source.header.number_of_frames))
            continue
        try:
            own = frames_of(source)
        except NotAnalysable as refused:
            claimed = min(source.header.number_of_frames, MAX_FRAMES)
            own = [Frame(source.header, at, plane_of(source.header)) for at in range(claimed)]
            left.note(own, refused.reason)
            doubtful += own
            continue
        if verdict.reason is not None:
            left.note(own, verdict.reason)
        (frames if verdict.scope is Scope.IN else doubtful).extend(own)
    if not frames:
        raise NotAnalysable(*furthest([*left.faults.values(), *([] if left.faults else [reason for reason, _ in out])]))
    made, loose = frame_stacks(frames)
    for frame, reason in loose:
        left.note([frame], reason)
    made.sort(key=lambda frame_stack: rank(card_input, [frame.header for frame in frame_stack.frames]))
    acquired: list[Acquired] = []
    for group in acquisitions(made):
        if len(acquired) == MAX_ACQUISITIONS:
            left.note(
                [frame for frame_stack in group for frame in frame_stack.frames],
                Reason("acquisitions", str(len(acquired))),
            )
            continue
        whole = _read_group(group, by_uid, card_input, left, max_bytes, partial(read, threads=threads))
        if whole is not None:
            acquired.append(whole)
    if not acquired:
        raise NotAnalysable(*furthest(list(left.faults.values())))
    coverage = _coverage([*frames, *doubtful], acquired, left, by_uid, out)
    return StudyRead(tuple(acquired), coverage)


def _read_group(
    group: Sequence[FrameStack],
    sources: Mapping[str, Source],
    card_input: VolumeInput,
    left: _Left,
    max_bytes: int,
    read: Callable[..., ReadStack],
) -> Acquired | None:
    """The stacks of an acquisition, each of which adds to those before it; None where they may not be analysed."""
    parts: list[ReadStack] = []
    held = 0
    for frame_stack in group:
        regions = [part.volume.region for part in parts]
        new = [frame for frame in frame_stack.frames if outside(frame.plane, regions).any()]
        if not new or (parts and all(_adds_air(frame, sources, regions) for frame in new)):
            continue
        try:
            check_stack(card_input, frame_stack.geometry)
            held += sum(2 * (frame.plane.shape[0] or 0) * (frame.plane.shape[1] or 0) for frame in frame_stack.frames)
            if held > max_bytes:
                raise NotAnalysable("memory")
            part = read(frame_stack, sources, card_input)
        except NotAnalysable as refused:
            left.note(frame_stack.frames, refused.reason)
            continue
        for frame, reason in part.unread:
            left.note([frame], reason)
        parts.append(part)
    if not parts:
        return None
    try:
        check_joined(card_input, [part.volume.region for part in parts])
    except NotAnalysable as refused:
        left.note([frame for part in parts for frame in part.used], refused.reason)
        return None
    return Acquired(tuple(group), tuple(parts))


def _coverage(
    frames: Sequence[Frame],
    acquired: Sequence[Acquired],
    left: _Left,
    sources: Mapping[str, Source],
    out: Sequence[tuple[Reason, int]],
) -> Coverage:
    unread = {_key(frame) for each in acquired for part in each.parts for frame, _ in part.unread}
    used = {_key(frame) for each in acquired for part in each.parts for frame in part.used}
    copies = {_key(frame) for each in acquired for part in each.parts for frame in part.copies}
    missing: dict[str, int] = {}
    redundant: dict[str, int] = {}
    for frame in frames:
        if _key(frame) in used:
            continue
        why = (
            COPY
            if _key(frame) in copies
            else _adds_nothing(frame, acquired, sources, 0.1 if _key(frame) in unread else None)
        )
        if why:
            redundant[why] = redundant.get(why, 0) + 1
        else:
            code = left.faults.get(_key(frame), Reason("positions")).code
            missing[code] = missing.get(code, 0) + 1
    return Coverage(len(used), missing, redundant, counted(out))


def _adds_nothing(
    frame: Frame, acquired: Sequence[Acquired], sources: Mapping[str, Source], within_mm: float | None
) -> str:
    """Why an image adds nothing to what was analysed; empty where it does, or may.

    `within_mm`: how near to it, if not as near as another reconstruction may lie.
    """
    if fault_of(frame.plane) is not None:
        return ""
    for each in acquired:
        if not is_same_space(frame, each.group[0].frames[0]):
            continue
        is_same = any(
            frame in frame_stack.frames or is_same_acquisition([frame], frame_stack.frames)
            for frame_stack in each.group
        )
        is_older = not is_same and _moment_of(frame) < latest(each.group)
        if not (is_same or is_older):
            continue
        if not outside(frame.plane, each.regions, within_mm).any():
            return SAME_PLACE if is_same else OLDER
        if is_same and within_mm is None and _adds_air(frame, sources, each.regions):
            return AIR
    return ""


def _adds_air(frame: Frame, sources: Mapping[str, Source], regions: Sequence[Region]) -> bool:
    """Whether an image holds only air or padding where it lies beyond what was analysed."""
    beyond = outside(frame.plane, regions, samples=FINE)
    try:
        values = stored_values(frame, sources[frame.header.sop_instance_uid]).astype(np.float32)
    except (NotAnalysable, OSError):  # it cannot be told to be air
        return False
    rows, columns = (
        np.round(np.arange(size) * (FINE - 1) / max(size - 1, 1)).astype(np.intp) for size in values.shape[:2]
    )
    part = values[beyond[np.ix_(rows, columns)]]
    if not part.size:
        return True
    if frame.header.modality == "CT":
        return float(np.quantile(part, AIR_FRACTION)) < AIR_BELOW_HU
    return float(np.quantile(part, AIR_FRACTION)) <= AIR_OF_MOST * float(np.quantile(values, AIR_FRACTION))


def _moment_of(frame: Frame) -> float:
    stated = moment(frame.header)
    return float("inf") if stated is None else stated


def _key(frame: Frame) -> Key:
    return frame.header.sop_instance_uid, frame.number
