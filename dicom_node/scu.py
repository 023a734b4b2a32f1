"""Sending to a PACS: C-STORE of stored bytes, C-ECHO, and the question which SR class it takes."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification

from core.errors import PeerAway
from core.settings import Destination, Settings
from dicom_node.admission import Budget
from dicom_node.bounded_socket import BoundedSocket
from dicom_node.statuses import DELIVERED, may_pass
from dicom_node.tls import client_context, why_no_handshake
from dicom_node.transcoding import offered_syntaxes, transcoded

SR_CLASS_UIDS = {
    "comprehensive3d": "1.2.840.10008.5.1.4.1.1.88.34",
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
    "enhanced": "1.2.840.10008.5.1.4.1.1.88.22",
}
MAX_PDU_BYTES = 131072
_NOT_SUPPORTED = (0x03, 0x04)  # PS3.8 Table 9-18: abstract syntax, transfer syntaxes
_ANSWER_BYTES = 1 << 24  # what a PACS may have in flight towards us: answers are some hundred bytes


class Verdict(StrEnum):
    """What an answer means for a report."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An object to send: a Part 10 file, or the bytes of one."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """The answer to one object; `status` is None when none came, or when there was no way to ask."""

    status: int | None
    verdict: Verdict
    text: str


class _NothingTaken(PeerAway):
    """The peer is there and takes none of the classes or encodings that were offered."""


class _Sender(AE):
    """An SCU whose sockets have our deadlines and no delays."""

    def __init__(self, ae_title: str, timeout_s: float) -> None:
        super().__init__(ae_title)
        self._limits = Settings(pdu_timeout_s=timeout_s, max_instance_bytes=_ANSWER_BYTES)
        self.acse_timeout = self.dimse_timeout = self.network_timeout = self.connection_timeout = timeout_s

    def _create_socket(self, assoc: Association, address: Any, tls_args: Any) -> BoundedSocket:
        bounded = BoundedSocket(assoc, self._limits, Budget(_ANSWER_BYTES), address=address)
        if tls_args:
            bounded.tls_args = tls_args
        return bounded


def send(
    destination: Destination, calling_ae_title: str, objects: Sequence[Outgoing], timeout_s: float
) -> list[SendOutcome]:
    """Send objects on one association; an outcome for each, in order. Never raises for what the network does."""
    contexts = _contexts_for(destination, objects)
    try:
        with association(destination, calling_ae_title, contexts, timeout_s) as assoc:
            return [_send_one(assoc, one, destination) for one in objects]
    except _NothingTaken:
        return [SendOutcome(None, Verdict.FAILED, _not_taken(one)) for one in objects]
    except PeerAway as error:
        return [SendOutcome(None, Verdict.RETRY, str(error)) for _ in objects]


def echo(destination: Destination, calling_ae_title: str, timeout_s: float) -> None:
    """C-ECHO. Raises PeerAway."""
    with association(destination, calling_ae_title, [build_context(Verification)], timeout_s) as assoc:
        answer = assoc.send_c_echo()
        if "Status" not in answer:
            raise PeerAway("no answer to C-ECHO in time")


def offered_sr_class(destination: Destination, calling_ae_title: str, timeout_s: float) -> str:
    """Which SR class a PACS takes, asked by an association that offers all. Raises PeerAway.

    One that takes none of them gets the oldest, Enhanced SR; its refusal is then on record.
    """
    syntaxes = [*offered_syntaxes(destination, str(ExplicitVRLittleEndian), has_pixels=False)]
    contexts = [build_context(uid, syntaxes) for uid in SR_CLASS_UIDS.values()]
    try:
        with association(destination, calling_ae_title, contexts, timeout_s) as assoc:
            taken = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
    except _NothingTaken:
        taken = set()
    return next((name for name, uid in SR_CLASS_UIDS.items() if uid in taken), "enhanced")


def _contexts_for(destination: Destination, objects: Sequence[Outgoing]) -> list[PresentationContext]:
    """One context a class and transfer syntax, so that the peer takes as many as it can."""
    wanted: dict[tuple[str, str], PresentationContext] = {}
    for one in objects:
        for syntax in _syntaxes(one, destination):
            wanted[one.sop_class_uid, syntax] = build_context(one.sop_class_uid, syntax)
    return list(wanted.values())


