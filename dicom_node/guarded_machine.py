"""pynetdicom's state machine, ending an association in good order at whatever a peer makes it raise.

Left to itself the library lets the thread that reads the connection die of a malformed command set: the peer gets no
answer, and its place stays taken until the idle timeout.
"""

import contextlib

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ

from dicom_node.admission import judge_titles
from dicom_node.statuses import Rejection

_log = structlog.get_logger(__name__)
SERVICE_PROVIDER = 0x02  # PS3.8 Table 9-26: the abort comes from the provider of the service
INVALID_PARAMETER = 0x06  # PS3.8 Table 9-26: invalid PDU parameter value
# PS3.7 E.1: a request of these kinds names its class; C-STORE its instance, too
_C_STORE_RQ, _C_ECHO_RQ = 0x0001, 0x0030


# PS3.8 Tables 9-8 and 9-10: idle; waiting for the association request; a PDU that cannot be decoded
_IDLE, _AWAITING_REQUEST, _INVALID_PDU = "Sta1", "Sta2", "Evt19"


class GuardedMachine(StateMachine):
    """Ends the association where the library would let its thread die.

    `rejection` is that of a request which the library cannot decode for its AE titles, None else.
    """

    rejection: Rejection | None = None
    _request = b""

    def look_at(self, event: evt.Event) -> None:
        """Keep the association request as it came, before the library decodes it.

        The library may read it before it has acted on the connection itself.
        """
        if self.current_state in (_IDLE, _AWAITING_REQUEST):
            self._request = event.data

    def do_action(self, event: str) -> None:
        """Act on an event of PS3.8 Table 9-10; an exception ends the association."""
        if event == _INVALID_PDU and self.current_state == _AWAITING_REQUEST:
            self.rejection = judge_titles(self._request)
            if self.rejection is not None:
                self._turn_away(self.rejection)
                return
        try:
            super().do_action(event)
        except Exception as error:  # noqa: BLE001 - the thread's edge: a peer's bytes may make the library raise anything
            self.give_up(type(error).__name__)

    def give_up(self, why: str) -> None:
        """Abort, and end the association."""
        assoc = self.dul.assoc
        _log.warning("association_broken", peer_address=assoc.requestor.address, why=why, state=self.current_state)
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = SERVICE_PROVIDER, INVALID_PARAMETER
        assoc.is_aborted = True
        self._end(abort)

    def _turn_away(self, rejection: Rejection) -> None:
        """Reject a request that the library, which takes it for no request, would abort. PS3.8 9.3.4."""
        refusal = A_ASSOCIATE_RJ()
        refusal.result, refusal.source, refusal.reason_diagnostic = rejection
        self.dul.assoc.is_rejected = True
        self._end(refusal)
        evt.trigger(self.dul.assoc, evt.EVT_REJECTED, {})

    def _end(self, last: A_ABORT_RQ | A_ASSOCIATE_RJ) -> None:
        """Send the last PDU, close, and let both threads of the association end."""
        dul, assoc = self.dul, self.dul.assoc
        assert dul.socket is not None
        if dul.socket.socket is not None:
            dul.socket.send(last.encode())
        dul.socket.close()
        assoc.is_established = False
        assoc._kill = True
        dul.kill_dul()
        # Each wakes the association's thread, in one of the two places where it waits
        dul.to_user_queue.put(None)
        assoc.dimse.msg_queue.put((None, None))
        with contextlib.suppress(AttributeError):  # before the peer was known there is no address
            evt.trigger(assoc, evt.EVT_CONN_CLOSE, {"address": assoc.requestor.address_info.as_tuple})


def guard(assoc: Association) -> None:
    """Put the guarded machine in place of the library's, before the association starts."""
    machine = assoc.dul.state_machine = GuardedMachine(assoc.dul)
    assoc.bind(evt.EVT_DATA_RECV, machine.look_at)


def need_answerable(event: evt.Event) -> None:
    """Abort at a request that names no class or instance: the library drops it, and its sender would wait for ever."""
    message: DIMSEMessage = event.message
    fields = message.command_set
    kind = fields.get("CommandField")
    nameless = kind in (_C_STORE_RQ, _C_ECHO_RQ) and not fields.get("AffectedSOPClassUID")
    if nameless or (kind == _C_STORE_RQ and not fields.get("AffectedSOPInstanceUID")):
        machine = event.assoc.dul.state_machine
        if isinstance(machine, GuardedMachine):
            machine.give_up("a request without its UIDs")
