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
from pynetdicom.pdu import A_ABORT_RQ

_log = structlog.get_logger(__name__)
SERVICE_PROVIDER = 0x02  # PS3.8 Table 9-26: the abort comes from the provider of the service
INVALID_PARAMETER = 0x06  # PS3.8 Table 9-26: invalid PDU parameter value
# PS3.7 E.1: a request of these kinds names its class; C-STORE its instance, too
_C_STORE_RQ, _C_ECHO_RQ = 0x0001, 0x0030


class GuardedMachine(StateMachine):
    """Ends the association where the library would let its thread die."""

    def do_action(self, event: str) -> None:
        """Act on an event of PS3.8 Table 9-10; an exception ends the association."""
        try:
            super().do_action(event)
        except Exception as error:  # noqa: BLE001 - the thread's edge: a peer's bytes may make the library raise anything
            self.give_up(type(error).__name__)

    def give_up(self, why: str) -> None:
        """Abort, close, and let both threads of the association end."""
        dul, assoc = self.dul, self.dul.assoc
        _log.warning("association_broken", peer_address=assoc.requestor.address, why=why, state=self.current_state)
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = SERVICE_PROVIDER, INVALID_PARAMETER
        assert dul.socket is not None
        if dul.socket.socket is not None:
            dul.socket.send(abort.encode())
        dul.socket.close()
        assoc.is_aborted, assoc.is_established = True, False
        assoc._kill = True
        dul.kill_dul()
        assoc.dimse.msg_queue.put((None, None))
        with contextlib.suppress(AttributeError):  # before the peer was known there is no address
            evt.trigger(assoc, evt.EVT_CONN_CLOSE, {"address": assoc.requestor.address_info.as_tuple})


def guard(assoc: Association) -> None:
    """Put the guarded machine in place of the library's, before the association starts."""
    assoc.dul.state_machine = GuardedMachine(assoc.dul)


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
