"""Reads a stack's files into a Volume: frames, their places, their units, and what is padding (docs/models.md, "laws").

Each frame's facts are its own where the object is enhanced (per frame, then for all), the instance's otherwise.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.domain.card import VolumeInput
from imaging.domain.findings import ImageRef
from imaging.domain.geometry import SAME_PLACE_MM, Plane, Stack, arrange
from imaging.domain.reasons import NotAnalysable, Reason
from imaging.domain.source import Source
from imaging.domain.stack_gates import check_stack
from imaging.domain.stacks import Frame, FrameStack, frame_of
from imaging.inference.decoded import DECODED
from imaging.inference.pixels import Layout, decode, layout_of, padding_of, read_file
from imaging.inference.volume import CT_AIR, MAX_BYTES, Volume

Array = NDArray[Any]

ENHANCED: Final = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2.1", "2.2", "4.1", "4.3", "4.4", "128.1", "130")
)
"""CT, MR and PET objects that tell each frame's place in functional groups, also where there is only one frame."""

MIN_HU: Final = -30.0
"""What a CT of a patient reaches below, if not by air then by fat."""


@dataclass(frozen=True)
class _Slice:
    """One frame, not yet decoded, and how its values become units."""

    dataset: Dataset
    layout: Layout
    image: ImageRef
    frame: int
    slope: float
    intercept: float


def frames_of(source: Source) -> list[Frame]:
    """The slices of an instance, without their pixels. Only an enhanced or multi-frame object is opened for it.

    Raises NotAnalysable where the object cannot be understood.
    """
    header = source.header
    if header.number_of_frames == 1 and header.sop_class_uid not in ENHANCED:
        return [frame_of(header)]
    dataset = read_file(source)
    layout = layout_of(dataset)
    each_groups = _groups(dataset, layout)
    for groups in each_groups:
        _rescale(_of_units(dataset, groups), str(dataset.get("Modality", "")))  # what has none is refused as a whole
    return [
        Frame(header, at, _plane(dataset, layout, groups), (header.acquisition_number, *_split(dataset, groups)))
        for at, groups in enumerate(each_groups)
    ]


@dataclass(frozen=True)
class ReadStack:
    """A stack with its pixels. `unread`: frames that could not be decoded; `copies`: that were there twice."""

    volume: Volume
    used: tuple[Frame, ...]
    unread: tuple[tuple[Frame, Reason], ...]
    copies: tuple[Frame, ...]


def read_stack(
    frame_stack: FrameStack, sources: Mapping[str, Source], card_input: VolumeInput, threads: int = 1
) -> ReadStack:
    """A stack's volume; `sources` by SOP Instance UID. A slice that cannot be decoded is left out, if the rest may be
    taken without it. Raises NotAnalysable.

    A whole stack does not depend on the input, and is held for the next model.
    """
    frames = frame_stack.frames
    return DECODED.of(
        lambda: tuple((sources[_uid(frame)].content_key(), frame.number, frame.plane) for frame in frames),
        lambda: _read_stack(frame_stack, sources, card_input, threads),
        lambda made: None if made.unread else made.volume.values,
    )


def _read_stack(
    frame_stack: FrameStack, sources: Mapping[str, Source], card_input: VolumeInput, threads: int
) -> ReadStack:
    with ThreadPoolExecutor(max(1, threads)) as pool:
        uids = list(dict.fromkeys(frame.header.sop_instance_uid for frame in frame_stack.frames))
        if sum(4 * _values_of(frame) for frame in frame_stack.frames) > MAX_BYTES:
            raise NotAnalysable("memory")
        read = dict(zip(uids, pool.map(lambda uid: _decoded(sources[uid]), uids), strict=True))
    unread = [(frame, fault) for frame in frame_stack.frames if isinstance(fault := read[_uid(frame)], Reason)]
    taken = [frame for frame in frame_stack.frames if not isinstance(read[_uid(frame)], Reason)]
    if not taken:
        raise NotAnalysable(unread[0][1].code, unread[0][1].detail)
    laid = _laid_without(taken, unread[0][1], card_input) if unread else frame_stack.geometry
    chosen: list[_Slice] = []
    frames: list[Array] = []
    for frame in taken:
        slices, pixels = cast("tuple[list[_Slice], Array]", read[_uid(frame)])
        chosen.append(slices[frame.number])
        frames.append(pixels[frame.number])
    planes = [frame.plane for frame in taken]
    kept = _without_repeats(planes, frames, laid)
    own = [chosen[at] for at in kept], [frames[at] for at in kept], [planes[at] for at in kept]
    volume = _volume(*own, laid, len(chosen) - len(kept))
    copies = tuple(frame for at, frame in enumerate(taken) if at not in set(kept))
    return ReadStack(volume, tuple(taken[at] for at in kept), tuple(unread), copies)


