"""PDUs and DIMSE messages byte by byte, as no library would send them. PS3.7 6.3.1 and E.1, PS3.8 9.3."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
VERIFICATION, SECONDARY_CAPTURE = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.7"
APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030
STORE_CONTEXT, ECHO_CONTEXT = 1, 3
Context = tuple[int, str, Sequence[str]]
CONTEXTS: tuple[Context, ...] = (
    (STORE_CONTEXT, SECONDARY_CAPTURE, (IMPLICIT,)),
    (ECHO_CONTEXT, VERIFICATION, (IMPLICIT,)),
)


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A PDU that claims `length`, or its true one."""
    return struct.pack(">BBI", kind, 0, len(body) if length is None else length) + body


def associate_rq(
    calling: bytes = b"CART",
    called: bytes = b"ECGNODE",
    contexts: Sequence[Context] = CONTEXTS,
    max_pdu: int = 16384,
    user_items: bytes = b"",
) -> bytes:
    """A-ASSOCIATE-RQ."""
    body = struct.pack(">HH", 1, 0) + called.ljust(16)[:16] + calling.ljust(16)[:16] + bytes(32)
    body += item(0x10, APPLICATION_CONTEXT)
    for number, abstract, syntaxes in contexts:
        inner = item(0x30, abstract.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
        body += item(0x20, bytes([number, 0, 0, 0]) + inner)
    return pdu(1, body + item(0x50, item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3.4") + user_items))


def element(tag: int, value: bytes) -> bytes:
    """An element in implicit VR little endian."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def command(
    field: int,
    sop_class: str = SECONDARY_CAPTURE,
    uid: bytes | None = b"1.2.3.4.5",
    with_data: bool = True,
    priority: int = 0,
) -> bytes:
    """The command set of a C-STORE-RQ or C-ECHO-RQ."""
    body = element(0x0002, sop_class.encode()) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, b"\1\0") + element(0x0700, struct.pack("<H", priority))
    body += element(0x0800, struct.pack("<H", 1 if with_data else 0x0101))
    if uid is not None:
        body += element(0x1000, uid)
    return element(0x0000, struct.pack("<I", len(body))) + body


def p_data(context: int, control: int, data: bytes) -> bytes:
    """P-DATA-TF with one PDV; control bit 0: command, bit 1: last fragment."""
    return pdu(4, struct.pack(">IBB", len(data) + 2, context, control) + data)


def data_set(
    uid: bytes = b"1.2.3.4.5", sop_class: str = SECONDARY_CAPTURE, study: bytes = b"1.2.3", more: bytes = b""
) -> bytes:
    """A small data set with the UIDs and pixels that the listener needs; `more` comes before the pixels."""
    head = element(0x00080016, sop_class.encode()) + element(0x00080018, uid)
    head += element(0x00100010, b"ZZCANARY^RAW") + element(0x00100020, b"ZZCANARY-1")
    head += element(0x0020000D, study) + element(0x0020000E, study + b".1")
    return head + more + element(0x7FE00010, bytes(2))


def store(
    uid: bytes = b"1.2.3.4.5", data: bytes | None = None, context: int = STORE_CONTEXT, **of_command: object
) -> bytes:
    """A whole C-STORE request, command and data in one PDU each."""
    sent = data_set(uid) if data is None else data
    head = p_data(context, 3, command(C_STORE_RQ, uid=uid, **of_command))  # type: ignore[arg-type]
    return head + p_data(context, 2, sent)


ECHO = p_data(ECHO_CONTEXT, 3, command(C_ECHO_RQ, VERIFICATION, None, with_data=False))
RELEASE_RQ = pdu(5, bytes(4))


@dataclass(frozen=True, slots=True)
class Answer:
    """One PDU of the peer; `status` is that of a DIMSE response, None elsewhere."""

    kind: int
    body: bytes

    @property
    def rejection(self) -> tuple[int, int, int] | None:
        return (self.body[1], self.body[2], self.body[3]) if self.kind == 3 else None

    @property
    def status(self) -> int | None:
        return self._us(0x0900)

    @property
    def comment(self) -> str:
        return (self._value(0x0902) or b"").decode("ascii").strip()

    def _us(self, tag: int) -> int | None:
        value = self._value(tag)
        return struct.unpack("<H", value)[0] if value else None

    def _value(self, wanted: int) -> bytes | None:
        body, at = self.body[6:], 0
        while self.kind == 4 and at + 8 <= len(body):
            group, number, length = struct.unpack_from("<HHI", body, at)
            if group << 16 | number == wanted:
                return body[at + 8 : at + 8 + length]
            at += 8 + length
        return None


class Peer:
    """A client that says what it is told to; every wait ends."""

    def __init__(self, port: int, deadline_s: float = 30.0, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(deadline_s)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))

    def associate(self, **request: object) -> Answer:
        """Ask for an association; the answer, whichever it is."""
        return self.ask(associate_rq(**request))  # type: ignore[arg-type]

    def ask(self, data: bytes) -> Answer:
        """Send, and read one PDU. Raises EOFError when the peer closed, TimeoutError when it says nothing."""
        self.socket.sendall(data)
        return self.read()

    def read(self) -> Answer:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return Answer(kind, self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            some = self.socket.recv(count - len(got))
            if not some:
                raise EOFError("closed")
            got += some
        return got

    def is_closed_within(self, deadline_s: float) -> bool:
        """Whether the peer ends the connection in time, whatever it says before."""
        self.socket.settimeout(deadline_s)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
