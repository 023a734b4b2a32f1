"""Receivers of alerts for tests: an HL7 receiver of another author, and a web service, both with scripted answers."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

CUT = "cut"


class Hl7Script:
    """Messages that came, and how each is answered: a code of table 0008, or CUT for no answer; AA when used up."""

    def __init__(self, *answers: str) -> None:
        self.received: list[str] = []
        self._answers = list(answers)

    def take(self, message: str) -> str:
        self.received.append(message)
        answer = self._answers.pop(0) if self._answers else "AA"
        if answer == CUT:
            raise ConnectionAbortedError
        return answer

    def parsed(self) -> list[object]:
        """The messages as hl7apy reads them, against the structure of ORU^R01."""
        return [parse_message(one, find_groups=True) for one in self.received]


class _Handler(AbstractHandler):
    def __init__(self, message: str, script: Hl7Script) -> None:
        super().__init__(message)
        self._script = script

    def reply(self) -> str:
        code = self._script.take(self.incoming_message)
        control_id = self.incoming_message.split("|")[9]
        lines = [
            "MSH|^~\\&|RIS|HOSPITAL|ECG-NODE|test|20260101000000||ACK^R01^ACK|1|P|2.5.1",
            f"MSA|{code}|{control_id}",
        ]
        return "\x0b" + "\r".join(lines) + "\r\x1c\r"


@contextmanager
def running_hl7_receiver(script: Hl7Script, port: int, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    server = MLLPServer("127.0.0.1", port, {"ORU^R01^ORU_R01": (_Handler, script)})
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class WebService:
    """Requests that came as (headers, body), and the status that each is answered with; 204 when used up."""

    def __init__(self, *answers: int) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self._answers = list(answers)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        self.received.append((headers, body))
        return self._answers.pop(0) if self._answers else 204


@contextmanager
def running_web_service(
    service: WebService, address: tuple[str, int] = ("127.0.0.1", 0), tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve on loopback; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = service.take(dict(self.headers), body)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(address, Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
