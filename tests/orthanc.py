"""A real Orthanc as PACS for tests, in a network namespace of its own: Debian's listens on every address.

Nothing but this process reaches into the namespace: relays on loopback carry DICOM and HTTP in, and one a modality
carries what Orthanc sends out (C-STORE, N-EVENT-REPORT) to a port of the test's.
"""

import contextlib
import ctypes
import io
import json
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydicom import dcmread
from pydicom.dataset import FileDataset

from core.settings import Destination
from tests.conftest import need_root, need_tool
from tests.servers import end_process, free_port, wait_until

AE_TITLE = "ORTHANC"
DICOM_PORT, HTTP_PORT = 4242, 8042  # inside the namespace, where they are nobody else's
READY_S = 60.0
DICOM_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_CLONE_NEWNET = 0x40000000  # setns(2)
_PIECE = 1 << 16

Made = TypeVar("Made")


class Namespace:
    """A thread that lives in another process's network namespace, and opens sockets there for others to use."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._asked: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        threading.Thread(target=self._run, name="namespace", daemon=True).start()

    def _run(self) -> None:
        with open(f"/proc/{self._pid}/ns/net", "rb") as namespace:
            entered = ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET)
        while asked := self._asked.get():
            make, answer = asked
            try:
                if entered != 0:
                    raise OSError("the namespace cannot be entered")
                answer.set_result(make())
            except OSError as error:
                answer.set_exception(error)

    def make(self, what: Callable[[], Made]) -> Made:
        """What `what` makes inside. Raises its OSError."""
        answer: Future[Made] = Future()
        self._asked.put((what, answer))
        return answer.result(30)

    def connect(self, port: int) -> socket.socket:
        return self.make(lambda: socket.create_connection(("127.0.0.1", port), timeout=10))

    def leave(self) -> None:
        self._asked.put(None)


class Relay:
    """Carries each connection that `listening` accepts to a new one of `connect`, both ways, until an end closes."""

    def __init__(self, listening: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listening = listening
        self._connect = connect
        self.port = int(listening.getsockname()[1])
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _address = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(near,), name="relay", daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = self._connect()
        except OSError:
            near.close()
            return
        for one in (near, far):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_carry, args=(far, near), name="relay", daemon=True)
        back.start()
        _carry(near, far)
        back.join()
        near.close()
        far.close()

    def close(self) -> None:
        """Accept no more; connections that are open go on until an end closes."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def _carry(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := here.recv(_PIECE):
            there.sendall(piece)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)


def _listen(port: int = 0) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening


