"""Every look at patient data is an event of the trail: who, which ECG, on which page."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from core.states import EventKind
from records.clock import database_time
from records.database import Database
from records.trail import add_event

_SESSIONS = 1000
_ECGS = 100_000


class Looks:
    """Writes the events; a line of a list counts once a session, however often the list refreshes itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: OrderedDict[str, set[tuple[str, int]]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, token: str, actor: str, page: str, ecgs: Iterable[int], unless: Sequence[str] = ()) -> None:
        """Record a look, `unless` this session was shown the ECG on one of these pages before."""
        new = [ecg for ecg in ecgs if not any((one, ecg) in self._of(token) for one in unless)]
        if not new:
            return
        with self._database.writing() as session:
            now = database_time(session)
            for ecg in new:
                add_event(session, EventKind.PATIENT_DATA_VIEWED, actor=actor, at=now, ecg_id=ecg, page=page)
        with self._lock:
            seen = self._of(token)
            if len(seen) > _ECGS:
                seen.clear()
            seen.update((page, ecg) for ecg in new)

    def _of(self, token: str) -> set[tuple[str, int]]:
        seen = self._seen.setdefault(token, set())
        while len(self._seen) > _SESSIONS:
            self._seen.popitem(last=False)
        return seen
