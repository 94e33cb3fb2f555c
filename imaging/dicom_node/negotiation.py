"""How an association begins, on either side (PS3.8 7.1, 9.3.2 to 9.3.4); what is negotiated is left to pynetdicom."""

import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_unrestricted
from pynetdicom.sop_class import Verification

from imaging.dicom_node.files import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from imaging.dicom_node.upper_layer import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    LARGEST_PDU,
    UNEXPECTED_PDU,
    Broken,
    Ended,
    Line,
)
from imaging.domain.peers import Address, Times

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its lines hold UIDs and values of the wire

REQUEST_S: Final = 30.0
"""How long a peer that has connected may take to say who it is (ARTIM, PS3.8 9.1.5)."""
SILENCE_S: Final = 120.0
"""How long an association that a peer asked for may be silent."""
_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
_STORAGE_AND_ECHO: Final = (build_context(Verification),)


class Rejected(Ended):
    """The peer rejected the association."""


@dataclass(frozen=True)
class Proposal:
    """An A-ASSOCIATE-RQ that was read."""

    primitive: A_ASSOCIATE

    @property
    def calling_ae_title(self) -> str:
        """Without padding."""
        return str(self.primitive.calling_ae_title)

    @property
    def called_ae_title(self) -> str:
        """Without padding."""
        return str(self.primitive.called_ae_title)

    def negotiated(self) -> tuple[list[PresentationContext], list[SCP_SCU_RoleSelectionNegotiation]]:
        """What becomes of each proposed context, and the roles: Verification and all that may be Storage are taken."""
        roles = {
            each.sop_class_uid: (each.scu_role, each.scp_role)
            for each in self.primitive.user_information
            if isinstance(each, SCP_SCU_RoleSelectionNegotiation)
        }
        proposed = self.primitive.presentation_context_definition_list
        contexts, taken = negotiate_unrestricted(proposed, list(_STORAGE_AND_ECHO), roles)
        return contexts, taken


def proposal(line: Line) -> Proposal:
    """Waits for the request of the peer that connected. Raises Ended."""
    line.wait_at_most(REQUEST_S)
    kind, pdu = line.read_associate()
    if kind != ASSOCIATE_RQ:
        raise Broken("no request for an association came first", UNEXPECTED_PDU)
    return Proposal(_decoded(A_ASSOCIATE_RQ(), pdu))


def accept(line: Line, proposal: Proposal) -> list[PresentationContext]:
    """Answers with A-ASSOCIATE-AC. Returns the contexts with their results. Raises Ended."""
    contexts, roles = proposal.negotiated()
    answer = _associate(str(proposal.primitive.calling_ae_title), str(proposal.primitive.called_ae_title), roles)
    answer.result, answer.result_source = 0x00, 0x01
    answer.presentation_context_definition_results_list = contexts
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    line.send_pdu(ASSOCIATE_AC, bytes(pdu.encode()[6:]))
    line.contexts = frozenset(int(each.context_id) for each in contexts if each.result == 0)
    line.wait_at_most(SILENCE_S)
    return contexts


def reject(line: Line, result: int, source: int, diagnostic: int) -> None:
    """Answers with A-ASSOCIATE-RJ (PS3.8 9.3.4). Raises Ended."""
    line.send_pdu(ASSOCIATE_RJ, bytes((0, result, source, diagnostic)))


def associate(
    peer: Address, ae_title: str, pairs: Sequence[tuple[str, str]], times: Times
) -> tuple[Line, dict[tuple[str, str], int]]:
    """Asks a peer for an association with a context for each pair of abstract and transfer syntax.

    Returns the line, and the accepted pairs with the contexts' IDs. Raises OSError without a connection, Ended without
    an association: of those, Rejected where the peer does not want one, Silent where it does not say in its time.
    """
    line = Line(socket.create_connection((peer.host, peer.port), times.connect))
    proposed = {2 * index + 1: pair for index, pair in enumerate(pairs)}
    try:
        line.wait_at_most(times.accept)
        line.send_pdu(ASSOCIATE_RQ, _request(peer.ae_title, ae_title, proposed))
        answer = _acceptance(line)
        chosen = _chosen(answer, proposed)
    except BaseException as error:
        if not isinstance(error, Ended) or isinstance(error, Broken):
            line.abort(error.reason if isinstance(error, Broken) else 0)
        line.close()
        raise
    line.contexts = frozenset(chosen)
    if answer.maximum_length_received:
        line.largest_sent = answer.maximum_length_received
    line.wait_at_most(times.response)
    return line, {(proposed[number][0], syntax): number for number, syntax in chosen.items()}


def _acceptance(line: Line) -> A_ASSOCIATE:
    kind, pdu = line.read_associate()
    if kind == ASSOCIATE_RJ:
        raise Rejected(_why(pdu))
    if kind != ASSOCIATE_AC:
        raise Broken("the request for an association was answered with another", UNEXPECTED_PDU)
    return _decoded(A_ASSOCIATE_AC(), pdu)


def _chosen(answer: A_ASSOCIATE, proposed: Mapping[int, tuple[str, str]]) -> dict[int, str]:
    """The transfer syntax of each accepted context. Raises Broken where the answer is none."""
    contexts = answer.presentation_context_definition_results_list
    if not contexts:
        raise Broken("its answer says nothing of the presentation contexts")
    accepted = [each for each in contexts if each.result == 0 and each.context_id in proposed]
    if not all(each.transfer_syntax for each in accepted):
        raise Broken("it accepts a presentation context without a transfer syntax")
    return {each.context_id: str(each.transfer_syntax[0]) for each in accepted}


def _request(called: str, calling: str, proposed: Mapping[int, tuple[str, str]]) -> bytes:
    primitive = _associate(calling, called)
    for number, (abstract_syntax, transfer_syntax) in proposed.items():
        context = build_context(abstract_syntax, transfer_syntax)
        context.context_id = number
        primitive.presentation_context_definition_list.append(context)
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode()[6:])


def _associate(
    calling_ae_title: str, called_ae_title: str, roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = ()
) -> A_ASSOCIATE:
    """What request and answer have in common."""
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = LARGEST_PDU
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = calling_ae_title, called_ae_title
    primitive.user_information = [length, implementation, version, *roles]
    return primitive


def _decoded(pdu: A_ASSOCIATE_RQ | A_ASSOCIATE_AC, raw: bytes) -> A_ASSOCIATE:
    """Raises Broken, whatever the library makes of a stranger's bytes."""
    try:
        pdu.decode(raw)
        return pdu.to_primitive()
    except Exception as error:
        raise Broken(f"how it begins an association cannot be read ({type(error).__name__})") from error


def _why(pdu: bytes) -> str:
    rejection = A_ASSOCIATE_RJ()
    rejection.source, rejection.reason_diagnostic = pdu[8:10] if len(pdu) >= 10 else (0, 0)
    try:
        return f"association rejected: {rejection.reason_str}"
    except ValueError:  # a reason that the standard does not have
        return "association rejected"
