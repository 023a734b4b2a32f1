"""A PACS that answers as a script says, one word an object, and keeps what it said Success to."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification

from core.settings import Destination
from dicom_node.scu import SR_CLASS_UIDS

HEATMAP_CLASS = "1.2.840.10008.5.1.4.1.1.7"
ABORT = "abort"
TAKE_AND_ABORT = "take and abort"


class ScriptedPacs:
    """Answers C-STORE number n with the n-th word of its script (a status, or what to do), then with Success."""

    def __init__(self, script: Sequence[int | str] = (), classes: Sequence[str] = ()) -> None:
        self.script = list(script)
        self.held: dict[str, list[bytes]] = {}
        self.asked: list[str] = []
        self.associations = 0
        self.poison: set[str] = set()  # instances at which it always aborts
        self._classes = [*(classes or (*SR_CLASS_UIDS.values(), HEATMAP_CLASS)), Verification]
        self._lock = threading.Lock()
        self.port = 0

    @contextmanager
    def running(self, port: int = 0) -> Iterator["ScriptedPacs"]:
        _config.LOG_HANDLER_LEVEL = "none"
        ae = AE("PACS")
        for uid in self._classes:
            ae.add_supported_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            ae.shutdown()

    def destination(self, **given: object) -> Destination:
        fields = {"host": "127.0.0.1", "port": self.port, "ae_title": "PACS", "sr_class": "comprehensive"}
        return Destination(**(fields | given))

    def _accepted(self, _event: evt.Event) -> None:
        self.associations += 1

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        with self._lock:
            self.asked.append(uid)
            word = self.script.pop(0) if self.script else ABORT if uid in self.poison else 0x0000
        if word in (0x0000, TAKE_AND_ABORT):
            self.held.setdefault(uid, []).append(event.request.DataSet.getvalue())
        if isinstance(word, str):
            event.assoc.abort()
            return 0x0110
        return word