def _laid_without(taken: Sequence[Frame], why: Reason, card_input: VolumeInput) -> Stack:
    """How the others lie where slices could not be decoded; `why` speaks where these may not be taken alone."""
    try:
        _, laid = arrange([frame.plane for frame in taken])  # they are in order already
        check_stack(card_input, laid)
    except NotAnalysable:
        raise NotAnalysable(why.code, why.detail) from None
    return laid


def stored_values(frame: Frame, source: Source) -> Array:
    """One frame in the modality's units, (rows, columns). Raises NotAnalysable."""
    decoded = _decoded(source)
    if isinstance(decoded, Reason):
        raise NotAnalysable(decoded.code, decoded.detail)
    slices, pixels = decoded
    values: Array = _in_units([slices[frame.number]], [pixels[frame.number]]).values[0]
    return values


def _decoded(source: Source) -> tuple[list[_Slice], Array] | Reason:
    """The slices of an instance and their stored values, or why they cannot be had."""
    try:
        dataset = read_file(source)
        slices = _slices(dataset, source)
        return slices, decode(dataset, slices[0].layout)
    except NotAnalysable as refused:
        return refused.reason


def _uid(frame: Frame) -> str:
    return frame.header.sop_instance_uid


def _values_of(frame: Frame) -> int:
    return (frame.plane.shape[0] or 0) * (frame.plane.shape[1] or 0)


def _volume(slices: list[_Slice], frames: list[Array], planes: list[Plane], laid: Stack, dropped: int) -> Volume:
    units, modality = _in_units(slices, frames), str(slices[0].dataset.get("Modality", ""))
    if units.values.min() == units.values.max():
        raise NotAnalysable("pixels-blank")
    _check_units(units.minimum, modality, offset=min(each.intercept for each in slices))
    spacing = planes[0].spacing_mm
    assert spacing is not None  # no pile has frames without
    return Volume(
        values=units.values,
        laid=laid,
        positions=np.array([each.position for each in planes], np.float64),
        spacing_mm=spacing,
        images=tuple(each.image for each in slices),
        modality=modality,
        padding=units.padding,
        dropped=dropped,
        frame_of_reference_uid=planes[0].frame_of_reference_uid,
        frames=tuple(each.frame + 1 for each in slices),
    )


def _without_repeats(planes: Sequence[Plane], frames: list[Array], laid: Stack) -> list[int]:
    """Law 5: of slices at one place all but one go if their pixels are the same; else it is not for us to choose."""
    kept: list[int] = []
    for at, plane in enumerate(planes):
        if kept:
            offset = np.array(plane.position) - np.array(planes[kept[-1]].position)
            if offset @ laid.normal <= SAME_PLACE_MM:
                if not np.array_equal(frames[at], frames[kept[-1]]):
                    raise NotAnalysable("positions-repeated")
                continue
        kept.append(at)
    return kept


@dataclass(frozen=True)
class _Units:
    """Values in the modality's units. `padding`: how many voxels were; `minimum`: of all others."""

    values: Array
    padding: int
    minimum: float


def _in_units(slices: list[_Slice], frames: list[Array]) -> _Units:
    """Law 7: values in the modality's units with padding at its least."""
    is_ct = str(slices[0].dataset.get("Modality", "")) == "CT"
    lines = [_line(each, is_ct) for each in slices]
    ends = [
        sorted(slope * float(end) + intercept for end in (frame.min(), frame.max()))
        for (slope, intercept), frame in zip(lines, frames, strict=True)
    ]
    is_whole = all(abs(slope) == 1.0 and intercept == round(intercept) for slope, intercept in lines)
    fits_int16 = is_whole and all(low >= -32768 and high <= 32767 for low, high in ends)
    values = np.empty((len(frames), *frames[0].shape), np.int16 if fits_int16 else np.float32)
    padding, minimum = 0, np.inf
    for target, each, line, frame, (low, _) in zip(values, slices, lines, frames, ends, strict=True):
        _rescaled(frame, *line, target)
        mask = _padding(each, frame)
        if mask is None:
            minimum = min(minimum, low)
            continue
        padding += int(mask.sum())
        minimum = min(minimum, float(target[~mask].min(initial=np.iinfo(np.int16).max)))
        target[mask] = CT_AIR if is_ct else 0
    if is_ct:
        np.maximum(values, values.dtype.type(CT_AIR), out=values)
    return _Units(values, padding, minimum)


def _line(each: _Slice, is_ct: bool) -> tuple[float, float]:
    """Slope and intercept from stored values to units; inverted within what can be stored for MONOCHROME1."""
    if is_ct or each.dataset.get("PhotometricInterpretation") != "MONOCHROME1":
        return each.slope, each.intercept
    return -each.slope, each.slope * float(sum(each.layout.range)) + each.intercept


def _rescaled(frame: Array, slope: float, intercept: float, target: Array) -> None:
    """Writes slope * frame + intercept into `target`. Of int16, where the results fit and the slope is 1 or -1,
    whatever lies between: sums that wrap around 2^16 come back exactly."""
    if target.dtype != np.int16:
        target[:] = slope * frame.astype(np.float64) + intercept
        return
    target[:] = frame
    if slope < 0:
        np.negative(target, out=target)
    target += np.int16((int(intercept) + 0x8000) % 0x10000 - 0x8000)


