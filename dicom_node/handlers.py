"""Event in, status out: translates between pynetdicom's events and the node, and decides nothing."""

import secrets

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO

from core.errors import DatabaseAway
from core.settings import Settings
from core.states import EventKind
from dicom_node.admission import Places, judge_caller
from dicom_node.bounded_socket import BoundedSocket
from dicom_node.commitment_handlers import CommitmentHandlers
from dicom_node.guarded_machine import GuardedMachine, need_answerable
from dicom_node.intake import Incoming, Intake, Refused
from dicom_node.statuses import RefusedBecause, Rejection, Status
from dicom_node.tls import fingerprint_of
from records.database import Database
from records.trail import record_event

_log = structlog.get_logger(__name__)
HIGH_PRIORITY = 0x0001  # PS3.7 9.1.1.1.6
_ID = "ecg_node_association_id"
UNREADABLE_TITLE = "(no valid AE title)"  # more than 16 characters, so that no peer can be called so


class Handlers:
    """The handlers of one listener, bound to its intake."""

    def __init__(self, settings: Settings, database: Database, intake: Intake) -> None:
        self._settings = settings
        self._database = database
        self._intake = intake
        self._places = Places(settings)
        self._commitment = CommitmentHandlers(settings, database)

    def bindings(self) -> list[tuple[evt.EventType, object]]:
        """What the server binds to each of its associations."""
        return [
            (evt.EVT_REQUESTED, self.handle_request),
            (evt.EVT_REJECTED, self.handle_rejected),
            (evt.EVT_CONN_CLOSE, self.handle_close),
            (evt.EVT_DIMSE_RECV, need_answerable),
            (evt.EVT_C_STORE, self.handle_store),
            (evt.EVT_C_ECHO, self.handle_echo),
            *self._commitment.bindings(),
        ]

    def handle_request(self, event: evt.Event) -> None:
        """Reject an association that is not welcome; the library accepts the others."""
        assoc = event.assoc
        setattr(assoc, _ID, secrets.token_hex(8))
        address = assoc.requestor.address
        request = assoc.requestor.primitive
        certificate = fingerprint_of(assoc.dul.socket.socket)
        rejection = judge_caller(
            self._settings, request.calling_ae_title.strip(), request.called_ae_title.strip(), address, certificate
        )
        rejection = rejection or self._places.take(address, assoc)
        if rejection:
            self._reject(assoc, rejection)

    def handle_rejected(self, event: evt.Event) -> None:
        """Note a request that was rejected before it could be read, for its AE titles."""
        machine = event.assoc.dul.state_machine
        if isinstance(machine, GuardedMachine) and machine.rejection is not None:
            self._note_rejection(event.assoc, UNREADABLE_TITLE, machine.rejection)

    def _reject(self, assoc: Association, rejection: Rejection) -> None:
        assoc.acse.send_reject(*rejection)
        assoc.kill()
        self._note_rejection(assoc, assoc.requestor.primitive.calling_ae_title.strip(), rejection)

    def _note_rejection(self, assoc: Association, calling: str, rejection: Rejection) -> None:
        _log.warning("association_rejected", peer_address=assoc.requestor.address, reason=tuple(rejection))
        try:
            record_event(
                self._database,
                EventKind.ASSOCIATION_REJECTED,
                actor=calling,
                peer_address=assoc.requestor.address,
                reason=list(rejection),
            )
        except DatabaseAway as error:
            _log.warning("rejection_not_recorded", why=str(error))

    def handle_close(self, event: evt.Event) -> None:
        """Give the association's place back."""
        self._places.leave(event.assoc)

    def handle_echo(self, event: evt.Event) -> int:
        """C-ECHO. PS3.7 9.1.5. The library brings whatever was asked on the context of verification."""
        _message_done(event.assoc)
        return int(Status.SUCCESS if isinstance(event.request, C_ECHO) else Status.SOP_CLASS_NOT_SUPPORTED)

    def handle_store(self, event: evt.Event) -> int | Dataset:
        """C-STORE. PS3.7 9.1.1."""
        incoming = None
        try:
            incoming = _incoming(event)
            self._intake.take(incoming)
            return int(Status.SUCCESS)
        except Refused as refused:
            assert incoming is not None
            self._intake.refuse(incoming, refused)
            return _answer(refused.status, refused.because)
        except Exception as error:  # noqa: BLE001 - the listener's edge: a fault of ours must be answered as one
            _log.error("store_raised", error=type(error).__name__, exc_info=True)
            return _answer(Status.PROCESSING_FAILURE, RefusedBecause.OWN_FAULT)
        finally:
            _message_done(event.assoc)


def _message_done(assoc: Association) -> None:
    bounded = assoc.dul.socket
    if isinstance(bounded, BoundedSocket):
        bounded.message_done()


def _incoming(event: evt.Event) -> Incoming:
    assoc, request = event.assoc, event.request
    return Incoming(
        sop_class_uid=str(request.AffectedSOPClassUID or ""),
        sop_instance_uid=str(request.AffectedSOPInstanceUID or ""),
        context_class_uid=str(event.context.abstract_syntax),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        data_set=request.DataSet.getvalue() if request.DataSet else b"",
        high_priority=request.Priority == HIGH_PRIORITY,
        calling_ae_title=assoc.requestor.primitive.calling_ae_title.strip(),
        called_ae_title=assoc.requestor.primitive.called_ae_title.strip(),
        peer_address=assoc.requestor.address,
        association_id=getattr(assoc, _ID, ""),
    )


def _answer(status: Status, because: RefusedBecause) -> Dataset:
    answer = Dataset()
    answer.Status = int(status)
    answer.ErrorComment = because.value
    return answer
