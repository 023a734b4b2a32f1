"""A throw-away PACS: a Storage SCP on loopback that writes what it gets to a folder. For demos and tests only."""

import hashlib
import signal
import threading
from pathlib import Path
from types import FrameType

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

from core.settings import Settings
from dicom_node.received_header import is_uid
from dicom_node.server import BoundedServer
from dicom_node.statuses import Status

_POLL_S = 0.1


class ThrowAwayPacs:
    """Keeps each object as `<SOP Instance UID>.dcm`; a second one of the same UID replaces the first."""

    def __init__(self, folder: Path, ae_title: str = "PACS", port: int = 0) -> None:
        _config.LOG_HANDLER_LEVEL = "none"
        self.folder = folder
        self._ae_title = ae_title
        self._port = port
        self._server: BoundedServer | None = None

    def start(self) -> int:
        """Serve on 127.0.0.1; the port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ae = AE(self._ae_title)
        ae.maximum_pdu_size = 131072
        self._server = ae.make_server(
            ("127.0.0.1", self._port),
            contexts=_contexts(),
            evt_handlers=[(evt.EVT_C_STORE, self.handle_store)],
            server_class=BoundedServer,
            settings=Settings(),
        )
        ae._servers.append(self._server)
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="pacs", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop serving; the folder stays."""
        if self._server is not None:
            for assoc in self._server.active_associations:
                assoc.abort()
            self._server.shutdown()
            self._server = None

    def handle_store(self, event: evt.Event) -> int:
        """C-STORE: write the file and say Success."""
        uid = str(event.request.AffectedSOPInstanceUID)
        name = uid if is_uid(uid) else hashlib.sha256(uid.encode()).hexdigest()
        part = self.folder / f"{name}.{threading.get_ident()}.part"
        part.write_bytes(event.encoded_dataset())
        part.rename(self.folder / f"{name}.dcm")
        event.assoc.dul.socket.message_done()
        return int(Status.SUCCESS)


def _contexts() -> list[PresentationContext]:
    classes = [context.abstract_syntax for context in AllStoragePresentationContexts]
    return [build_context(uid, ALL_TRANSFER_SYNTAXES) for uid in (*classes, Verification)]


def run(folder: Path, ae_title: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    pacs = ThrowAwayPacs(folder, ae_title, port)
    bound = pacs.start()
    print(f"{ae_title} listens on 127.0.0.1:{bound} and writes to {folder.resolve()}", flush=True)
    stop.wait()
    pacs.stop()
