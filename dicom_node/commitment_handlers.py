"""The listener's part in storage commitment: callers' questions, and destinations' answers. PS3.4 Annex J."""

import threading

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModelInstance

from core.errors import DatabaseAway, PeerAway
from core.settings import Settings
from dicom_node.commitment import (
    REQUEST,
    Malformed,
    build_answer,
    handle_event_report,
    patience_of,
    question_of,
    tell_on,
)
from dicom_node.commitment_proof import find_caller, prove
from dicom_node.scu import message_done
from dicom_node.statuses import Status
from dicom_node.strict import Unreadable, walk
from records.commitment_requests import (
    RequestOfCaller,
    claim_request,
    record_answered,
    record_not_answered,
    record_request,
)
from records.commitments import CommitmentAnswer, record_commitment
from records.database import Database

_log = structlog.get_logger(__name__)
LARGEST_BYTES = 1 << 22  # some twenty thousand instances
_LEASE_S = 120.0
_WAITING = "ecg_node_commitment_requests"


class CommitmentHandlers:
    """Handlers for N-ACTION and N-EVENT-REPORT."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def bindings(self) -> list[tuple[evt.EventType, object]]:
        """What the server binds to each of its associations."""
        return [
            (evt.EVT_N_ACTION, self.handle_action),
            (evt.EVT_N_EVENT_REPORT, self.handle_event_report),
            (evt.EVT_DIMSE_SENT, self.handle_sent),
        ]

    def handle_action(self, event: evt.Event) -> tuple[int, None]:
        """A caller asks whether we keep its instances safe; the question is on record before we say Success."""
        try:
            return int(self._take(event)), None
        except (Malformed, Unreadable):
            return int(Status.INVALID_ARGUMENT), None
        except DatabaseAway as error:
            _log.warning("commitment_request_refused", why=str(error))
            return int(Status.RESOURCE_LIMITATION), None
        except Exception as error:  # noqa: BLE001 - the listener's edge: a fault of ours must be answered as one
            _log.error("commitment_request_raised", error=type(error).__name__, exc_info=True)
            return int(Status.PROCESSING_FAILURE), None
        finally:
            message_done(event.assoc)

    def _take(self, event: evt.Event) -> Status:
        if event.request.RequestedSOPInstanceUID != StorageCommitmentPushModelInstance:
            return Status.NO_SUCH_SOP_INSTANCE
        if event.request.ActionTypeID != REQUEST:
            return Status.NO_SUCH_ACTION
        self._need_readable(event, event.request.ActionInformation)
        transaction_uid, items = question_of(event.action_information)
        request = event.assoc.requestor.primitive
        calling = request.calling_ae_title.strip()
        question = RequestOfCaller(
            transaction_uid, items, calling, request.called_ae_title.strip(), event.assoc.requestor.address
        )
        elsewhere = find_caller(self._settings, calling) is not None
        # One that can be reached nowhere else is told on this association, as soon as this answer has left
        request_id = record_request(self._database, question, 0.0 if elsewhere else _LEASE_S)
        if not elsewhere:
            event.assoc.__dict__.setdefault(_WAITING, []).append(request_id)
        return Status.SUCCESS

    def _need_readable(self, event: evt.Event, information: object) -> None:
        encoded = information.getvalue() if information else b""  # type: ignore[attr-defined]
        if not encoded or len(encoded) > LARGEST_BYTES:
            raise Malformed("nothing, or too much")
        walk(encoded, str(event.context.transfer_syntax), (), self._settings.max_nesting)

    def handle_sent(self, event: evt.Event) -> None:
        """Our acknowledgement has left: the caller may be told now."""
        waiting: list[int] = event.assoc.__dict__.get(_WAITING) or []
        if waiting and type(event.message).__name__ == "N_ACTION_RSP":
            requests, event.assoc.__dict__[_WAITING] = waiting, []
            threading.Thread(target=self._tell, args=(event.assoc, requests), name="commitment", daemon=True).start()

    def _tell(self, assoc: Association, requests: list[int]) -> None:
        for request_id in requests:
            try:
                self._tell_one(assoc, request_id)
            except (DatabaseAway, PeerAway) as error:
                _log.warning("commitment_not_told", request=request_id, why=str(error))

    def _tell_one(self, assoc: Association, request_id: int) -> None:
        pending = claim_request(self._database, _LEASE_S, request_id)
        if pending is None:
            return
        proof = prove(self._database, self._settings.data_dir, pending)
        answer = build_answer(pending.question.transaction_uid, proof.proved, proof.denied)
        try:
            tell_on(assoc, *answer)
        except PeerAway as error:
            record_not_answered(self._database, pending, str(error), self._settings.retry_first_s)
            return
        denied = {uid: int(reason) for (_class, uid), reason in proof.denied.items()}
        record_answered(self._database, pending, len(proof.proved), denied)

    def handle_event_report(self, event: evt.Event) -> tuple[int, None]:
        """A destination says what it keeps of our results."""
        try:
            self._need_readable(event, event.request.EventInformation)
            return int(handle_event_report(event, lambda answer: self._record(event, answer))), None
        except (Malformed, Unreadable):
            return int(Status.INVALID_ARGUMENT), None
        except DatabaseAway as error:
            _log.warning("commitment_answer_refused", why=str(error))
            return int(Status.RESOURCE_LIMITATION), None
        except Exception as error:  # noqa: BLE001 - the listener's edge: a fault of ours must be answered as one
            _log.error("commitment_answer_raised", error=type(error).__name__, exc_info=True)
            return int(Status.PROCESSING_FAILURE), None
        finally:
            message_done(event.assoc)

    def _record(self, event: evt.Event, answer: CommitmentAnswer) -> bool:
        calling = event.assoc.requestor.primitive.calling_ae_title.strip()
        known = record_commitment(self._database, answer, calling, patience_of(self._settings))
        if not known:
            _log.warning("commitment_unknown", calling_ae_title=calling, transaction_uid=answer.transaction_uid)
        return known
