"""Storage Commitment Push Model: its data sets, asking a destination, and telling a caller. PS3.4 Annex J."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification

from core.errors import PeerAway
from core.settings import Destination, Settings
from dicom_node.received_header import is_uid
from dicom_node.scu import association, message_done
from dicom_node.statuses import FailureReason, Status
from records.commitment_requests import Item
from records.commitments import CommitmentAnswer, Denial, Denied, Patience, PendingCommitment

REQUEST = 1  # Action Type ID, PS3.4 Table J.3.2-1
ALL_COMMITTED, SOME_DENIED = 1, 2  # Event Type ID, PS3.4 Table J.3.3-1
_DENIALS = {
    FailureReason.NO_SUCH_OBJECT_INSTANCE: Denial.SEND_AGAIN,
    FailureReason.CLASS_INSTANCE_CONFLICT: Denial.GIVE_UP,
    FailureReason.REFERENCED_SOP_CLASS_NOT_SUPPORTED: Denial.GIVE_UP,
}

Record = Callable[[CommitmentAnswer], bool]


class Malformed(Exception):
    """A data set of the service that lacks what the service needs."""


def new_transaction_uid() -> str:
    """A UID that nobody can guess: an answer must name it."""
    return str(generate_uid(prefix=None))


def patience_of(settings: Settings) -> Patience:
    """How long this installation waits for what."""
    return Patience(
        settings.commitment_delay_s, settings.commitment_answer_s, settings.retry_first_s, settings.retry_most_s
    )


def question_of(information: Dataset) -> tuple[str, list[Item]]:
    """Transaction UID and the instances asked about, each once. Raises Malformed."""
    items = list(dict.fromkeys(_references(information, "ReferencedSOPSequence")))
    if not items:
        raise Malformed("no instance is asked about")
    return _transaction_uid(information), items


def answer_of(information: Dataset) -> CommitmentAnswer:
    """What a destination says in its N-EVENT-REPORT. Raises Malformed."""
    failed = information.get("FailedSOPSequence") or []
    return CommitmentAnswer(
        transaction_uid=_transaction_uid(information),
        committed=frozenset(_references(information, "ReferencedSOPSequence")),
        denied={_reference(item)[1]: _denied(int(item.get("FailureReason") or 0)) for item in failed},
    )


def _denied(reason: int) -> Denied:
    known = reason in set(FailureReason)
    return Denied(reason, _DENIALS.get(FailureReason(reason), Denial.ASK_AGAIN) if known else Denial.ASK_AGAIN)


def _transaction_uid(information: Dataset) -> str:
    uid = str(information.get("TransactionUID") or "")
    if not is_uid(uid):
        raise Malformed("no transaction UID")
    return uid


def _references(information: Dataset, name: str) -> Iterable[Item]:
    return [_reference(item) for item in information.get(name) or []]


def _reference(item: Dataset) -> Item:
    pair = str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
    if not all(map(is_uid, pair)):
        raise Malformed("an instance without its UIDs")
    return pair


def build_question(transaction_uid: str, items: Sequence[Item]) -> Dataset:
    """Action Information. PS3.4 Table J.3.2-1."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_item(item) for item in items]
    return information


def build_answer(transaction_uid: str, proved: Sequence[Item], denied: Mapping[Item, int]) -> tuple[int, Dataset]:
    """Event Type ID and Event Information. PS3.4 Table J.3.3-1."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    if proved:
        information.ReferencedSOPSequence = [_item(item) for item in proved]
    if not denied:
        return ALL_COMMITTED, information
    information.FailedSOPSequence = [_item(item) for item in denied]
    for item, reason in zip(information.FailedSOPSequence, denied.values(), strict=True):
        item.FailureReason = int(reason)
    return SOME_DENIED, information


def _item(pair: Item) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = pair
    return item


def ask(destination: Destination, pending: PendingCommitment, settings: Settings, record: Record) -> None:
    """N-ACTION, and a while for the answer to come on the same association. Raises PeerAway when it is not taken."""
    answered = threading.Event()

    def handle(event: evt.Event) -> tuple[int, None]:
        try:
            return int(handle_event_report(event, record)), None
        finally:
            answered.set()

    context = build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    handlers = [(evt.EVT_N_EVENT_REPORT, handle)]
    with association(destination, settings.ae_title, [context], settings.send_timeout_s, handlers=handlers) as assoc:
        information = build_question(pending.transaction_uid, pending.items)
        try:
            status, _reply = assoc.send_n_action(
                information, REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
        except (ValueError, RuntimeError) as error:
            raise PeerAway(f"no storage commitment with it ({type(error).__name__})") from error
        _need_success(assoc, status, "the request for commitment")
        answered.wait(settings.commitment_hold_s)


def tell(caller: Destination, our_ae_title: str, event_type: int, information: Dataset, timeout_s: float) -> None:
    """N-EVENT-REPORT to a caller on a new association, in the SCP's role. Raises PeerAway when it is not taken."""
    context = build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    with association(caller, our_ae_title, [context], timeout_s, roles) as assoc:
        tell_on(assoc, event_type, information)


def reach(caller: Destination, our_ae_title: str, timeout_s: float) -> None:
    """C-ECHO to a caller, offering what its answers are given on. Raises PeerAway saying what is in the way."""
    commitment = build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    with association(caller, our_ae_title, [build_context(Verification), commitment], timeout_s, roles) as assoc:
        taken = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
        if str(StorageCommitmentPushModel) not in taken:
            raise PeerAway("it answers, and takes no answers to storage commitment (N-EVENT-REPORT) there")
        if str(Verification) in taken and "Status" not in assoc.send_c_echo():
            raise PeerAway("no answer to C-ECHO in time")


def tell_on(assoc: Association, event_type: int, information: Dataset) -> None:
    """N-EVENT-REPORT on an association that is open. Raises PeerAway when it is not taken."""
    try:
        status, _reply = assoc.send_n_event_report(
            information, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (ValueError, RuntimeError) as error:
        raise PeerAway(f"it cannot be told ({type(error).__name__})") from error
    _need_success(assoc, status, "the answer about commitment")


def _need_success(assoc: Association, status: Dataset, what: str) -> None:
    message_done(assoc)
    if "Status" not in status:
        raise PeerAway(f"{what} was not acknowledged in time")
    if status.Status != Status.SUCCESS:
        raise PeerAway(f"{what} was refused ({status.Status:#06x})")


def handle_event_report(event: evt.Event, record: Record) -> Status:
    """Translate a destination's answer, and say whether it is ours. PS3.4 J.3.3."""
    try:
        answer = answer_of(event.event_information)
    except Malformed:
        return Status.INVALID_ARGUMENT
    # A transaction that nobody asked for: the peer must not believe that we know of it
    return Status.SUCCESS if record(answer) else Status.INVALID_ARGUMENT
