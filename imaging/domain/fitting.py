"""Which models fit a study, and which of its images a model takes (docs/models.md).

A model *fits* a study by modality, SOP class and body part; it then owes one answer. `imaging.domain.gates` judges each
image; counts and geometry decide whether the answer is findings or a reason. Nothing here opens a file.

The answers depend on the set of instances alone: their order and repetition change nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from imaging.domain.card import Card, Input
from imaging.domain.contrast import contrast
from imaging.domain.coverage import Coverage, counted
from imaging.domain.gates import Scope, Verdict, judge, matches
from imaging.domain.header import Header, same_patient
from imaging.domain.image_kind import is_capture
from imaging.domain.reasons import NotAnalysable, Reason


def fits(card: Card, headers: Iterable[Header]) -> bool:
    """Whether the study owes its reader an answer of this model."""
    return any(matches(card_input, header) for header in headers for card_input in card.inputs)


_OF_ANOTHER_EXAMINATION: Final = frozenset(("modality", "sop-class", "capture", "body-part"))
_ORDER: Final = list(Scope)


def verdicts(card: Card, headers: Sequence[Header]) -> dict[str, Verdict]:
    """What each of a study's images is to a card, by UID: to that of its inputs which it suits best."""
    each_input = [verdicts_of(each, headers) for each in card.inputs]
    uids = dict.fromkeys(header.sop_instance_uid for header in headers)
    return {
        uid: min((verdict_by_uid[uid] for verdict_by_uid in each_input), key=lambda own: _ORDER.index(own.scope))
        for uid in uids
    }


def verdicts_of(card_input: Input, headers: Sequence[Header]) -> dict[str, Verdict]:
    """What each of a study's images is to an input, by UID; some can be told only beside the others."""
    verdict_by_uid = {header.sop_instance_uid: judge(card_input, header) for header in headers}
    _decide_silent_series(card_input, headers, verdict_by_uid)
    if card_input.is_series:
        _keep_slices_of_taken_series(headers, verdict_by_uid)
    return verdict_by_uid


def _decide_silent_series(card_input: Input, headers: Sequence[Header], verdict_by_uid: dict[str, Verdict]) -> None:
    """A series that is silent in a study "with contrast" is native where the sender marks others as given."""
    in_doubt = [
        each for each in headers if verdict_by_uid[each.sop_instance_uid] == Verdict(Scope.MISSING, Reason("contrast"))
    ]
    if not in_doubt:
        return
    if any(contrast(replace(each, study_description=""), card_input.site) for each in headers):
        for each in in_doubt:
            verdict_by_uid[each.sop_instance_uid] = judge(card_input, replace(each, study_description=""))


def _keep_slices_of_taken_series(headers: Sequence[Header], verdict_by_uid: dict[str, Verdict]) -> None:
    """Of a series whose slices the card takes, a slice with another body part or class is not plainly another thing.

    It lies in the same scan, and what it shows is missing unless its place was analysed.
    """
    taken = {each.series_instance_uid for each in headers if verdict_by_uid[each.sop_instance_uid].scope is Scope.IN}
    for each in headers:
        own = verdict_by_uid[each.sop_instance_uid]
        is_slice = each.image_position is not None and each.image_orientation is not None and not is_capture(each)
        is_other = own.reason is not None and own.reason.code in _OF_ANOTHER_EXAMINATION
        if own.scope is Scope.OUT and is_other and is_slice and each.series_instance_uid in taken:
            verdict_by_uid[each.sop_instance_uid] = replace(own, scope=Scope.MISSING)


def in_scope(card: Card, headers: Sequence[Header]) -> frozenset[str]:
    """UIDs of the images that an answer of this model speaks of: those whose coming changes it.

    Where it takes none, all that it considered: what arrives later may change the reason.
    """
    images = [header for header in headers if header.has_pixels]
    verdict_by_uid = verdicts(card, images)
    taken = [header for header in images if verdict_by_uid[header.sop_instance_uid].scope is not Scope.OUT]
    taken = taken or [header for header in images if fits(card, [header])]
    return frozenset(header.sop_instance_uid for header in taken)


def nothing_used(card: Card, headers: Sequence[Header], reason: Reason) -> Coverage:
    """The coverage of an answer that looked at nothing, for this reason."""
    missing, out = 0, list[tuple[Reason, int]]()
    judgements = verdicts(card, headers)
    for header in headers:
        verdict_by_uid = judgements[header.sop_instance_uid]
        if verdict_by_uid.scope is Scope.OUT and verdict_by_uid.reason is not None and header.has_pixels:
            out.append((verdict_by_uid.reason, header.number_of_frames))
        elif header.has_pixels:
            missing += header.number_of_frames
    return Coverage(missing={reason.code: missing} if missing else {}, out_of_scope=counted(out))


def check_study(card: Card, headers: Sequence[Header]) -> None:
    """What has to hold of all images that a model takes: one patient, and each role played. Raises NotAnalysable."""
    if not same_patient(headers):
        raise NotAnalysable("mixed-patients")
    for each in card.inputs:
        if not any(matches(each, header) for header in headers):
            if len(card.inputs) > 1:
                raise NotAnalysable("input-missing", each.role)
            raise NotAnalysable(_mismatch(each, headers))


def check_memory(card: Card, headers: Sequence[Header]) -> None:
    """The stored values of one film, at two bytes each, must fit into what the card says that a job needs.

    What the network itself takes nobody knows but the engine. Raises NotAnalysable.
    """
    sizes = [2 * (each.rows or 0) * (each.columns or 0) * each.number_of_frames for each in headers]
    if max(sizes, default=0) > card.engine.memory_mb << 20:
        raise NotAnalysable("memory")


def _mismatch(card_input: Input, headers: Sequence[Header]) -> str:
    """The first of modality, SOP class, body part that no instance matches."""
    same_modality = [header for header in headers if header.modality in card_input.modality]
    if not same_modality:
        return "modality"
    classes = card_input.sop_class_uids
    return "body-part" if not classes or any(h.image_class_uid in classes for h in same_modality) else "sop-class"
