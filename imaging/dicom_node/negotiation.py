"""How an association begins, on either side (PS3.8 7.1, 9.3.2 to 9.3.4): what is asked for, and what is agreed on."""

import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pynetdicom import AllStoragePresentationContexts, sop_class
from pynetdicom.pdu import A_ASSOCIATE_RJ

from imaging.dicom_node import associate as wire
from imaging.dicom_node.associate import (
    ACCEPTED,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    Answered,
    Malformed,
    Request,
)
from imaging.dicom_node.upper_layer import Association, Broken, Ended
from imaging.domain.peers import Address, Times
from imaging.domain.transfer_syntaxes import taken
from imaging.domain.uids import is_usable

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its lines hold UIDs and values of the wire

SILENCE_S: Final = 120.0
"""How long an association that a peer asked for may be silent."""

ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4
"""Results of a proposed context (PS3.8 9.3.3.2)."""
_DUPLICATE_ID: Final = -1
"""The result of a context whose number is another's: there is no way to answer it."""
_WHY: Final = {
    ABSTRACT_SYNTAX_NOT_SUPPORTED: "abstract syntax not supported",
    TRANSFER_SYNTAXES_NOT_SUPPORTED: "transfer syntaxes not supported",
    _DUPLICATE_ID: "its number is used by another context",
}
_OTHER_SERVICES: Final = (
    {str(each) for each in vars(sop_class).values() if isinstance(each, str) and each.startswith("1.2.840.10008.")}
    - {str(each.abstract_syntax) for each in AllStoragePresentationContexts}
    - {str(sop_class.Verification)}
)
"""The standard's SOP classes that are neither Storage nor Verification."""


class Rejected(Ended):
    """The peer rejected the association."""


@dataclass(frozen=True)
class Context:
    """What became of a context that a peer proposed. `transfer_syntax`: that which is taken, if any."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int

    @property
    def is_accepted(self) -> bool:
        """Whether objects may be sent in this presentation context."""
        return self.result == ACCEPTED

    @property
    def why(self) -> str:
        """Why it is refused."""
        return _WHY.get(self.result, "")


def decided(request: Request) -> list[Context]:
    """What becomes of each context: Verification and all that may be Storage are taken, of one number the first."""
    contexts: dict[int, Context] = {}
    twice = []
    for number, abstract, transfers in request.contexts:
        usable = [each for each in transfers if is_usable(each)]
        syntax = taken(usable) if usable else ""
        if number in contexts:
            twice.append(Context(number, abstract, syntax, _DUPLICATE_ID))
        else:
            contexts[number] = Context(number, abstract, syntax, _result(abstract, syntax))
    return [*contexts.values(), *twice]


def _result(abstract_syntax: str, transfer_syntax: str) -> int:
    if not is_usable(abstract_syntax) or abstract_syntax in _OTHER_SERVICES:
        return ABSTRACT_SYNTAX_NOT_SUPPORTED
    return ACCEPTED if transfer_syntax else TRANSFER_SYNTAXES_NOT_SUPPORTED


def accept(association: Association, request: Request) -> list[Context]:
    """Answers with A-ASSOCIATE-AC. Returns the contexts with their results. Raises Ended."""
    contexts = decided(request)
    answers = [
        Answered(each.id, each.result, each.transfer_syntax) for each in contexts if each.result != _DUPLICATE_ID
    ]
    accepted = [each for each in contexts if each.is_accepted]
    classes = {each.abstract_syntax for each in accepted}
    senders = [each for each in dict.fromkeys(request.senders) if each in classes]
    association.send_pdu(ASSOCIATE_AC, wire.acceptance(request, answers, senders))
    association.contexts = frozenset(each.id for each in accepted)
    association.limit_pdu_length(request.maximum_length)
    association.set_timeout(SILENCE_S)
    return contexts


def associate(
    peer: Address, ae_title: str, pairs: Sequence[tuple[str, str]], times: Times
) -> tuple[Association, dict[tuple[str, str], int]]:
    """Asks a peer for an association with a context for each pair of abstract and transfer syntax.

    Returns the association, and the accepted pairs with the contexts' IDs. Raises OSError without a connection, Ended
    without an association: of those, Rejected where the peer refuses one, Silent where it does not answer in time.
    """
    association = Association(socket.create_connection((peer.host, peer.port), times.connect))
    proposed = {2 * index + 1: pair for index, pair in enumerate(pairs)}
    try:
        association.set_timeout(times.accept)
        association.send_pdu(ASSOCIATE_RQ, wire.request(peer.ae_title, ae_title, proposed))
        answer = _acceptance(association)
    except BaseException as error:
        if not isinstance(error, Ended) or isinstance(error, Broken):
            association.abort(error.reason if isinstance(error, Broken) else 0)
        association.close()
        raise
    accepted = _accepted(answer.contexts, proposed)
    association.contexts = frozenset(accepted.values())
    association.limit_pdu_length(answer.maximum_length)
    association.set_timeout(times.response)
    return association, accepted


def _acceptance(association: Association) -> wire.Acceptance:
    kind, body = association.read_associate()
    if kind == ASSOCIATE_RJ:
        raise Rejected(_why_rejected(body))
    try:
        return wire.read_acceptance(body)
    except Malformed as error:
        raise Broken(f"its A-ASSOCIATE-AC cannot be parsed: {error}") from None


def _accepted(contexts: Sequence[Answered], proposed: Mapping[int, tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The contexts that are accepted as they were proposed: one for which the peer names another transfer syntax, or
    none, is not."""
    first = {each.id: each for each in reversed(contexts)}
    return {
        pair: number
        for number, pair in proposed.items()
        if number in first and (first[number].result, first[number].transfer_syntax) == (ACCEPTED, pair[1])
    }


def _why_rejected(body: bytes) -> str:
    rejection = A_ASSOCIATE_RJ()
    rejection.source, rejection.reason_diagnostic = body[2:4] if len(body) >= 4 else (0, 0)
    try:
        return f"association rejected: {rejection.reason_str}"
    except ValueError:  # a reason that the standard does not have
        return "association rejected"
