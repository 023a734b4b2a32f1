"""A PACS that does what a script says: it refuses, breaks off, stays silent, or keeps a report without saying so."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from enum import Enum
from hashlib import sha256
from pathlib import Path

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, build_context, evt
from pynetdicom.sop_class import Verification

from core.settings import Settings
from dicom_node.server import BoundedServer


class Act(Enum):
    """What is done instead of an answer."""

    ABORT = "abort"
    KEEP_AND_ABORT = "keep_and_abort"
    SLOW = "slow"


class ScriptedPacs:
    """Each C-STORE takes the next step of the script, a status or an Act; Success when the script is over."""

    def __init__(self, folder: Path, port: int = 0, without: tuple[str, ...] = (), slow_s: float = 3.0) -> None:
        _config.LOG_HANDLER_LEVEL = "none"
        self.folder, self.port = folder, port
        self.script: deque[int | Act] = deque()
        self.kept: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self._without, self._slow_s = without, slow_s
        self._lock = threading.Lock()
        self._server: BoundedServer | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> "ScriptedPacs":
        ae = AE("PACS")
        classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
        contexts = [build_context(uid, ALL_TRANSFER_SYNTAXES) for uid in classes if uid not in self._without]
        self._server = ae.make_server(
            ("127.0.0.1", self.port),
            contexts=[*contexts, build_context(Verification)],
            evt_handlers=[(evt.EVT_C_STORE, self.handle_store)],
            server_class=BoundedServer,
            settings=Settings(idle_timeout_s=600),
        )
        ae._servers.append(self._server)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop; the folder and the port stay."""
        if self._server is not None:
            for assoc in self._server.active_associations:
                assoc.abort()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def say(self, steps: Iterable[int | Act]) -> None:
        """What to do next."""
        self.script.extend(steps)

    @property
    def destination(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "ae_title": "PACS"}

    @property
    def destinations(self) -> dict[str, dict[str, object]]:
        """This PACS as a node's only one."""
        return {"there": self.destination}

    def handle_store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        with self._lock:
            self.asked.append(uid)
            step = self.script.popleft() if self.script else 0x0000
        if step is Act.SLOW:
            time.sleep(self._slow_s)
            step = 0x0000
        if step is Act.KEEP_AND_ABORT or step in (0x0000, 0xB000, 0xB007):
            self._keep(uid, event)
        event.assoc.dul.socket.message_done()
        if isinstance(step, Act):
            event.assoc.abort()
            return 0xC000
        return step

    def _keep(self, uid: str, event: evt.Event) -> None:
        content = event.request.DataSet.getvalue()
        part = self.folder / f"{uid}.{threading.get_ident()}.part"
        part.write_bytes(event.encoded_dataset())
        part.rename(self.folder / f"{uid}.dcm")
        with self._lock:
            self.kept.append((uid, sha256(content).hexdigest()))
