"""T07: a sender that breaks off, stalls or sends less than it says is never answered with Success, leaves nothing
behind, and its place is free again.

Seen to fail with a walk that takes a value shorter than its length, and with an image taken that has no pixels.
"""

import socket
import struct
from collections.abc import Callable

import pytest

from dicom_node.scu import Outgoing, echo
from records.tables import Instance
from tests.faults.harness import FaultNode, MakeNode, backends, count_rows, must_hold
from tests.faults.objects import data_set_bytes, small_object
from tests.servers import wait_until
from tests.tally import Report

EXPLICIT = b"1.2.840.10008.1.2.1"
A_ABORT = struct.pack(">BxL2xBB", 7, 4, 0, 0)
A_RELEASE_RQ = struct.pack(">BxL4x", 5, 4)


@pytest.fixture(params=backends("sqlite"))
def node(request: pytest.FixtureRequest, make_node: MakeNode) -> FaultNode:
    made = make_node(
        request.param, max_associations=1, max_associations_per_address=1, pdu_timeout_s=0.5, idle_timeout_s=1
    )
    made.start("listen")
    echo(made.address(), "PROBE", 30.0)
    made.take_bases()
    return made


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _associate(port: int, sop_class: str) -> socket.socket:
    """An open association with one context, number 1; comes again while the only place is taken."""
    context = _item(0x20, bytes([1, 0, 0, 0]) + _item(0x30, sop_class.encode()) + _item(0x40, EXPLICIT))
    user = _item(0x50, _item(0x51, struct.pack(">L", 1 << 16)) + _item(0x52, b"1.2.3.4"))
    body = struct.pack(">H2x", 1) + b"ECGNODE".ljust(16) + b"RAW".ljust(16) + bytes(32)
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + context + user

    def accepted() -> socket.socket | None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.settimeout(60)
        connection.sendall(struct.pack(">BxL", 1, len(body)) + body)
        answer = _receive(connection)
        if answer is not None and answer[0] == 2:
            return connection
        connection.close()
        return None

    opened: socket.socket = wait_until(accepted, 60, "the place is free again")
    return opened


def _receive(connection: socket.socket) -> tuple[int, bytes] | None:
    """Type and body of the next PDU; None when the peer closed."""
    head = b""
    while len(head) < 6:
        try:
            more = connection.recv(6 - len(head))
        except ConnectionError:
            return None
        if not more:
            return None
        head += more
    (length,) = struct.unpack(">L", head[2:])
    body = b""
    while len(body) < length and (more := connection.recv(length - len(body))):
        body += more
    return head[0], body


def _element(element: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, element, len(value)) + value


def _store_request(one: Outgoing, message: int) -> bytes:
    """P-DATA with a C-STORE-RQ. PS3.7 9.3.1.1."""
    body = _element(0x0002, one.sop_class_uid.encode()) + _element(0x0100, struct.pack("<H", 1))
    body += _element(0x0110, struct.pack("<H", message)) + _element(0x0700, struct.pack("<H", 0))
    body += _element(0x0800, struct.pack("<H", 1)) + _element(0x1000, one.sop_instance_uid.encode())
    return _p_data(3, _element(0x0000, struct.pack("<L", len(body))) + body)


def _p_data(control: int, fragment: bytes) -> bytes:
    value = struct.pack(">LBB", len(fragment) + 2, 1, control) + fragment
    return struct.pack(">BxL", 4, len(value)) + value


def _status(answer: tuple[int, bytes] | None) -> int | None:
    if answer is None or answer[0] != 4:
        return None
    body, at = answer[1][6:], 0
    while at + 8 <= len(body):
        group, element, length = struct.unpack_from("<HHL", body, at)
        if (group, element) == (0, 0x0900):
            return int.from_bytes(body[at + 8 : at + 8 + length], "little")
        at += 8 + length
    return None


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.faults)])
def test_a_data_set_truncated_at_any_byte_is_never_answered_with_success(
    step: int, node: FaultNode, tally: Report
) -> None:
    one = small_object()
    whole = data_set_bytes(one)
    connection = _associate(node.port(), one.sop_class_uid)
    cuts = list(range(1, len(whole), step))
    for number, cut in enumerate(cuts):
        connection.sendall(_store_request(one, number % 60000 + 1) + _p_data(2, whole[:cut]))
        status = _status(_receive(connection))
        assert status not in (0x0000, None), f"cut at {cut} of {len(whole)} was answered with {status}"
    connection.sendall(_store_request(one, 65000) + _p_data(2, whole))
    assert _status(_receive(connection)) == 0x0000
    connection.sendall(A_RELEASE_RQ)
    connection.close()
    must_hold(node, [one], answered=False)
    assert count_rows(node.database, Instance) == 1
    assert len([path for path in (node.folder / "received").rglob("*") if path.is_file()]) == 1
    tally("T07", cases=len(cuts))


def _abort(connection: socket.socket) -> None:
    connection.sendall(A_ABORT)


def _close(connection: socket.socket) -> None:
    connection.close()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _stall(connection: socket.socket) -> None:
    """Say nothing more; the listener has to end it."""
    while _receive(connection) is not None:
        pass


@pytest.mark.parametrize("end", [_abort, _close, _reset, _stall], ids=lambda end: end.__name__.strip("_"))
def test_a_sender_that_breaks_off_anywhere_leaves_nothing_and_its_place(
    end: Callable[[socket.socket], None], node: FaultNode, tally: Report
) -> None:
    one = small_object()
    whole = _store_request(one, 1) + _p_data(0, data_set_bytes(one)[:200]) + _p_data(2, data_set_bytes(one)[200:])
    cuts = range(1, len(whole), 181 if end is not _stall else 400)
    port = node.port()
    for cut in cuts:
        connection = _associate(port, one.sop_class_uid)
        connection.sendall(whole[:cut])
        end(connection)
        connection.close()
    must_hold(node, [], answered=False)
    assert count_rows(node.database, Instance) == 0
    assert [path for path in (node.folder / "received").rglob("*") if path.is_file()] == []
    assert node.push([one])[0].status == 0
    tally("T07", cases=len(cuts))