def _syntaxes(one: Outgoing, destination: Destination) -> tuple[str, ...]:
    has_pixels = one.sop_class_uid == str(SecondaryCaptureImageStorage)
    return offered_syntaxes(destination, one.transfer_syntax_uid, has_pixels)


@contextmanager
def association(
    destination: Destination,
    calling_ae_title: str,
    contexts: list[PresentationContext],
    timeout_s: float,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[tuple[evt.EventType, object]] = (),
) -> Iterator[Association]:
    """An association for the time of a `with`, released at its end. Raises PeerAway."""
    _config.LOG_HANDLER_LEVEL = "none"
    # Stored bytes leave as they are, without being decoded first
    _config.STORE_SEND_CHUNKED_DATASET = True
    sender = _Sender(destination.calling_ae_title or calling_ae_title, timeout_s)
    tls = (client_context(destination), destination.tls_server_name or destination.host) if destination.tls else None
    where = f"{destination.ae_title}@{destination.host}:{destination.port}"
    try:
        assoc = sender.associate(
            destination.host,
            destination.port,
            contexts,
            destination.ae_title,
            max_pdu=MAX_PDU_BYTES,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
            tls_args=tls,
        )
    except OSError as error:
        raise PeerAway(f"{where}: {error.strerror or type(error).__name__}") from error
    if not assoc.is_established:
        if _takes_nothing(assoc):
            raise _NothingTaken(f"{where}: takes none of the classes that were offered")
        why = (why_no_handshake(destination, timeout_s) if destination.tls else "") or _why_not(assoc)
        raise PeerAway(f"{where}: {why}")
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def _takes_nothing(assoc: Association) -> bool:
    """Whether the association was accepted and each context was refused for good. PS3.8 Table 9-18."""
    results = [context.result for context in assoc.rejected_contexts]
    return bool(results) and not assoc.accepted_contexts and all(result in _NOT_SUPPORTED for result in results)


def _not_taken(one: Outgoing) -> str:
    return f"the peer takes no {UID(one.sop_class_uid).name} in this encoding"


def _why_not(assoc: Association) -> str:
    if assoc.is_rejected:
        answer = assoc.acceptor.primitive
        return f"association rejected ({answer.result_str}: {answer.reason_str})"
    if not getattr(assoc.dul.socket, "reached", False):
        return "nobody answers there (not running, another port, or no way through)"
    if assoc.is_aborted:
        return "association aborted"
    return "no connection"


def _send_one(assoc: Association, one: Outgoing, destination: Destination) -> SendOutcome:
    if not assoc.is_established:
        return SendOutcome(None, Verdict.RETRY, "the association ended early")
    accepted = {
        str(context.transfer_syntax[0])
        for context in assoc.accepted_contexts
        if context.abstract_syntax == one.sop_class_uid
    }
    if not accepted:
        return SendOutcome(None, Verdict.FAILED, _not_taken(one))
    try:
        with _as_file(one) as path:
            syntax = next(each for each in _syntaxes(one, destination) if each in accepted)
            answer = assoc.send_c_store(path if syntax == one.transfer_syntax_uid else transcoded(path, syntax))
    except (OSError, RuntimeError) as error:
        return SendOutcome(None, Verdict.RETRY, f"sending broke off ({type(error).__name__})")
    message_done(assoc)
    if "Status" not in answer:
        return SendOutcome(None, Verdict.RETRY, "no answer came")
    return _judge(int(answer.Status))


def message_done(assoc: Association) -> None:
    """Free the bytes of the message that was dealt with."""
    bounded = assoc.dul.socket
    if isinstance(bounded, BoundedSocket):
        bounded.message_done()


def _judge(status: int) -> SendOutcome:
    if status in DELIVERED:
        return SendOutcome(status, Verdict.DELIVERED, f"{status:#06x}")
    if may_pass(status):
        return SendOutcome(status, Verdict.RETRY, f"the peer cannot take it now ({status:#06x})")
    return SendOutcome(status, Verdict.FAILED, f"the peer refused it ({status:#06x})")


@contextmanager
def _as_file(one: Outgoing) -> Iterator[Path]:
    if one.path is not None:
        yield one.path
        return
    with tempfile.NamedTemporaryFile(prefix="ecg-node-", suffix=".dcm") as file:
        file.write(one.content or b"")
        file.flush()
        yield Path(file.name)
