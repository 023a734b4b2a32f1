"""HL7 v2 over MLLP: one message, one acknowledgement, an end to every wait. HL7 MLLP release 1."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import hl7

from core.errors import PeerAway
from core.settings import Hl7Receiver
from dicom_node.tls import peer_context, why_no_connection

START, END = b"\x0b", b"\x1c\r"
_ACCEPTED = {"AA", "CA"}  # HL7 table 0008
_LONGEST_ANSWER = 1 << 16


def exchange(receiver: Hl7Receiver, message: hl7.Message, timeout_s: float) -> None:
    """Send a message and wait for its acknowledgement. Raises PeerAway unless it is AA or CA for this very message.

    Raises BadSettings when its TLS files cannot be read any more.
    """
    content = str(message).encode()
    try:
        with _connection(receiver, timeout_s) as connection:
            connection.sendall(START + content + END)
            answer = _answer(connection, timeout_s)
    except OSError as error:
        raise PeerAway(f"no way to the HL7 receiver: {why_no_connection(error)}") from error
    _need_accepted(answer, str(message.segment("MSH")[10]))


@contextmanager
def _connection(receiver: Hl7Receiver, timeout_s: float) -> Iterator[socket.socket]:
    with socket.create_connection((receiver.host, receiver.port), timeout=timeout_s) as plain:
        trust = trust_of(receiver)
        if trust is None:
            yield plain
            return
        with trust.wrap_socket(plain, server_hostname=receiver.host) as connection:
            yield connection


def trust_of(receiver: Hl7Receiver) -> ssl.SSLContext | None:
    """How a receiver is checked, and how we show who we are; None where it is reached without TLS. Raises BadSettings.

    The files are read each time, so that a new certificate needs no restart.
    """
    if receiver.ca_file is None:
        return None
    return peer_context(receiver.ca_file, receiver.certificate_file, receiver.key_file)


def _answer(connection: socket.socket, timeout_s: float) -> bytes:
    """The bytes between the marks of the answer."""
    end, received = time.monotonic() + timeout_s, b""
    while END not in received:
        left = end - time.monotonic()
        if left <= 0 or len(received) > _LONGEST_ANSWER:
            raise PeerAway("the HL7 receiver's acknowledgement was not complete in time")
        connection.settimeout(left)
        piece = connection.recv(4096)
        if not piece:
            raise PeerAway("the HL7 receiver closed before it acknowledged")
        received += piece
    return received.split(END, 1)[0].lstrip(START)


def _need_accepted(answer: bytes, control_id: str) -> None:
    try:
        acknowledgement = hl7.parse(answer.decode("utf-8", "replace"))
        segment = acknowledgement.segment("MSA")
        code, of = str(segment[1]), str(segment[2])
    except (hl7.HL7Exception, KeyError, IndexError) as error:
        raise PeerAway("the HL7 receiver's answer is no acknowledgement") from error
    if of != control_id:
        raise PeerAway("the HL7 receiver acknowledged another message")
    if code not in _ACCEPTED:
        # Its text may quote the patient's name: the code alone goes into records and logs
        raise PeerAway(f"the HL7 receiver answered {code if code in {'AE', 'AR', 'CE', 'CR'} else 'an unknown code'}")
