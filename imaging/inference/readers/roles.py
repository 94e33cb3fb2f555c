"""Which of a study's images play which role of a card of several inputs, and what all of them are to its answer."""

from collections.abc import Mapping, Sequence

from imaging.domain.card import Card
from imaging.domain.coverage import Coverage, counted
from imaging.domain.gates import Scope, Verdict
from imaging.domain.reasons import Reason
from imaging.domain.source import Source


def shared_out(
    card: Card, sources: Sequence[Source], data: Mapping[str, Mapping[str, Verdict]]
) -> tuple[dict[str, list[Source]], list[tuple[Reason, int]]]:
    """By role, the images that it is asked of; and of those that suit none, why, and how many frames.

    One that a role might take, and none takes, is asked of the first such role alone: it is missing once.
    """
    own: dict[str, list[Source]] = {each.role: [] for each in card.inputs}
    out: list[tuple[Reason, int]] = []
    for source in sources:
        verdicts = {role: each[source.header.sop_instance_uid] for role, each in data.items()}
        taking = [role for role, each in verdicts.items() if each.scope is Scope.IN]
        taking = taking or [role for role, each in verdicts.items() if each.scope is Scope.MISSING][:1]
        for role in taking:
            own[role].append(source)
        reason = next(iter(verdicts.values())).reason
        if not taking and reason is not None:
            out.append((reason, source.header.number_of_frames))
    return own, out


def joined(each_role: Sequence[Coverage], out: Sequence[tuple[Reason, int]]) -> Coverage:
    """The coverage of all roles' images together, with those that no role was asked of."""

    def added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
        names = dict.fromkeys(name for each in counts for name in each)
        return {name: sum(each.get(name, 0) for each in counts) for name in names}

    return Coverage(
        sum(each.used for each in each_role),
        added([each.missing for each in each_role]),
        added([each.redundant for each in each_role]),
        added([counted(out), *(each.out_of_scope for each in each_role)]),
    )