class Orthanc:
    """An Orthanc that keeps what it gets in a folder, over restarts; make it with `running_orthanc`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        need_root()
        self._program = need_tool("Orthanc")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.dicom_port, self.http_port = free_port(), free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.http_port}", timeout=60)
        self._modalities: dict[str, tuple[str, int]] = {}
        self._relays: list[Relay] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._namespace: Namespace | None = None
        (folder / "orthanc.json").write_text(json.dumps(self._defaults() | settings), encoding="utf-8")

    def _defaults(self) -> dict[str, Any]:
        return {
            "Name": AE_TITLE,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomAet": AE_TITLE,
            "DicomPort": DICOM_PORT,
            "DicomModalitiesInDatabase": True,
            "HttpPort": HTTP_PORT,
            # No other machine can reach into the namespace; without these Orthanc refuses HTTP altogether
            "RemoteAccessAllowed": True,
            "AuthenticationEnabled": False,
            "Plugins": [str(DICOM_WEB)] if DICOM_WEB.exists() else [],
            "DicomWeb": {"Enable": True},
            "OverwriteInstances": False,
            "StorageCompression": False,
            "SaveJobs": False,
            "StableAge": 1,
        }

    @property
    def address(self) -> Destination:
        """Where to send DICOM to."""
        return Destination(host="127.0.0.1", port=self.dicom_port, ae_title=AE_TITLE)

    @property
    def destination(self) -> dict[str, object]:
        """The same as a value of the setting `destinations`."""
        return {"host": "127.0.0.1", "port": self.dicom_port, "ae_title": AE_TITLE}

    @property
    def url(self) -> str:
        """Root of the REST interface; DICOMweb lies below `/dicom-web`."""
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start, or start again on the same storage and ports, and wait until DICOM and HTTP answer."""
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        command += [self._program, str(self.folder / "orthanc.json")]
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        ours = os.readlink("/proc/self/ns/net")
        pid = self._process.pid
        wait_until(lambda: os.readlink(f"/proc/{pid}/ns/net") != ours, READY_S, "Orthanc has its own network")
        inside = self._namespace = Namespace(pid)
        wait_until(lambda: self._answers(inside), READY_S, "Orthanc listens")
        self._relays = [
            Relay(_listen(self.dicom_port), lambda: inside.connect(DICOM_PORT)),
            Relay(_listen(self.http_port), lambda: inside.connect(HTTP_PORT)),
        ]
        for name, (ae_title, port) in self._modalities.items():
            self.add_modality(name, ae_title, port)

    def _answers(self, inside: Namespace) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "orthanc.log").read_text(errors="replace")[-2000:]
        try:
            for port in (DICOM_PORT, HTTP_PORT):
                inside.connect(port).close()
        except OSError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop; connections are refused until `start`, what it holds stays."""
        for relay in self._relays:
            relay.close()
        if self._process is not None:
            end_process(self._process, how)
        if self._namespace is not None:
            self._namespace.leave()
        self._relays, self._process, self._namespace = [], None, None

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self.http.close()

    def freeze(self) -> None:
        """Stop answering with every connection open, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def add_modality(self, name: str, ae_title: str, port: int) -> None:
        """Let Orthanc call `ae_title` on a loopback port of the test's: for C-STORE, C-ECHO and storage commitment."""
        assert self._namespace is not None
        relay = Relay(self._namespace.make(_listen), lambda: socket.create_connection(("127.0.0.1", port), timeout=10))
        self._relays.append(relay)
        self._modalities[name] = (ae_title, port)
        peer = {"AET": ae_title, "Host": "127.0.0.1", "Port": relay.port, "AllowStorageCommitment": True}
        self.http.put(f"/modalities/{name}", json=peer).raise_for_status()

    def echo(self, modality: str) -> bool:
        """Whether a modality answers Orthanc's C-ECHO."""
        return self.http.post(f"/modalities/{modality}/echo", json={}).is_success

    def store(self, modality: str, *sop_instance_uids: str) -> httpx.Response:
        """Orthanc sends instances that it holds to a modality by C-STORE, and waits for the end."""
        resources = [held for uid in sop_instance_uids for held in self.instances(SOPInstanceUID=uid).values()]
        return self.http.post(f"/modalities/{modality}/store", json={"Resources": resources, "Synchronous": True})

    def upload(self, file: bytes) -> str:
        """Put a Part 10 file into Orthanc by HTTP; Orthanc's id of it."""
        answer = self.http.post("/instances", content=file)
        answer.raise_for_status()
        return str(answer.json()["ID"])

    def instances(self, **query: str) -> dict[str, str]:
        """SOP Instance UID of what Orthanc holds (`StudyInstanceUID="1.2"`: of that study), with Orthanc's id of it."""
        asked = {"Level": "Instance", "Query": query, "Expand": True}
        answer = self.http.post("/tools/find", json=asked)
        answer.raise_for_status()
        return {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in answer.json()}

    def file(self, sop_instance_uid: str) -> bytes:
        """The Part 10 file of an instance as Orthanc keeps it."""
        (held,) = self.instances(SOPInstanceUID=sop_instance_uid).values()
        answer = self.http.get(f"/instances/{held}/file")
        answer.raise_for_status()
        return answer.content

    def dataset(self, sop_instance_uid: str) -> FileDataset:
        """An instance, read back."""
        return dcmread(io.BytesIO(self.file(sop_instance_uid)))

    def clear(self) -> None:
        """Forget everything that it holds."""
        for patient in self.http.get("/patients").json():
            self.http.delete(f"/patients/{patient}").raise_for_status()


@contextmanager
def running_orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """An Orthanc with settings of its own (`OverwriteInstances=True`); skips without root or without Orthanc."""
    orthanc = Orthanc(folder, **settings)
    try:
        orthanc.start()
        yield orthanc
    finally:
        orthanc.close()