def _padding(each: _Slice, frame: Array) -> NDArray[np.bool_] | None:
    ends = padding_of(each.dataset, each.layout)
    if ends is None:
        return None
    mask: NDArray[np.bool_] = (frame >= ends[0]) & (frame <= ends[1])
    return mask if mask.any() else None


def _check_units(minimum: float, modality: str, offset: float) -> None:
    """Refuses a CT with an offset forgotten: its least value is exactly 0, or leaves room for neither air nor fat where
    the rescale takes nothing off.

    Asked of a stack, since a slice may lie in the patient as a whole.
    """
    if modality == "CT" and (minimum == 0 or (offset >= 0 and minimum > MIN_HU)):
        raise NotAnalysable("units-unknown")


def _slices(dataset: Dataset, source: Source) -> list[_Slice]:
    """The frames of an instance."""
    layout, modality = layout_of(dataset), str(dataset.get("Modality", ""))
    return [
        _Slice(dataset, layout, source.ref, at, *_rescale(_of_units(dataset, groups), modality))
        for at, groups in enumerate(_groups(dataset, layout))
    ]


def _groups(dataset: Dataset, layout: Layout) -> list[list[Dataset]]:
    """For each frame, where its facts are told: enhanced objects tell per frame, then for all (PS3.3 C.7.6.16), others
    in the data set itself. Raises NotAnalysable.
    """
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is None:
        if layout.frames != 1:
            raise NotAnalysable("frames-irregular", str(layout.frames))
        return [[dataset]]
    if len(groups) != layout.frames:
        raise NotAnalysable("frames-irregular", f"{len(groups)} of {layout.frames}")
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
    return [[group, *shared] for group in groups]


def _of_units(dataset: Dataset, groups: list[Dataset]) -> list[Dataset]:
    """Where a frame's rescale is told."""
    is_single = groups[0] is dataset
    return groups if is_single else [*_within(groups, "PixelValueTransformationSequence"), dataset]


def _plane(dataset: Dataset, layout: Layout, groups: list[Dataset]) -> Plane:
    is_single = groups[0] is dataset
    position = groups if is_single else _within(groups, "PlanePositionSequence")
    orientation = groups if is_single else _within(groups, "PlaneOrientationSequence")
    measures = groups if is_single else _within(groups, "PixelMeasuresSequence")
    return Plane(
        position=_numbers(position, "ImagePositionPatient", 3),  # type: ignore[arg-type]  # as long as asked
        orientation=_numbers(orientation, "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        spacing_mm=_numbers(measures, "PixelSpacing", 2),  # type: ignore[arg-type]
        shape=(layout.rows, layout.columns),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
    )


def _within(groups: list[Dataset], keyword: str) -> list[Dataset]:
    return [sequence[0] for group in groups if (sequence := group.get(keyword))]


def _numbers(places: list[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """The first value of the keyword that is `count` finite numbers, else None."""
    for place in places:
        try:
            values = tuple(float(each) for each in place.get(keyword) or ())
        except (TypeError, ValueError, OverflowError):
            return None
        if len(values) == count and np.isfinite(values).all():
            return values
    return None


def _rescale(places: list[Dataset], modality: str) -> tuple[float, float]:
    found = []
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        values = [value for place in places if (value := place.get(keyword)) not in (None, "")]
        try:
            found.append(float(values[0]) if values else None)
        except (TypeError, ValueError, OverflowError) as error:
            raise NotAnalysable("units-unknown") from error
    slope, intercept = found
    if modality == "CT":
        if slope is None or intercept is None:
            raise NotAnalysable("rescale-absent")
        kinds = {str(place.get("RescaleType") or "").strip("\0 ").upper() for place in places}
        if kinds - {"", "HU", "HU_MOD"}:
            raise NotAnalysable("units-unknown")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if not (1e-9 <= abs(slope) <= 1e6 and abs(intercept) <= 1e7):
        raise NotAnalysable("units-unknown")
    return slope, intercept


def _split(dataset: Dataset, groups: list[Dataset]) -> tuple[object, ...]:
    """What tells frames at one place apart."""
    if groups[0] is not dataset:
        return _split_frame(groups)
    keywords = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "DiffusionBValue")
    return tuple(str(dataset.get(each)) for each in keywords)


def _split_frame(groups: list[Dataset]) -> tuple[object, ...]:
    """Stack, kind of frame, time, echo and b-value tell frames at one place apart."""
    wanted = (
        ("FrameContentSequence", "StackID"),
        ("MRImageFrameTypeSequence", "FrameType"),
        ("FrameContentSequence", "TemporalPositionIndex"),
        ("MREchoSequence", "EffectiveEchoTime"),
        ("MRDiffusionSequence", "DiffusionBValue"),
    )
    return tuple(str([place.get(keyword) for place in _within(groups, name)]) for name, keyword in wanted)
